#!/usr/bin/env bash
# Translate text with a trained model.
#
# usage: recipes/translate.sh CHECKPOINT [OPTION...] < text > text
#
# Translates text with a trained model: reads UTF-8 lines, writes a line for each. Beside the
# checkpoint lie dict.SOURCE.txt, dict.TARGET.txt and sentencepiece.model. The options are those of
# python -m nmt_moe.translate, whose --help names them.
# shellcheck source=recipes/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

case ${1-} in
    -h | --help) help; exit 0 ;;
    '') die "which checkpoint? see $RECIPE.sh --help" ;;
esac
"$ROOT/recipes/setup.sh" >&2
exec python -m nmt_moe.translate "$@"
