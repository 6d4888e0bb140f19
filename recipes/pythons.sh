#!/usr/bin/env bash
# Run the quick tests with every Python, and every end of the range of torch, that is promised.
set -euo pipefail

usage() {
    cat <<'EOF2'
usage: recipes/pythons.sh [-h] [PYTHON[/TORCH]...]

Clones the last commit into build/pythons/PYTHON-TORCH, for each of them, installs it there as
`make setup` does, with that Python and torch, runs `make test`, and ends with a table. The
environments stay, so that the next time only the tests take time. Each has some gigabytes.

  PYTHON   3.11, 3.12 or 3.13, as python3.12 on the path or from pyenv
  TORCH    a version, such as 2.8.0; "newest", the newest one that pip finds; without it that of
           constraints.txt

Without arguments: each Python with the torch of constraints.txt, and the first Python with the
oldest torch of pyproject.toml and with the newest.
EOF2
}

die() {
    echo "pythons: $*" >&2
    exit 1
}

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
OLDEST=$(sed -n 's/^ *"torch>=\([0-9.]*\)",$/\1/p' "$ROOT/pyproject.toml")

# The interpreter of a version such as 3.12; a command of pyenv that names none does not run.
interpreter() {
    local candidate
    for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python; do
        if [[ $("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) == "$1" ]]; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    die "there is no Python $1 here: install it, or leave it out (see --help)"
}

# prepare FOLDER PYTHON TORCH: the last commit, with its own environment.
prepare() {
    [[ -d $1/.git ]] || git clone -q "$ROOT" "$1"
    git -C "$1" fetch -q origin HEAD
    local wanted
    wanted=$(git -C "$1" rev-parse FETCH_HEAD)
    if [[ $(git -C "$1" rev-parse HEAD) != "$wanted" ]]; then
        git -C "$1" checkout -q --detach --force "$wanted"
    fi
    case $3 in
        '') ;;
        newest) write_if_new "torch>=$OLDEST" "$1/constraints.txt" ;;
        *) write_if_new "torch==$3" "$1/constraints.txt" ;;
    esac
    PYTHON=$2 "$1/recipes/setup.sh"
}

# setup.sh looks at the time of the file.
write_if_new() {
    [[ $(<"$2") == "$1" ]] || echo "$1" >"$2"
}

case ${1-} in
    -h | --help)
        usage
        exit 0
        ;;
    -*) die "unknown option '$1': see --help" ;;
esac
(($#)) || set -- 3.11 3.12 3.13 "3.11/$OLDEST" 3.11/newest
for one in "$@"; do
    [[ $one =~ ^3\.1[123](/([0-9.]+|newest))?$ ]] || die "'$one' is not PYTHON or PYTHON/TORCH: see --help"
    interpreter "${one%%/*}" >/dev/null
done
[[ -z $(git -C "$ROOT" status --porcelain --untracked-files=no) ]] ||
    echo "pythons: what is not committed is not tested" >&2

table='' failed=''
for one in "$@"; do
    torch=''
    [[ $one != */* ]] || torch=${one#*/}
    folder=$ROOT/build/pythons/${one/\//-}
    log=$folder.log
    mkdir -p "$ROOT/build/pythons"
    echo "== $one (log: $log)"
    result=failed start=$SECONDS
    if prepare "$folder" "$(interpreter "${one%%/*}")" "$torch" && {
        start=$SECONDS
        make --no-print-directory -C "$folder" test 2>&1 | tee "$log" | tail -n 3
    }; then
        result=passed
    else
        failed=yes
    fi
    versions=$("$folder/.venv/bin/python" -c 'import platform, torch
print("Python", platform.python_version(), "torch", torch.__version__)' 2>/dev/null || echo "Python $one, not installed")
    table+=$(printf '%-40s %s, %s s' "$versions" "$result" "$((SECONDS - start))")$'\n'
done
printf '\n%s' "$table"
[[ -z $failed ]] || die "not all passed; the logs are build/pythons/*.log"
