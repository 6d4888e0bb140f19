#!/usr/bin/env bash
# Train the start of the same translation model with each way of choosing experts.
#
# usage: recipes/gatings.sh [de|fr] [--clean] [-h] [-- FAIRSEQ_TRAIN_OPTIONS]
#
# Trains a small model on the phrasebook (English to German or French) for a few updates with
# each gating: four of 16 experts see a wordpiece, or two in each of two groups of four. Ends
# with a table of their perplexities and of the balance of the experts, also in RUN_DIR/table.md.
# Run again, it continues where it stopped.
# shellcheck source=recipes/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
parse_arguments "$@"

GATINGS=${GATINGS:-top_k noisy_top_k noisy_top_k-groups strictly_balanced strictly_balanced-groups} # which
SEED=${SEED:-1}                   # of the corpus and the training
UPDATES=${UPDATES:-200}           # of each training
TRAIN_PAIRS=${TRAIN_PAIRS:-12000} # of sentences
VALID_PAIRS=${VALID_PAIRS:-500}   # of sentences
VOCABULARY=${VOCABULARY:-2000}    # wordpieces of both languages together
MAX_PIECES=250

MODEL=(--arch lstm_moe_tiny --encoder-bidirectional --attention additive --dropout 0
    --moe-experts 16)
LOSS=(--criterion moe_label_smoothed_cross_entropy --label-smoothing 0.1
    --moe-importance-weight 0.01 --moe-load-weight 0.01)
OPTIMIZER=(--optimizer adam --adam-betas '(0.9,0.98)' --lr 3e-3 --lr-scheduler inverse_sqrt
    --warmup-updates 50 --clip-norm 1.0)
LENGTH=(--max-tokens 1000 --max-update "$UPDATES" --log-interval 25)

for gating in $GATINGS; do
    [[ $gating =~ ^(top_k|noisy_top_k|strictly_balanced)(-groups)?$ && $gating != top_k-groups ]] ||
        die "unknown gating '$gating': see $RECIPE.sh --help"
done
open_run "target=$TARGET" "seed=$SEED" "pairs=$TRAIN_PAIRS $VALID_PAIRS" \
    "vocabulary=$VOCABULARY" "max_pieces=$MAX_PIECES" "model=${MODEL[*]}" "loss=${LOSS[*]}" \
    "optimizer=${OPTIMIZER[*]}" "length=${LENGTH[*]}"
LANGUAGES=(--source-lang en --target-lang "$TARGET")

stage corpus python -m nmt_moe.corpus.phrasebook --target "$TARGET" --out "$RUN_DIR/corpus" \
    --train "$TRAIN_PAIRS" --valid "$VALID_PAIRS" --test 10 --seed "$SEED"
stage wordpieces --after corpus \
    wordpieces "$VOCABULARY" "$MAX_PIECES" "$RUN_DIR/corpus/en-$TARGET" en "$TARGET"
stage binary --after wordpieces binary "${LANGUAGES[@]}" --joined-dictionary
for gating in $GATINGS; do
    experts=(--moe-k 4)
    [[ $gating != *-groups ]] || experts=(--moe-groups 4 --moe-k 2)
    stage "$gating" --after binary train "${LANGUAGES[@]}" "${MODEL[@]}" \
        --moe-gating "${gating%-groups}" "${experts[@]}" "${LOSS[@]}" "${OPTIMIZER[@]}" "${LENGTH[@]}"
done
# shellcheck disable=SC2086 # several names
table python -m nmt_moe.report.series gatings "$RUN_DIR" $GATINGS
