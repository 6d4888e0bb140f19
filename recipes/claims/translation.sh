#!/usr/bin/env bash
# Do experts translate better? BLEU against a dense twin, and against fairseq's own models.
#
# usage: recipes/claims/translation.sh [--clean] [-h] [-- FAIRSEQ_TRAIN_OPTIONS]
#
# Trains English-German models of equal operations for the same number of updates: a dense one, then
# 4, 32 and 256 experts after two of the layers, of which each wordpiece sees four. Then wider ones,
# dense and with 4 or 32, fairseq's lstm and a small transformer for as many updates as this machine
# makes of each in MINUTES. Each translates the test text with fairseq's search and with the paper's
# (GNMT's length and coverage penalties of 0.2), beam 5; RESULTS/paired-SEARCH-SEED.txt has tests by
# paired bootstrap, against the first of CELLS (SEARCH1 is of TEST1).
#
# Texts are prefixes of files with .en and .de, gzipped (.gz) or not:
#
#   TRAIN    prefixes, such as "tatoeba.en-de newstest2011.en-de" (default: Multi30k, cloned)
#   VALID, TEST   the same, of other texts
#   TEST1    the same, a second text to test with, in columns of its own (default: none)
#   LR       learning rate of the trainings of UPDATES; the more of these, the lower
#   MINUTES  of the trainings that are compared at equal time
# shellcheck source=recipes/claims/claims.sh
source "$(dirname "${BASH_SOURCE[0]}")/claims.sh"
