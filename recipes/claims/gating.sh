#!/usr/bin/env bash
# Which gate? The paper's gates, and plain top-k without noise or losses.
# shellcheck source=recipes/claims/claims.sh
source "$(dirname "${BASH_SOURCE[0]}")/claims.sh"

usage() {
    cat <<'EOF'
usage: recipes/claims/gating.sh [FILE...] [--clean] [-h] [-- FAIRSEQ_TRAIN_OPTIONS]

Trains one language model with each gating: noisy top-k, strictly balanced, hierarchies of either
(-h), and plain softmax top-k without noise or losses. The files hold a sentence per line, and may
be .gz; or one folder with train.txt, valid.txt and test.txt (default: the English side of the
phrasebook).
EOF
    common_usage
}

text_arguments "$@"
UPDATES=${UPDATES:-1200}

losses=(--moe-importance-weight 0.1 --moe-load-weight 0.1)
groups=(--moe-groups 16 --moe-k 2)
cell top_k --moe-gating top_k --moe-importance-weight 0 --moe-load-weight 0
cell noisy_top_k --moe-gating noisy_top_k "${losses[@]}"
cell noisy_top_k-h --moe-gating noisy_top_k "${losses[@]}" "${groups[@]}"
cell strictly_balanced --moe-gating strictly_balanced "${losses[@]}"
cell strictly_balanced-h --moe-gating strictly_balanced "${losses[@]}" "${groups[@]}"

language_models --arch lstm_moe_lm_tiny --dim 32 --lstm-cells 32 --moe-hidden-dim 32 \
    --moe-experts 256 --moe-k 4 --dropout 0 \
    --criterion moe_label_smoothed_cross_entropy --label-smoothing 0 \
    --optimizer moe_adam --lr 5e-3 --lr-scheduler inverse_sqrt --warmup-updates 100 \
    --clip-norm 1.0 --max-tokens 4000 --max-update "$UPDATES" \
    --save-interval-updates $((UPDATES / 4 + 1)) --log-interval $((UPDATES > 100 ? 100 : 1))
