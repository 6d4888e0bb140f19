#!/usr/bin/env bash
# Train and translate a small generated corpus: the whole way in a few minutes on two CPU cores.
# shellcheck source=recipes/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat <<'EOF'
usage: recipes/quickstart.sh [de|fr] [--clean] [-h] [-- FAIRSEQ_TRAIN_OPTIONS]

Generates the phrasebook (English to German or French), learns wordpieces, trains a small
model with mixtures of experts, translates the test set and five sentences, writes a report of
what the experts do, and sums it up.
Run again, it continues where it stopped.

  --clean   remove the run's folder and start over

environment:
  RUN_DIR   the run's folder (default: data/quickstart-de or -fr in the repository)
  SEED      of the corpus and the training (default: 1)
  TRAIN_PAIRS, VALID_PAIRS, TEST_PAIRS, VOCABULARY   sizes
  GPUS, NODES   processes and machines of a training (default: one process), see launch.sh
EOF
}

parse_arguments "$@"
SEED=${SEED:-1}
TRAIN_PAIRS=${TRAIN_PAIRS:-20000}
VALID_PAIRS=${VALID_PAIRS:-500}
TEST_PAIRS=${TEST_PAIRS:-1000}
VOCABULARY=${VOCABULARY:-2000}
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

stage corpus python -m nmt_moe.corpus.phrasebook --target "$TARGET" --out "$RUN_DIR/corpus" \
    --train "$TRAIN_PAIRS" --valid "$VALID_PAIRS" --test "$TEST_PAIRS" --seed "$SEED"
stage wordpieces make_wordpieces "$VOCABULARY" "$MAX_PIECES" "$RUN_DIR/corpus/en-$TARGET" en "$TARGET"
stage binary make_binary '' --source-lang en --target-lang "$TARGET" --joined-dictionary
stage training train "${MODEL[@]}" "${LOSS[@]}" "${OPTIMIZER[@]}" "${LENGTH[@]}"
stage translation translate
stage examples translate_examples
stage report python -m nmt_moe.report "$RUN_DIR/training/checkpoint_best.pt" \
    "$RUN_DIR/corpus/en-$TARGET/test.en" "$RUN_DIR/corpus/en-$TARGET/test.$TARGET" \
    --out "$RUN_DIR/report/report.html"
summarise
