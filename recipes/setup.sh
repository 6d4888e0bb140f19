#!/usr/bin/env bash
# Install nmt_moe and all it needs into .venv; done in a moment when that is up to date.
set -euo pipefail

usage() {
    cat <<'EOF'
usage: recipes/setup.sh [-h]

Makes .venv in the repository and installs nmt_moe (editable), its dependencies and the
development tools, in the versions and with the checksums of requirements/, torch in that of
constraints.txt. Does nothing when .venv is newer than these, pyproject.toml and the sources in C.

environment:
  PYTHON   the interpreter for .venv: Python 3.11, 3.12 or 3.13 (default: the first one found)
  CXX      the C++ compiler (fairseq compiles extensions, nmt_moe one in C by CC)
  PIP_...  pip's own settings, for example PIP_INDEX_URL
EOF
}

case ${1:-} in
    '') ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
esac

unset PYTHONSAFEPATH # of the recipes; builds of packages may find their own modules
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
ROOT=$(pwd -P)
VENV=.venv
STAMP=$VENV/installed # written last, holds the folder it was installed for
LOG=$VENV/install.log

die() {
    echo "setup: $*" >&2
    exit 1
}

# Prints 3.12 or the like; nothing when the command does not run (pyenv leaves such commands).
version_of() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null </dev/null || true
}

supported() {
    [[ $1 == 3.11 || $1 == 3.12 || $1 == 3.13 ]]
}

changed() {
    local file
    for file in pyproject.toml constraints.txt requirements/*.txt nmt_moe/kernels/cpu/*.[ch]; do
        if [[ $file -nt $STAMP ]]; then
            return
        fi
    done
    return 1
}

up_to_date() {
    [[ -f $STAMP && $(<"$STAMP") == "$ROOT" ]] &&
        ! changed &&
        [[ -z ${PYTHON:-} || $(version_of "$PYTHON") == "$(version_of "$VENV/bin/python")" ]]
}

choose_python() {
    local name version found='' candidates=(python3 python3.13 python3.12 python3.11 python)
    if [[ -n ${PYTHON:-} ]]; then
        candidates=("$PYTHON")
    fi
    for name in "${candidates[@]}"; do
        version=$(version_of "$name")
        if supported "$version"; then
            python=$name python_version=$version
            return
        fi
        if [[ -n $version ]]; then
            found+="${found:+, }$name is $version"
        elif [[ -n ${PYTHON:-} ]]; then
            found="PYTHON=$PYTHON, which does not run"
        fi
    done
    die "needs Python 3.11, 3.12 or 3.13; found: ${found:-none}." \
        "Install one, or name it: PYTHON=/path/to/python3.12 make setup"
}

check_python() {
    "$python" -c 'import venv, ensurepip' 2>/dev/null ||
        die "$python ($python_version) has no venv module." \
            "Debian/Ubuntu: apt install python$python_version-venv"
    "$python" -c 'import os, sysconfig
raise SystemExit(not os.path.isfile(os.path.join(sysconfig.get_path("include"), "Python.h")))' ||
        die "$python ($python_version) comes without its C headers (Python.h)." \
            "Debian/Ubuntu: apt install python$python_version-dev;" \
            "Fedora: dnf install python$python_version-devel"
}

# Compiles an empty program: on macOS a c++ command exists before the compiler does.
compiles() {
    # shellcheck disable=SC2086  # CXX may hold options, as in CXX="ccache g++"
    echo 'int main() { return 0; }' | $1 -x c++ -c -o /dev/null - >/dev/null 2>&1
}

check_compiler() {
    local install="Debian/Ubuntu: apt install g++; Fedora: dnf install gcc-c++;"
    install+=" macOS: xcode-select --install"
    if [[ -n ${CXX:-} ]]; then
        compiles "$CXX" || die "CXX=$CXX does not compile C++. $install"
        return
    fi
    local name
    for name in c++ g++ clang++; do
        if compiles "$name"; then
            export CXX=$name
            return
        fi
    done
    die "no C++ compiler found, fairseq needs one to compile its extensions. $install"
}

# Whether pip would install into the environment: without its pyvenv.cfg, python there is the one
# that it was made of.
is_whole() {
    "$VENV/bin/python" -c 'import pip, sys; raise SystemExit(sys.prefix == sys.base_prefix)' \
        >/dev/null 2>&1
}

# Reuses the environment that is there, unless it is broken, moved or of another Python.
make_venv() {
    local have wanted=$python_version
    have=$(version_of "$VENV/bin/python")
    if [[ -z ${PYTHON:-} ]] && supported "$have"; then
        wanted=$have
    fi
    if [[ $have == "$wanted" && (! -f $STAMP || $(<"$STAMP") == "$ROOT") ]] && is_whole; then
        return
    fi
    [[ ! -L $VENV || -z $(ls -A "$VENV/") ]] ||
        die "$ROOT/$VENV is a link to $(readlink "$VENV"), which is not this folder's, or broken." \
            "Nothing there was changed: remove the link, or let it lead to an empty folder"
    "$python" -m venv --clear "$VENV" || die "$python -m venv $VENV failed"
}

# One line for each step of pip that takes time; the rest is in the log.
show_progress() {
    local line
    while IFS= read -r line; do
        printf '%s\n' "$line" >>"$LOG"
        line=${line#"${line%%[![:space:]]*}"}
        case $line in
            *Downloading*' MB)'*) echo "  $line" ;;
            'Building wheel for '*started* | 'Building editable for '*started*)
                echo "  ${line%% (*}" ;;
            *'still running...') echo "  still building" ;;
            'Installing collected packages:'*) echo "  Installing the packages" ;;
        esac
    done
}

pip() {
    "$VENV/bin/python" -m pip "$@" 2>&1 </dev/null | show_progress
}

# Nothing is downloaded that a build would need, and the hashes say what is installed. Those of
# torch are not known: its builds for CPUs and GPUs, of one version, come from several indexes.
install() {
    local checked=(install --progress-bar off --require-hashes --no-deps)
    pip "${checked[@]}" --no-compile --only-binary :all: -r requirements/wheels.txt &&
        pip install --progress-bar off --no-compile -c constraints.txt torch || return
    # It takes a minute of a processor; what is built from source meanwhile needs one.
    "$VENV/bin/python" -m compileall -qq -j 0 "$VENV"/lib/python*/site-packages >/dev/null 2>&1 &
    COMPILING=$!
    trap 'kill "$COMPILING" 2>/dev/null || true' EXIT
    pip "${checked[@]}" --no-build-isolation -r requirements/sources.txt &&
        pip install --progress-bar off --no-deps --no-build-isolation -e . &&
        pip check || return
    wait "$COMPILING" || true # syntax of a newer Python in tests of torch
}

explain() {
    local wrong
    wrong=$(sed -n '/DO NOT MATCH THE HASHES/,$ s/^ *\([^ ]*==[^ ]*\) from .*/\1/p' "$LOG")
    if [[ -n $wrong ]]; then
        die "the file of ${wrong%%$'\n'*} has another checksum than requirements/ says: it is damaged, or" \
            "not the one that was published. All of pip's output is in $ROOT/$LOG"
    fi
    tail -n 15 "$LOG" >&2
    die "the installation failed; all of pip's output is in $ROOT/$LOG"
}

if up_to_date; then
    exit 0
fi
choose_python
check_python
check_compiler
make_venv
rm -f "$STAMP"
: >"$LOG"
echo "Installing into .venv with Python $(version_of "$VENV/bin/python") (log: $LOG)"
install || explain
printf '%s\n' "$ROOT" >"$STAMP"
echo "Installed in $SECONDS s"
