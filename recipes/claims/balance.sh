#!/usr/bin/env bash
# Do the balance losses matter? The six rows of the paper's table 6.
# shellcheck source=recipes/claims/claims.sh
source "$(dirname "${BASH_SOURCE[0]}")/claims.sh"

usage() {
    cat <<'EOF'
usage: recipes/claims/balance.sh [FILE...] [--clean] [-h] [-- FAIRSEQ_TRAIN_OPTIONS]

Trains one language model with six pairs of weights of the losses that keep experts in use,
importance/load, as in the paper's table 6. The files hold a sentence per line, and may be .gz; or
one folder with train.txt, valid.txt and test.txt (default: the English side of the phrasebook).
Balance in training is that of the last 100 updates together.
EOF
    common_usage
}

text_arguments "$@"
UPDATES=${UPDATES:-1200}

for weights in 0/0 0.2/0 0/0.2 0.1/0.1 0.01/0.01 1/1; do
    cell "${weights/\//_}" --moe-importance-weight "${weights%/*}" --moe-load-weight "${weights#*/}"
done

language_models --arch lstm_moe_lm_tiny --dim 32 --lstm-cells 32 --moe-hidden-dim 32 \
    --moe-experts 256 --moe-k 4 --dropout 0 \
    --criterion moe_label_smoothed_cross_entropy --label-smoothing 0 \
    --optimizer moe_adam --lr 5e-3 --lr-scheduler inverse_sqrt --warmup-updates 100 \
    --clip-norm 1.0 --max-tokens 4000 --max-update "$UPDATES" \
    --save-interval-updates $((UPDATES / 4 + 1)) --log-interval $((UPDATES > 100 ? 100 : 1))
