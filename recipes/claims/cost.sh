#!/usr/bin/env bash
# Is the time of an update flat? Time and memory against the number of experts.
#
# usage: recipes/claims/cost.sh [FILE...] [--clean] [-h] [-- FAIRSEQ_TRAIN_OPTIONS]
#
# Trains language models of equal operations on each wordpiece, with more and more experts, for a
# few updates: their time, beside that in which this machine can move the weights, and the most memory
# of the training. On a machine that does nothing else, one after another, or the times say little.
# benchmarks/scaling.py tells where the time goes. The files hold a sentence per line, and may be .gz
# (default: the English side of the phrasebook).
# shellcheck source=recipes/claims/claims.sh
source "$(dirname "${BASH_SOURCE[0]}")/claims.sh"
