#!/usr/bin/env bash
# The packages that setup.sh installs: choose their versions anew, ask whether vulnerabilities are
# known, and check the licences.
set -euo pipefail

usage() {
    cat <<'EOF'
usage: recipes/dependencies.sh lock [PACKAGE ...] | audit | licences

lock    writes requirements/wheels.txt and requirements/sources.txt: a version of every dependency
        and the hashes of its files, for all platforms and Python 3.11 to 3.13. Versions stay as
        they are unless pyproject.toml needs others; named packages, or with '*' all, become the
        newest. constraints.txt says which torch; it and what only its builds for GPUs need is not
        in the files.
audit   asks PyPI for known vulnerabilities of these versions; ends with 1 where there are some,
        and with 2 where it cannot be told. PIP_AUDIT_VULNERABILITY_SERVICE=osv asks OSV,
        at PIP_AUDIT_OSV_URL.
licences
        compares the licences that the installed packages declare with requirements/licences.toml;
        ends with 1 where one is not allowed.

The first two install a tool of their own into .venv/tools; PIP_INDEX_URL names another index than
PyPI.
EOF
}

CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
TOOLS=.venv/tools
INDEX=${PIP_INDEX_URL:-https://pypi.org/simple}
WHEELS=requirements/wheels.txt
SOURCES=requirements/sources.txt

die() {
    echo "dependencies: $1" >&2
    exit "${2:-1}"
}

tool() {
    [[ -x $TOOLS/bin/python ]] || .venv/bin/python -m venv "$TOOLS"
    "$TOOLS/bin/python" -m pip install "$1" >"$TOOLS/install.log" 2>&1 ||
        die "$1 cannot be installed, see $TOOLS/install.log" 2
}

# Prints the packages of a list whose names match (or with -v: do not), each with its hashes.
packages() {
    awk -v invert="${3:-}" -v names="^($2)==" \
        '/^[^ #]/ { shown = invert ? $0 !~ names : $0 ~ names } /^ *#/ { next } shown' "$1"
}

lock() {
    local all=.venv/tools/all.txt upgrade=() name gpu='torch|triton|cuda-[a-z-]*|nvidia-[a-z0-9-]*'
    local sources='antlr4-python3-runtime|docopt|fairseq-fixed' # come without wheels
    for name; do
        if [[ $name == '*' ]]; then
            upgrade+=(--upgrade)
        else
            upgrade+=(--upgrade-package "$name")
        fi
    done
    tool uv
    cat "$WHEELS" "$SOURCES" >"$all"
    "$TOOLS/bin/uv" --no-config pip compile --quiet --universal --python-version 3.11 \
        --generate-hashes --extra dev --constraint constraints.txt --default-index "$INDEX" \
        ${upgrade[@]+"${upgrade[@]}"} --output-file "$all" pyproject.toml >/dev/null
    {
        echo "# Wheels, installed first; made by recipes/dependencies.sh lock."
        packages "$all" "$gpu|$sources" -v
    } >"$all.wheels"
    {
        echo "# Built on this machine, with torch there; made by recipes/dependencies.sh lock."
        packages "$all" "$sources"
    } >"$all.sources"
    mv "$all.wheels" "$WHEELS"
    mv "$all.sources" "$SOURCES"
    echo "$(grep -c == "$WHEELS") wheels, $(grep -c == "$SOURCES") sources"
}

audit() {
    local answer known=jinja2==2.10 # has vulnerabilities: an answer without them is none
    tool pip-audit
    ask() { # the packages of a file
        "$TOOLS/bin/pip-audit" --strict --disable-pip --no-deps --progress-spinner off -r "$1"
    }
    if answer=$(ask <(echo "$known") 2>/dev/null) || [[ ! $answer =~ jinja2\ +2\.10\  ]]; then
        die "the list of vulnerabilities does not answer here: nothing was checked" 2
    fi
    ask <(cat "$WHEELS" "$SOURCES" constraints.txt | sed 's/ *\\$//; /^ *--hash/d')
}

case ${1:-} in
    lock) shift; lock "$@" ;;
    audit) audit ;;
    licences) exec .venv/bin/python recipes/licences.py ;;
    -h | --help) usage ;;
    *) usage >&2; exit 2 ;;
esac
