# shellcheck shell=bash
# What the recipes of the paper's claims share; they source this file. Works with bash 3.2.
#
# A claim is a grid, NAME.toml: each cell is a training with options of its own, and is trained with
# each of SEEDS. In the run's folder each has a stage named CELL-SEED. What is finished is collected
# into RESULTS: logs, table and picture. nmt_moe/runs/claims/grid.py reads and runs it.
# shellcheck source=recipes/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

case " $* " in
    *' -h '* | *' --help '*)
        help
        cat <<EOF
  CELLS          some of the grid (default: all)
  SEEDS          of the trainings, the whole grid with one after the other (default: "1 2 3")
  JOBS           trainings at a time (default: 1)
  RESULTS        where the results go (default: results in the run's folder)
  UPDATES        of each training, and sizes, such as VOCABULARY: see recipes/claims/$RECIPE.toml

Run again, it continues where it stopped. What is finished is in RESULTS: a table, a picture,
and the logs that each figure is from.
EOF
        exit 0
        ;;
esac
"$ROOT/recipes/setup.sh"
exec python -m nmt_moe.runs.claims run "$ROOT/recipes/claims/$RECIPE.toml" "$@"
