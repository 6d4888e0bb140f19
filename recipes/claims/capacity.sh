#!/usr/bin/env bash
# Does capacity help at constant cost? Language models with more and more experts.
#
# usage: recipes/claims/capacity.sh [FILE...] [--clean] [-h] [-- FAIRSEQ_TRAIN_OPTIONS]
#
# Trains language models that spend the same operations on each wordpiece for the same number of
# updates: a dense control, then 4, 32 and 256 experts of which each wordpiece sees four, then
# hierarchies (-h) of 256 and 1024. Perplexity against experts (the paper's figure 2, table 7) and
# against the text that was read. The files hold a sentence per line, and may be .gz; or one folder
# with train.txt, valid.txt and test.txt (default: the English side of the phrasebook).
#
#   LR        learning rate of the trainings
#   DENSE_LR  another one of the dense control, in the cell dense-tuned
# shellcheck source=recipes/claims/claims.sh
source "$(dirname "${BASH_SOURCE[0]}")/claims.sh"
