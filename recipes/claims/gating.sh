#!/usr/bin/env bash
# Which gate? The paper's gates, and plain top-k without noise or losses.
#
# usage: recipes/claims/gating.sh [FILE...] [--clean] [-h] [-- FAIRSEQ_TRAIN_OPTIONS]
#
# Trains one language model with each gating: noisy top-k, strictly balanced, hierarchies of either
# (-h), and plain softmax top-k without noise or losses. The files hold a sentence per line, and may
# be .gz; or one folder with train.txt, valid.txt and test.txt (default: the English side of the
# phrasebook).
# shellcheck source=recipes/claims/claims.sh
source "$(dirname "${BASH_SOURCE[0]}")/claims.sh"
