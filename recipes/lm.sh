#!/usr/bin/env bash
# Train language models of equal operations per timestep, with more and more experts.
# shellcheck source=recipes/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat <<'EOF'
usage: recipes/lm.sh [--clean] [-h] [-- FAIRSEQ_TRAIN_OPTIONS]

Trains a series of language models that spend the same operations on each wordpiece: one wide
expert that sees all, as the control, then more and more experts of which each wordpiece sees
four. Ends with a table like the paper's table 7, also in RUN_DIR/table.md.
Run again, it continues where it stopped; models that are new in MODELS are added.

  --clean   remove the run's folder and start over

environment:
  TEXT     a file with a sentence per line, may be .gz, of which some lines become validation
           and test text; or a folder with train.txt, valid.txt and test.txt (default: the
           English side of the phrasebook, generated here)
  MODELS   the numbers of experts, and dense for the control (default: "dense 4 32 256")
  RUN_DIR  the run's folder (default: data/lm in the repository)
  SEED     of the text and the training (default: 1)
  UPDATES  of each model
  PHRASES, VALID_LINES, TEST_LINES, VOCABULARY   sizes
  GPUS, NODES   processes and machines of a training (default: one process), see launch.sh
EOF
}

parse_options "$@"
((${#WORDS[@]} == 0)) || die "unknown argument '${WORDS[0]}': see $RECIPE.sh --help"
TEXT=${TEXT:+$(absolute "$TEXT")}
read -r -a MODELS <<<"${MODELS:-dense 4 32 256}"
SEED=${SEED:-1}
UPDATES=${UPDATES:-1000}
PHRASES=${PHRASES:-60000}
VALID_LINES=${VALID_LINES:-1000}
TEST_LINES=${TEST_LINES:-2000}
VOCABULARY=${VOCABULARY:-2000}
MAX_PIECES=250

# As in the paper, a sentence knows nothing of the one before.
TASK=(--task language_modeling --sample-break-mode eos)
MODEL=(--arch lstm_moe_lm_tiny --moe-k 4 --dropout 0.1)
LOSS=(--criterion moe_label_smoothed_cross_entropy --label-smoothing 0
    --moe-importance-weight 0.1 --moe-load-weight 0.1)
OPTIMIZER=(--optimizer moe_adam --lr 3e-3 --lr-scheduler inverse_sqrt
    --warmup-updates 100 --clip-norm 1.0)
LENGTH=(--max-tokens 1200 --max-update "$UPDATES")

for model in "${MODELS[@]}"; do
    [[ $model == dense || $model =~ ^[1-9][0-9]*$ ]] ||
        die "unknown model '$model': MODELS takes numbers of experts, and dense"
done
[[ -z $TEXT || -e $TEXT ]] || die "no file or folder TEXT=$TEXT"

train_and_test() { # train_and_test dense|EXPERTS
    local out=$RUN_DIR/$1 size=(--moe-experts "$1")
    [[ $1 != dense ]] || size=(--feed-forward dense)
    train_into "$1" "${TASK[@]}" "${MODEL[@]}" "${size[@]}" "${LOSS[@]}" "${OPTIMIZER[@]}" \
        "${LENGTH[@]}"
    logged "$out/test.log" fairseq-eval-lm "$RUN_DIR/binary" --user-dir "$ROOT/nmt_moe" \
        "${TASK[@]}" --path "$out/checkpoint_best.pt" --gen-subset test --batch-size 32
}

open_run "text=${TEXT:-phrasebook}" "seed=$SEED" "lines=$PHRASES $VALID_LINES $TEST_LINES" \
    "vocabulary=$VOCABULARY" "max_pieces=$MAX_PIECES" "model=${MODEL[*]}" "loss=${LOSS[*]}" \
    "optimizer=${OPTIMIZER[*]}" "length=${LENGTH[*]}"

if [[ -z $TEXT ]]; then
    stage phrasebook python -m nmt_moe.corpus.phrasebook --target de --seed "$SEED" \
        --out "$RUN_DIR/phrasebook" --train "$PHRASES" --valid 1 --test 1
    TEXT=$RUN_DIR/phrasebook/en-de/train.en
fi
stage corpus python -m nmt_moe.corpus.monolingual "$TEXT" --out "$RUN_DIR/corpus" --seed "$SEED" \
    --valid "$VALID_LINES" --test "$TEST_LINES"
stage wordpieces make_wordpieces "$VOCABULARY" "$MAX_PIECES" "$RUN_DIR/corpus" txt
stage binary make_binary .txt --only-source
stage_each train_and_test "${MODELS[@]}"
into "$RUN_DIR/table.md" python -m nmt_moe.report.series language-models "$RUN_DIR" "${MODELS[@]}"
cat "$RUN_DIR/table.md"
