#!/usr/bin/env bash
# Do shared embeddings help? Perplexity with one matrix for embeddings and softmax, or several.
#
# usage: recipes/claims/tying.sh [--clean] [-h] [-- FAIRSEQ_TRAIN_OPTIONS]
#
# Trains an English-German model whose softmax has a matrix of its own, one whose softmax has that of
# the decoder's embedding, and one in which the encoder has it, too.
#
# Texts are prefixes of files with .en and .de, gzipped (.gz) or not:
#
#   TRAIN    prefixes (default: Multi30k, cloned)
#   VALID, TEST   the same, of other texts
#   TEST1    the same, a second text to test with, in columns of its own (default: none)
# shellcheck source=recipes/claims/claims.sh
source "$(dirname "${BASH_SOURCE[0]}")/claims.sh"
