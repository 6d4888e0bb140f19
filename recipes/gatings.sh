#!/usr/bin/env bash
# Train the start of the same translation model with each way of choosing experts.
# shellcheck source=recipes/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat <<'EOF'
usage: recipes/gatings.sh [de|fr] [--clean] [-h] [-- FAIRSEQ_TRAIN_OPTIONS]

Trains a small model on the phrasebook (English to German or French) for a few updates with
each gating: four of 16 experts see a wordpiece, or two in each of two groups of four. Ends
with a table of their perplexities and of the balance of the experts, also in RUN_DIR/table.md.
Run again, it continues where it stopped.

  --clean   remove the run's folder and start over

environment:
  GATINGS  which (default: "top_k noisy_top_k noisy_top_k-groups strictly_balanced
           strictly_balanced-groups")
  RUN_DIR  the run's folder (default: data/gatings-de or -fr in the repository)
  SEED     of the corpus and the training (default: 1)
  UPDATES  of each training (default: 200)
  TRAIN_PAIRS, VALID_PAIRS, VOCABULARY   sizes
  GPUS, NODES   processes and machines of a training (default: one process), see launch.sh
EOF
}

parse_arguments "$@"
ALL="top_k noisy_top_k noisy_top_k-groups strictly_balanced strictly_balanced-groups"
read -r -a GATINGS <<<"${GATINGS:-$ALL}"
SEED=${SEED:-1}
UPDATES=${UPDATES:-200}
TRAIN_PAIRS=${TRAIN_PAIRS:-12000}
VALID_PAIRS=${VALID_PAIRS:-500}
VOCABULARY=${VOCABULARY:-2000}
MAX_PIECES=250

MODEL=(--arch lstm_moe_tiny --encoder-bidirectional --attention additive --dropout 0
    --moe-experts 16)
LOSS=(--criterion moe_label_smoothed_cross_entropy --label-smoothing 0.1
    --moe-importance-weight 0.01 --moe-load-weight 0.01)
OPTIMIZER=(--optimizer adam --adam-betas '(0.9,0.98)' --lr 3e-3 --lr-scheduler inverse_sqrt
    --warmup-updates 50 --clip-norm 1.0)
LENGTH=(--max-tokens 1000 --max-update "$UPDATES" --log-interval 25)

for gating in "${GATINGS[@]}"; do
    [[ " $ALL " == *" $gating "* ]] || die "unknown gating '$gating': choose from $ALL"
done

train_with() { # train_with GATING
    local experts=(--moe-k 4)
    [[ $1 != *-groups ]] || experts=(--moe-groups 4 --moe-k 2)
    train_into "$1" --source-lang en --target-lang "$TARGET" "${MODEL[@]}" \
        --moe-gating "${1%-groups}" "${experts[@]}" "${LOSS[@]}" "${OPTIMIZER[@]}" "${LENGTH[@]}"
}

open_run "target=$TARGET" "seed=$SEED" "pairs=$TRAIN_PAIRS $VALID_PAIRS" \
    "vocabulary=$VOCABULARY" "max_pieces=$MAX_PIECES" "model=${MODEL[*]}" "loss=${LOSS[*]}" \
    "optimizer=${OPTIMIZER[*]}" "length=${LENGTH[*]}"

stage corpus python -m nmt_moe.corpus.phrasebook --target "$TARGET" --out "$RUN_DIR/corpus" \
    --train "$TRAIN_PAIRS" --valid "$VALID_PAIRS" --test 10 --seed "$SEED"
stage wordpieces make_wordpieces "$VOCABULARY" "$MAX_PIECES" "$RUN_DIR/corpus/en-$TARGET" en "$TARGET"
stage binary make_binary '' --source-lang en --target-lang "$TARGET" --joined-dictionary
stage_each train_with "${GATINGS[@]}"
into "$RUN_DIR/table.md" python -m nmt_moe.report.series gatings "$RUN_DIR" "${GATINGS[@]}"
cat "$RUN_DIR/table.md"
