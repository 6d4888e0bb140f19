#!/usr/bin/env bash
# Train one model on several pairs of languages, with experts and without, and score each pair.
#
# usage: recipes/multilingual.sh [LANGUAGE|PAIR...] [--clean] [-h] [-- FAIRSEQ_TRAIN_OPTIONS]
#
# Trains a small sister of the paper's multilingual model on several pairs of languages at once,
# and its dense twin of equal operations per timestep on the same batches. A tag before each
# source sentence, such as <2de>, names the language to translate into. Ends with a table of the
# BLEU of each pair, also in RUN_DIR/table.md. Run again, it continues where it stopped.
#
# PAIR is such as en-de or de-fr, and LANGUAGE de stands for en-de and de-en (default: de fr es). The
# text is the phrasebook's: sentences and labels between English, German and French; otherwise labels,
# which are dates, amounts, names and lists of them. CORPORA is other text, "en-de=FOLDER
# de-en=FOLDER ...", where a folder holds {train,valid,test}.{en,de}, plain or .gz, and its path no
# spaces; it takes no LANGUAGE.
# shellcheck source=recipes/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
parse_options "$@"

CORPORA=${CORPORA:-}            # other text than the phrasebook
SEED=${SEED:-1}                 # of the text and the training
EXPERTS=${EXPERTS:-32}          # of which two see a wordpiece
UPDATES=${UPDATES:-2000}        # of each of the two models
TEMPERATURE=${TEMPERATURE:-1}   # above 1, smaller pairs are repeated
TRAIN_PAIRS=${TRAIN_PAIRS:-6000} # lines of each pair of the phrasebook
VALID_PAIRS=${VALID_PAIRS:-100} # the same
TEST_PAIRS=${TEST_PAIRS:-300}   # the same
VOCABULARY=${VOCABULARY:-4000}  # wordpieces of all languages together
MAX_PIECES=250

MODEL=(--arch lstm_moe_multilingual --dim 128 --lstm-cells 128 --encoder-bidirectional
    --attention additive --dropout 0 --moe-hidden-dim 256)
LOSS=(--criterion moe_label_smoothed_cross_entropy --label-smoothing 0.1
    --moe-importance-weight 0.01 --moe-load-weight 0.01)
OPTIMIZER=(--optimizer adam --adam-betas '(0.9,0.98)' --lr 3e-3 --lr-scheduler cosine
    --warmup-updates 200 --clip-norm 1.0)
LENGTH=(--max-tokens 1000 --max-update "$UPDATES")
LANGUAGES=(--source-lang src --target-lang tgt)

TEXTS=() PAIRS=''
for text in $CORPORA; do
    [[ $text == *=* ]] || die "CORPORA holds '$text', which is not PAIR=FOLDER"
    ((${#WORDS[@]} == 0)) || die "CORPORA names the pairs already: leave out '${WORDS[0]}'"
    TEXTS+=("${text%%=*}=$(absolute "${text#*=}")")
done
if ((${#TEXTS[@]} == 0)); then
    "$ROOT/recipes/setup.sh"
    ((${#WORDS[@]})) || WORDS=(de fr es)
    PAIRS=$(python -m nmt_moe.corpus.multilingual pairs "${WORDS[@]}") || exit 1
fi
open_run "pairs=$PAIRS" "from=${TEXTS[*]-}" "seed=$SEED" \
    "sizes=$TRAIN_PAIRS $VALID_PAIRS $TEST_PAIRS" "temperature=$TEMPERATURE" \
    "vocabulary=$VOCABULARY" "max_pieces=$MAX_PIECES" "experts=$EXPERTS" "model=${MODEL[*]}" \
    "loss=${LOSS[*]}" "optimizer=${OPTIMIZER[*]}" "length=${LENGTH[*]}"
before='' PIECES=$RUN_DIR/wordpieces

if [[ -n $PAIRS ]]; then
    # shellcheck disable=SC2086 # several pairs
    stage corpus python -m nmt_moe.corpus.phrasebook --pairs $PAIRS \
        --out "$RUN_DIR/corpus" --train "$TRAIN_PAIRS" --valid "$VALID_PAIRS" \
        --test "$TEST_PAIRS" --seed "$SEED"
    before=corpus
    for pair in $PAIRS; do TEXTS+=("$pair=$RUN_DIR/corpus/$pair"); done
fi
stage wordpieces --after "$before" python -m nmt_moe.corpus.multilingual learn \
    --vocabulary "$VOCABULARY" --out "$PIECES/model" "${TEXTS[@]}" \
    --then python -m nmt_moe.corpus.multilingual mix --model "$PIECES/model.model" --out "$PIECES" \
    --max-pieces "$MAX_PIECES" --temperature "$TEMPERATURE" --seed "$SEED" "${TEXTS[@]}"
stage binary --after wordpieces binary "${LANGUAGES[@]}" --joined-dictionary
for model in dense moe; do
    size=(--moe-experts "$EXPERTS") out=$RUN_DIR/$model
    [[ $model != dense ]] || size=(--feed-forward dense)
    stage "$model" --after binary train "${LANGUAGES[@]}" "${MODEL[@]}" "${size[@]}" "${LOSS[@]}" \
        "${OPTIMIZER[@]}" "${LENGTH[@]}" \
        --then log translation.log fairseq-generate "$RUN_DIR/binary" "${SEARCH[@]}" "${LANGUAGES[@]}" \
        --path "$out/checkpoint_best.pt" --bpe sentencepiece --sentencepiece-model "$PIECES/model.model" \
        --gen-subset test --batch-size 32 --results-path "$out" \
        --then hypotheses generate-test.txt hypotheses.txt
done
table python -m nmt_moe.report.multilingual "$RUN_DIR" "${TEXTS[@]}"
