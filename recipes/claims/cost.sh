#!/usr/bin/env bash
# Is the time of an update flat? Time and memory against the number of experts.
# shellcheck source=recipes/claims/claims.sh
source "$(dirname "${BASH_SOURCE[0]}")/claims.sh"

usage() {
    cat <<'EOF'
usage: recipes/claims/cost.sh [FILE...] [--clean] [-h] [-- FAIRSEQ_TRAIN_OPTIONS]

Trains language models of equal operations on each wordpiece, with more and more experts, for a
few updates: their time, and the most memory of the training. On a machine that does nothing else,
one after another, or the times say little. benchmarks/scaling.py tells where the time goes. The
files hold a sentence per line, and may be .gz (default: the English side of the phrasebook).
EOF
    common_usage
}

# common.sh calls it so.
fairseq-train() {
    python -m nmt_moe.runs.claims peak "$STAGE/peak" "$ROOT/.venv/bin/fairseq-train" "$@"
}

text_arguments "$@"
UPDATES=${UPDATES:-60}

cell dense --feed-forward dense
for experts in 4 32 256; do
    cell "$experts" --moe-experts "$experts"
done
for experts in 256 1024; do
    cell "$experts-h" --moe-experts "$experts" --moe-groups 16 --moe-k 2
done

# The paper's sizes. The last line of the log is about the second half.
language_models --arch lstm_moe_lm --moe-k 4 --criterion moe_label_smoothed_cross_entropy \
    --label-smoothing 0 --moe-importance-weight 0.1 --moe-load-weight 0.1 \
    --optimizer moe_adam --lr 1e-3 --lr-scheduler inverse_sqrt --warmup-updates 100 \
    --clip-norm 1.0 --max-tokens 4000 --max-update "$UPDATES" \
    --log-interval $((UPDATES > 1 ? UPDATES / 2 : 1))
