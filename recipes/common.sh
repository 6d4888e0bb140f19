# shellcheck shell=bash
# What the recipes share; a recipe sources this file. Works with bash 3.2 (macOS).
#
# A run is a folder, $RUN_DIR. Its state is kept by `python -m nmt_moe.runs`; what the folder holds
# says nmt_moe/runs/folder.py, and which steps a stage may have nmt_moe/runs/steps.py.
set -euo pipefail

ROOT=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
RECIPE=$(basename "$0" .sh)
PATH=$ROOT/.venv/bin:$PATH
export RECIPE RECIPE_PID=$$ PYTHONUNBUFFERED=1
export PYTHONSAFEPATH=1 # or modules of the folder where the user is would stand in for others

die() {
    echo "$RECIPE: $*" >&2
    exit 1
}

# The comment at the recipe's head from its usage on, and its lines NAME=${NAME:-DEFAULT} # TEXT.
help() {
    awk '
        /^# usage:/ { shown = 1 }
        !/^#/ || /^# shellcheck/ { shown = 0 }
        shown { sub(/^# ?/, ""); print; text = text $0 }
        /^[A-Z0-9_]+=\$\{[A-Z0-9_]+:-.*\} +# / {
            name = value = use = $0
            sub(/=.*/, "", name)
            sub(/^[^:]*:-/, "", value); sub(/\} +# .*/, "", value)
            sub(/.*\} +# /, "", use)
            lines = lines sprintf("  %-14s %s", name, use) (value ? " (default: " value ")" : "") "\n"
        }
        END {
            if (index(text, "[--clean]")) {
                print "\n  --clean   remove the run'\''s folder and start over"
                lines = lines "  RUN_DIR        the run'\''s folder (default: in data, named after the recipe)\n"
            }
            if (index(text, "FAIRSEQ_TRAIN"))
                lines = lines "  GPUS, NODES    processes and machines of a training (default: one process), see launch.sh\n"
            if (lines) printf "\nenvironment:\n%s", lines
        }' "$0"
}

# Sets CLEAN, EXTRA (options for fairseq-train, after --) and WORDS (what is no option).
parse_options() {
    TARGET='' CLEAN='' EXTRA=() WORDS=()
    while (($#)); do
        case $1 in
            -h | --help)
                help
                exit 0
                ;;
            --clean) CLEAN=yes ;;
            --)
                shift
                EXTRA=("$@")
                break
                ;;
            -*) die "unknown option '$1': see $RECIPE.sh --help" ;;
            *) WORDS+=("$1") ;;
        esac
        shift
    done
}

