#!/usr/bin/env bash
# Does capacity help at constant cost? Language models with more and more experts.
# shellcheck source=recipes/claims/claims.sh
source "$(dirname "${BASH_SOURCE[0]}")/claims.sh"

usage() {
    cat <<'EOF'
usage: recipes/claims/capacity.sh [FILE...] [--clean] [-h] [-- FAIRSEQ_TRAIN_OPTIONS]

Trains language models that spend the same operations on each wordpiece for the same number of
updates: a dense control, then 4, 32 and 256 experts of which each wordpiece sees four, then
hierarchies (-h) of 256 and 1024. Perplexity against experts (the paper's figure 2, table 7) and
against the text that was read. The files hold a sentence per line, and may be .gz; or one folder
with train.txt, valid.txt and test.txt (default: the English side of the phrasebook).
EOF
    common_usage
}

text_arguments "$@"
UPDATES=${UPDATES:-2400}

cell dense --feed-forward dense
cell 4 --moe-experts 4
cell 32 --moe-experts 32
cell 256 --moe-experts 256
cell 256-h --moe-experts 256 --moe-groups 16 --moe-k 2
cell 1024-h --moe-experts 1024 --moe-groups 16 --moe-k 2

language_models --arch lstm_moe_lm_tiny --dim 32 --lstm-cells 32 --moe-hidden-dim 128 --moe-k 4 \
    --no-moe-sigmoid --dropout 0 \
    --criterion moe_label_smoothed_cross_entropy --label-smoothing 0 \
    --moe-importance-weight 0.1 --moe-load-weight 0.1 \
    --optimizer moe_adam --lr 1e-2 --lr-scheduler inverse_sqrt --warmup-updates 100 \
    --clip-norm 1.0 --max-tokens 4000 --max-update "$UPDATES" \
    --save-interval-updates $((UPDATES / 8 + 1)) --log-interval 100
