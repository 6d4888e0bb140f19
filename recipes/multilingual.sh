#!/usr/bin/env bash
# Train one model on several pairs of languages, with experts and without, and score each pair.
# shellcheck source=recipes/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat <<'EOF2'
usage: recipes/multilingual.sh [LANGUAGE|PAIR...] [--clean] [-h] [-- FAIRSEQ_TRAIN_OPTIONS]

Trains a small sister of the paper's multilingual model on several pairs of languages at once,
and its dense twin of equal operations per timestep on the same batches. A tag before each
source sentence, such as <2de>, names the language to translate into. Ends with a table of the
BLEU of each pair, also in RUN_DIR/table.md. Run again, it continues where it stopped.

  LANGUAGE  de stands for the pairs en-de and de-en (default: de fr es)
  PAIR      such as en-de or de-fr
            The text is the phrasebook's: sentences and labels between English, German and
            French; otherwise labels, which are dates, amounts, names and lists of them.
  --clean   remove the run's folder and start over

environment:
  CORPORA  other text: "en-de=FOLDER de-en=FOLDER ...", where a folder holds
           {train,valid,test}.{en,de}, plain or .gz, and its path no spaces; takes no LANGUAGE
  RUN_DIR  the run's folder (default: data/multilingual in the repository)
  SEED     of the text and the training (default: 1)
  EXPERTS  of which two see a wordpiece (default: 32)
  UPDATES  of each of the two models (default: 2000)
  TEMPERATURE   above 1, smaller pairs are repeated (default: 1)
  TRAIN_PAIRS, VALID_PAIRS, TEST_PAIRS   lines of each pair of the phrasebook
  VOCABULARY    wordpieces of all languages together
  GPUS, NODES   processes and machines of a training (default: one process), see launch.sh
EOF2
}

parse_options "$@"
read -r -a GIVEN <<<"${CORPORA-}"
SEED=${SEED:-1}
EXPERTS=${EXPERTS:-32}
UPDATES=${UPDATES:-2000}
TEMPERATURE=${TEMPERATURE:-1}
TRAIN_PAIRS=${TRAIN_PAIRS:-6000}
VALID_PAIRS=${VALID_PAIRS:-100}
TEST_PAIRS=${TEST_PAIRS:-300}
VOCABULARY=${VOCABULARY:-4000}
MAX_PIECES=250

MODEL=(--arch lstm_moe_multilingual --dim 128 --lstm-cells 128 --encoder-bidirectional
    --attention additive --dropout 0 --moe-hidden-dim 256)
LOSS=(--criterion moe_label_smoothed_cross_entropy --label-smoothing 0.1
    --moe-importance-weight 0.01 --moe-load-weight 0.01)
OPTIMIZER=(--optimizer adam --adam-betas '(0.9,0.98)' --lr 3e-3 --lr-scheduler cosine
    --warmup-updates 200 --clip-norm 1.0)
LENGTH=(--max-tokens 1000 --max-update "$UPDATES")
LANGUAGES=(--source-lang src --target-lang tgt)

((${#GIVEN[@]} == 0 || ${#WORDS[@]} == 0)) ||
    die "CORPORA names the pairs already: leave out '${WORDS[0]}'"
((${#GIVEN[@]} + ${#WORDS[@]})) || WORDS=(de fr es)

train_and_translate() { # train_and_translate dense|moe
    local out=$RUN_DIR/$1 size=(--moe-experts "$EXPERTS")
    [[ $1 != dense ]] || size=(--feed-forward dense)
    train_into "$1" "${LANGUAGES[@]}" "${MODEL[@]}" "${size[@]}" "${LOSS[@]}" "${OPTIMIZER[@]}" \
        "${LENGTH[@]}"
    ((NODE == 0)) || return 0
    logged "$out/translation.log" fairseq-generate "$RUN_DIR/binary" \
        --user-dir "$ROOT/nmt_moe" "${LANGUAGES[@]}" --path "$out/checkpoint_best.pt" \
        --bpe sentencepiece --sentencepiece-model "$RUN_DIR/wordpieces/model.model" \
        "${SEARCH[@]}" --gen-subset test --batch-size 32 --max-len-b 250 \
        --max-source-positions 100000 --max-target-positions 100000 --results-path "$out"
    hypotheses "$out/generate-test.txt" >"$out/hypotheses.txt"
}

# Of the phrasebook's pairs or the given ones.
learn_and_mix() {
    local out=$RUN_DIR/wordpieces
    python -m nmt_moe.corpus.multilingual learn --vocabulary "$VOCABULARY" --out "$out/model" \
        "${TEXTS[@]}"
    python -m nmt_moe.corpus.multilingual mix --model "$out/model.model" --out "$out" \
        --max-pieces "$MAX_PIECES" --temperature "$TEMPERATURE" --seed "$SEED" "${TEXTS[@]}"
}

TEXTS=() PAIRS=()
if ((${#GIVEN[@]})); then
    for text in "${GIVEN[@]}"; do
        [[ $text == *=* ]] || die "CORPORA holds '$text', which is not PAIR=FOLDER"
        TEXTS+=("${text%%=*}=$(absolute "${text#*=}")")
    done
else
    "$ROOT/recipes/setup.sh"
    words=$(python -m nmt_moe.corpus.multilingual pairs "${WORDS[@]}") || exit 1
    read -r -a PAIRS <<<"$words"
fi
open_run "pairs=${PAIRS[*]-}" "from=${TEXTS[*]-}" "seed=$SEED" \
    "sizes=$TRAIN_PAIRS $VALID_PAIRS $TEST_PAIRS" "temperature=$TEMPERATURE" \
    "vocabulary=$VOCABULARY" "max_pieces=$MAX_PIECES" "experts=$EXPERTS" "model=${MODEL[*]}" \
    "loss=${LOSS[*]}" "optimizer=${OPTIMIZER[*]}" "length=${LENGTH[*]}"

if ((${#PAIRS[@]})); then
    stage corpus python -m nmt_moe.corpus.phrasebook --pairs "${PAIRS[@]}" \
        --out "$RUN_DIR/corpus" --train "$TRAIN_PAIRS" --valid "$VALID_PAIRS" \
        --test "$TEST_PAIRS" --seed "$SEED"
    for pair in "${PAIRS[@]}"; do
        TEXTS+=("$pair=$RUN_DIR/corpus/$pair")
    done
fi
stage wordpieces learn_and_mix
stage binary make_binary '' "${LANGUAGES[@]}" --joined-dictionary
stage_each train_and_translate dense moe
into "$RUN_DIR/table.md" python -m nmt_moe.report.multilingual "$RUN_DIR" "${TEXTS[@]}"
cat "$RUN_DIR/table.md"
