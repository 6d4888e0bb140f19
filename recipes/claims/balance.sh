#!/usr/bin/env bash
# Do the balance losses matter? The six rows of the paper's table 6.
#
# usage: recipes/claims/balance.sh [FILE...] [--clean] [-h] [-- FAIRSEQ_TRAIN_OPTIONS]
#
# Trains one language model with six pairs of weights of the losses that keep experts in use,
# importance/load, as in the paper's table 6. The files hold a sentence per line, and may be .gz; or
# one folder with train.txt, valid.txt and test.txt (default: the English side of the phrasebook).
# Balance in training is that of the last 100 updates together.
# shellcheck source=recipes/claims/claims.sh
source "$(dirname "${BASH_SOURCE[0]}")/claims.sh"
