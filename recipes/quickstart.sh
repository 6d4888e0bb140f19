#!/usr/bin/env bash
# Train and translate a small generated corpus: the whole way in a few minutes on two CPU cores.
#
# usage: recipes/quickstart.sh [de|fr] [--clean] [-h] [-- FAIRSEQ_TRAIN_OPTIONS]
#
# Generates the phrasebook (English to German or French), learns wordpieces, trains a small
# model with mixtures of experts, translates the test set and five sentences, writes a report of
# what the experts do, and sums it up.
# Run again, it continues where it stopped.
# shellcheck source=recipes/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
parse_arguments "$@"

SEED=${SEED:-1}                  # of the corpus and the training
TRAIN_PAIRS=${TRAIN_PAIRS:-20000} # of sentences
VALID_PAIRS=${VALID_PAIRS:-500}  # of sentences
TEST_PAIRS=${TEST_PAIRS:-1000}   # of sentences
VOCABULARY=${VOCABULARY:-2000}   # wordpieces of both languages together
MAX_PIECES=250

MODEL=(--arch lstm_moe_tiny --encoder-bidirectional --dropout 0)
LOSS=(--criterion moe_label_smoothed_cross_entropy --label-smoothing 0.1
    --moe-importance-weight 0.01 --moe-load-weight 0.01)
OPTIMIZER=(--optimizer adam --adam-betas '(0.9,0.98)' --lr 3e-3 --lr-scheduler cosine
    --warmup-updates 200 --clip-norm 1.0)
LENGTH=(--max-tokens 1000 --max-update 2400)

open_run "target=$TARGET" "seed=$SEED" "pairs=$TRAIN_PAIRS $VALID_PAIRS $TEST_PAIRS" \
    "vocabulary=$VOCABULARY" "max_pieces=$MAX_PIECES" "model=${MODEL[*]}" "loss=${LOSS[*]}" \
    "optimizer=${OPTIMIZER[*]}" "length=${LENGTH[*]}"
LANGUAGES=(--source-lang en --target-lang "$TARGET")
TEXT=$RUN_DIR/corpus/en-$TARGET

stage corpus python -m nmt_moe.corpus.phrasebook --target "$TARGET" --out "$RUN_DIR/corpus" \
    --train "$TRAIN_PAIRS" --valid "$VALID_PAIRS" --test "$TEST_PAIRS" --seed "$SEED"
stage wordpieces --after corpus wordpieces "$VOCABULARY" "$MAX_PIECES" "$TEXT" en "$TARGET"
stage binary --after wordpieces binary "${LANGUAGES[@]}" --joined-dictionary
PRECISION=$(bfloat16_on_cpu)
stage training --after binary \
    train "${LANGUAGES[@]}" "${MODEL[@]}" "${LOSS[@]}" "${OPTIMIZER[@]}" "${LENGTH[@]}" \
    ${PRECISION:+"$PRECISION"}
searching "$RUN_DIR/training/checkpoint_best.pt"
translating test .
stage translation --after training "${STEPS[@]}" --then into detokenised.json \
    sacrebleu "$TEXT/test.$TARGET" -i "$RUN_DIR/translation/hypotheses.txt" -m bleu -w 2
examples "$TEXT/test.en"
stage report --after examples python -m nmt_moe.report "$RUN_DIR/training/checkpoint_best.pt" \
    "$TEXT/test.en" "$TEXT/test.$TARGET" --out "$RUN_DIR/report/report.html"
summarise
