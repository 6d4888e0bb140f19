#!/usr/bin/env bash
# Train language models of equal operations per timestep, with more and more experts.
#
# usage: recipes/lm.sh [--clean] [-h] [-- FAIRSEQ_TRAIN_OPTIONS]
#
# Trains a series of language models that spend the same operations on each wordpiece: one wide
# expert that sees all, as the control, then more and more experts of which each wordpiece sees
# four. Ends with a table like the paper's table 7, also in RUN_DIR/table.md.
# Run again, it continues where it stopped; models that are new in MODELS are added.
#
# TEXT is a file with a sentence per line, may be .gz, of which some lines become validation and
# test text; or a folder with train.txt, valid.txt and test.txt. Without it, the English side of the
# phrasebook is generated. MODELS are numbers of experts, and dense for the control.
# shellcheck source=recipes/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
parse_options "$@"
((${#WORDS[@]} == 0)) || die "unknown argument '${WORDS[0]}': see $RECIPE.sh --help"

TEXT=${TEXT:-} # a file or a folder
MODELS=${MODELS:-dense 4 32 256} # numbers of experts, and dense for the control
SEED=${SEED:-1} # of the text and the training
UPDATES=${UPDATES:-1000} # of each model
PHRASES=${PHRASES:-60000} # lines of the phrasebook
VALID_LINES=${VALID_LINES:-1000} # of validation
TEST_LINES=${TEST_LINES:-2000} # of test
VOCABULARY=${VOCABULARY:-2000} # wordpieces
MAX_PIECES=250

# As in the paper, a sentence knows nothing of the one before.
TASK=(--task language_modeling --sample-break-mode eos)
MODEL=(--arch lstm_moe_lm_tiny --moe-k 4 --dropout 0.1)
LOSS=(--criterion moe_label_smoothed_cross_entropy --label-smoothing 0
    --moe-importance-weight 0.1 --moe-load-weight 0.1)
OPTIMIZER=(--optimizer moe_adam --lr 3e-3 --lr-scheduler inverse_sqrt
    --warmup-updates 100 --clip-norm 1.0)
LENGTH=(--max-tokens 1200 --max-update "$UPDATES")

for model in $MODELS; do
    [[ $model == dense || $model =~ ^[1-9][0-9]*$ ]] ||
        die "unknown model '$model': MODELS takes numbers of experts, and dense"
done
TEXT=${TEXT:+$(absolute "$TEXT")}
[[ -z $TEXT || -e $TEXT ]] || die "no file or folder TEXT=$TEXT"
open_run "text=${TEXT:-phrasebook}" "seed=$SEED" "lines=$PHRASES $VALID_LINES $TEST_LINES" \
    "vocabulary=$VOCABULARY" "max_pieces=$MAX_PIECES" "model=${MODEL[*]}" "loss=${LOSS[*]}" \
    "optimizer=${OPTIMIZER[*]}" "length=${LENGTH[*]}"

before=''
if [[ -z $TEXT ]]; then
    stage phrasebook python -m nmt_moe.corpus.phrasebook --target de --seed "$SEED" \
        --out "$RUN_DIR/phrasebook" --train "$PHRASES" --valid 1 --test 1
    TEXT=$RUN_DIR/phrasebook/en-de/train.en before=phrasebook
fi
stage corpus --after "$before" python -m nmt_moe.corpus.monolingual "$TEXT" \
    --out "$RUN_DIR/corpus" --seed "$SEED" --valid "$VALID_LINES" --test "$TEST_LINES"
stage wordpieces --after corpus wordpieces "$VOCABULARY" "$MAX_PIECES" "$RUN_DIR/corpus" txt
stage binary --after wordpieces binary --only-source
for model in $MODELS; do
    size=(--moe-experts "$model")
    [[ $model != dense ]] || size=(--feed-forward dense)
    stage "$model" --after binary train "${TASK[@]}" "${MODEL[@]}" "${size[@]}" "${LOSS[@]}" \
        "${OPTIMIZER[@]}" "${LENGTH[@]}" \
        --then log test.log fairseq-eval-lm "$RUN_DIR/binary" --user-dir "$ROOT/nmt_moe" \
        "${TASK[@]}" --path "$RUN_DIR/$model/checkpoint_best.pt" --gen-subset test --batch-size 32
done
# shellcheck disable=SC2086 # several names
table python -m nmt_moe.report.series language-models "$RUN_DIR" $MODELS
