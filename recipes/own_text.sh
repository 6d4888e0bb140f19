#!/usr/bin/env bash
# Train a translator of your own text, and show each command that is run: fairseq's and nmt-moe's.
#
# usage: recipes/own_text.sh --source LANGUAGE --target LANGUAGE FILE... --out FOLDER [OPTION...]
#
# This is `nmt-moe train --commands`, with all that is needed installed; `nmt-moe train --help` names
# the options. Run again, it continues where it stopped.
# shellcheck source=recipes/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
case ${1--h} in
    -h | --help)
        help
        exit 0
        ;;
esac
"$ROOT/recipes/setup.sh"
exec nmt-moe train --commands "$@"
