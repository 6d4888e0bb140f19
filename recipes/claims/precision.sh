#!/usr/bin/env bash
# What do fewer bits cost? Perplexity of trainings in bfloat16, BLEU of translations in int8.
#
# usage: recipes/claims/precision.sh [--clean] [-h] [-- FAIRSEQ_TRAIN_OPTIONS]
#
# Trains the English-German model of recipes/multi30k.sh in float32 and in bfloat16 (--amp), with
# processors that have it. Each translates the test text with its weights in float32 and in int8.
#
# Texts are prefixes of files with .en and .de, gzipped (.gz) or not:
#
#   TRAIN    prefixes (default: Multi30k, cloned)
#   VALID, TEST   the same, of other texts
#   TEST1    the same, a second text to test with, in columns of its own (default: none)
# shellcheck source=recipes/claims/claims.sh
source "$(dirname "${BASH_SOURCE[0]}")/claims.sh"
