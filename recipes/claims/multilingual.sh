#!/usr/bin/env bash
# Do experts help most where one model translates between many languages, as in section 5.4?
#
# usage: recipes/claims/multilingual.sh [--clean] [-h] [-- FAIRSEQ_TRAIN_OPTIONS]
#
# Trains one model on all PAIRS of Multi30k's languages at once, image captions, with experts and
# without: dense twins of equal operations, on the same batches for as many updates. Each translates
# the test text of each pair by fairseq's search, beam 5, and is scored on each.
#
#   MULTI30K   the folder of the text (default: it is cloned)
#   PAIRS      such as "en-de fr-en" (default: all 12 of en, de, fr and cs)
# shellcheck source=recipes/claims/claims.sh
source "$(dirname "${BASH_SOURCE[0]}")/claims.sh"