# The same, and TARGET; parse_target LANGUAGES ARGUMENT...: one of those.
parse_arguments() {
    parse_target "de fr" "$@"
}
parse_target() {
    local languages=$1
    parse_options "${@:2}"
    ((${#WORDS[@]} < 2)) || die "one target language, please: '${WORDS[0]}' or '${WORDS[1]}'"
    TARGET=${WORDS[0]-de}
    [[ " $languages " == *" $TARGET "* ]] ||
        die "unknown target language '$TARGET': choose ${languages// / or }"
}

# The same with a pair of WMT'14: sets PAIR, SOURCE and TARGET.
parse_pair() {
    parse_options "$@"
    PAIR=${WORDS[0]-}
    [[ $PAIR == en-de || $PAIR == en-fr ]] || die "name a pair, en-de or en-fr: see $RECIPE.sh --help"
    SOURCE=${PAIR%-*} TARGET=${PAIR#*-}
}

absolute() {
    case $1 in
        /*) printf '%s\n' "$1" ;;
        *) printf '%s\n' "$PWD/$1" ;;
    esac
}

# whole NAME...: these variables are whole numbers, at least 1.
whole() {
    local name
    for name; do
        [[ ${!name} =~ ^[1-9][0-9]*$ ]] || die "$name=${!name}: give a whole number, at least 1"
    done
}

# attended COMMAND...: bash lets a command in the foreground end before it hears SIGTERM itself. Told
# to end, this passes it on, waits for what the command has to save, and ends the recipe.
attended() {
    local code=0 told=0 command
    "$@" <&0 &
    command=$!
    trap 'told=143; kill -s TERM "$command"' TERM
    trap 'told=130' INT # the command hears it as well
    wait "$command" || code=$?
    while kill -0 "$command" 2>/dev/null; do # a signal has ended the wait
        code=0
        wait "$command" || code=$?
    done
    trap - TERM INT
    ((told == 0)) || exit "$((code ? code : told))"
    return "$code"
}

# open_run NAME=VALUE...: installs what is missing and makes or reopens RUN_DIR.
open_run() {
    RUN_DIR=$(absolute "${RUN_DIR:-$ROOT/data/$RECIPE${TARGET:+-$TARGET}}")
    TRAIN_OPTIONS=$(printf '%s\n' ${EXTRA[@]+"${EXTRA[@]}"})
    export RUN_DIR TRAIN_OPTIONS SEED=${SEED:-1} PREPARED=${PREPARED-} GPUS=${GPUS-}
    "$ROOT/recipes/setup.sh"
    python -m nmt_moe.runs open ${CLEAN:+--clean} "$@" "extra=${EXTRA[*]-}"
    exec 9>>"$RUN_DIR/.lock" # what the recipe starts holds it too
    python -m nmt_moe.runs lock 9
}

# stage NAME [--after STAGE] STEP... [--then STEP...]...
stage() {
    attended python -m nmt_moe.runs stage "$@"
}

# Prints the option by which one process trains in bfloat16 on a processor that has it; nothing where
# there is a GPU, or where experts are spread over processes, which --amp excludes.
bfloat16_on_cpu() {
    [[ -z $GPUS ]] || return 0
    python -c 'import torch; print("" if torch.cuda.is_available() else "--amp")'
}

# step STEP...: without a stage, in RUN_DIR.
step() {
    attended python -m nmt_moe.runs step "$@"
}

# table COMMAND...: what it prints becomes RUN_DIR/table.md.
table() {
    attended python -m nmt_moe.runs table "$@"
}

# The beam search of Wu et al. 2016 with its weights. A translation ends after 250 pieces: fairseq
# holds an attention weight for each piece of source and translation, in all beams of a batch, and a
# line of 10,000 words must fit too.
SEARCH=(--user-dir "$ROOT/nmt_moe" --task gnmt_translation --beam 4 --gnmt-alpha 0.2 --gnmt-beta 0.2
    --max-len-b 250 --max-source-positions 100000 --max-target-positions 100000)

# searching CHECKPOINT: sets FOUND, such a search with a checkpoint of the run.
searching() {
    FOUND=("$RUN_DIR/binary" "${SEARCH[@]}" --source-lang en --target-lang "$TARGET" --path "$1"
        --bpe sentencepiece --sentencepiece-model "$RUN_DIR/wordpieces/model.model")
}

# translating SUBSET FOLDER: sets STEPS, which translate a test set into hypotheses.txt, with a line for
# each of its lines, in a folder of the stage translation.
translating() {
    STEPS=(log "$2/output.log" fairseq-generate "${FOUND[@]}" --gen-subset "$1" --batch-size 16
        --results-path "$RUN_DIR/translation/$2"
        --then hypotheses "$2/generate-$1.txt" "$2/hypotheses.txt")
}

# examples TEXT: the stage examples, of five sentences as a user would type them.
examples() {
    stage examples --after translation into source.txt head -n 5 "$1" \
        --then log output.log into translated.txt fairseq-interactive "${FOUND[@]}" --input "$RUN_DIR/examples/source.txt"
}

summarise() {
    attended python -m nmt_moe.report.summary "$RUN_DIR" --record "$RUN_DIR/record.json"
}
