#!/usr/bin/env bash
# Translate text with a trained model: recipes/translate.sh CHECKPOINT < text > text
# shellcheck source=recipes/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

"$ROOT/recipes/setup.sh" >&2
exec python -m nmt_moe.translate "$@"
