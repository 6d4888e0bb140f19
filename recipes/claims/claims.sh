# shellcheck shell=bash
# What the recipes of the paper's claims share; they source this file. Works with bash 3.2.
#
# A claim is a grid: each cell is a training with options of its own, and is trained with each of
# SEEDS. In the run's folder each has a stage named CELL-SEED. What is finished is collected into
# RESULTS: logs, table and picture.
# shellcheck source=recipes/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

NAMES=() OPTIONS=()

# The part of the usage that all share; the argument is about sizes.
common_usage() {
    cat <<EOF
Run again, it continues where it stopped. What is finished is in RESULTS: a table, a picture,
and the logs that each figure is from.

  --clean   remove the run's folder and start over

environment:
  CELLS    some of the grid (default: all)
  SEEDS    of the trainings, the whole grid with one after the other (default: "1 2 3")
  JOBS     trainings at a time (default: 1)
  UPDATES  of each training
  ${1:-VALID_LINES, TEST_LINES, PHRASES, VOCABULARY   sizes}
  RUN_DIR  the run's folder (default: data/claims/$RECIPE in the repository)
  RESULTS  where the results go (default: results in the run's folder)
  GPUS, NODES   processes and machines of a training (default: one process), see launch.sh
EOF
}

# cell NAME OPTION...: a cell of the grid; its options contain no spaces.
cell() {
    NAMES+=("$1")
    OPTIONS+=("${*:2}")
}

# Sets what the environment leaves open, and keeps the cells that CELLS names.
choose_cells() {
    local wanted name i names=("${NAMES[@]}") options=("${OPTIONS[@]}")
    read -r -a wanted <<<"${CELLS:-${NAMES[*]}}"
    read -r -a SEEDS <<<"${SEEDS:-1 2 3}"
    JOBS=${JOBS:-1}
    RUN_DIR=${RUN_DIR:-$ROOT/data/claims/$RECIPE}
    RESULTS=${RESULTS:+$(absolute "$RESULTS")}
    [[ $JOBS =~ ^[1-9][0-9]*$ ]] || die "JOBS=$JOBS is no number of trainings"
    for name in "${SEEDS[@]}"; do
        [[ $name =~ ^[0-9]+$ ]] || die "SEEDS=${SEEDS[*]}: '$name' is no seed"
    done
    ALL=("${names[@]}") NAMES=() OPTIONS=()
    for name in "${wanted[@]}"; do
        for i in "${!names[@]}"; do
            [[ $name != "${names[i]}" ]] || cell "$name" "${options[i]}"
        done
        [[ " ${NAMES[*]-} " == *" $name "* ]] ||
            die "unknown cell '$name': choose from ${names[*]}"
    done
}

# run_grid COMMAND: COMMAND CELL-SEED OPTION... for each cell and seed, and the results.
run_grid() {
    local command=$1 seed i before=$PREVIOUS
    for i in "${!NAMES[@]}"; do
        for seed in "${SEEDS[@]}"; do
            check_options "$RUN_DIR/${NAMES[i]}-$seed" "${OPTIONS[i]}"
        done
    done
    for seed in "${SEEDS[@]}"; do
        if ((JOBS == 1)); then
            some_cells "$command" "$seed" 0
        else
            side_by_side "$command" "$seed"
        fi
        PREVIOUS=$before
        collect
    done
}

# A cell that was trained with other options than it has now is another one.
check_options() {
    [[ ! -s $1/options || $(cat "$1/options") == "$2" ]] ||
        die "$1 was made with $(cat "$1/options"), now it is $2: remove it, or use another RUN_DIR"
}

# some_cells COMMAND SEED FIRST: each JOBS-th of the grid.
some_cells() {
    local i options before=$PREVIOUS
    for ((i = $3; i < ${#NAMES[@]}; i += JOBS)); do
        read -r -a options <<<"${OPTIONS[i]}"
        PREVIOUS=$before
        stage "${NAMES[i]}-$2" one_cell "$1" "${NAMES[i]}-$2" ${options[@]+"${options[@]}"}
    done
}

side_by_side() { # side_by_side COMMAND SEED
    local first pid pids=() status=0
    for ((first = 0; first < JOBS; first++)); do
        (
            trap - INT # which bash ignores in what it starts with &
            trap close_stage EXIT
            some_cells "$1" "$2" "$first"
        ) &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do
        wait "$pid" || status=$?
    done
    ((status == 0)) || exit "$status"
}

one_cell() { # one_cell COMMAND CELL-SEED OPTION...
    local SEED=${2##*-} out=$RUN_DIR/$2
    into "$out/options" echo "${*:3}"
    python -m nmt_moe.runs.claims machine >"$out/machine.json"
    "$1" "${@:2}"
}

measure_test() { # measure_test CELL-SEED OPTION...: perplexity and balance of the test text
    local out=$RUN_DIR/$1
    logged "$out/test.log" fairseq-validate "$RUN_DIR/binary" --user-dir "$ROOT/nmt_moe" \
        --path "$out/checkpoint_best.pt" --valid-subset test --batch-size 64 \
        --log-format json "${@:2}"
}

collect() {
    python -m nmt_moe.runs.claims collect "$RECIPE" "$RUN_DIR" --out "$RESULTS" --cells "${ALL[@]}" \
        --command "$COMMAND"
}

# typed NAME...: those of these variables that the environment sets, and the recipe, as typed but
# without this machine's folders.
typed() {
    local name words
    for name in "$@"; do
        read -r -a words <<<"${!name-}"
        case ${#words[@]} in
            0) ;;
            1) printf '%s=%s ' "$name" "${words[0]##*/}" ;;
            *) printf '%s="%s" ' "$name" "${words[*]##*/}" ;;
        esac
    done
    echo "recipes/claims/$RECIPE.sh"
}

# The claims about language models, of one text.

# text_arguments ARGUMENT...: parse_options, and the files of text as absolute paths in TEXTS.
text_arguments() {
    local word
    parse_options "$@"
    TEXTS=() COMMAND=$(typed UPDATES VALID_LINES TEST_LINES PHRASES VOCABULARY)
    for word in ${WORDS[@]+"${WORDS[@]}"}; do
        word=$(absolute "$word")
        [[ -e $word ]] || die "no file or folder $word"
        [[ ! -d $word || ${#WORDS[@]} == 1 ]] || die "one folder, or files: $word is a folder"
        TEXTS+=("$word")
        COMMAND+=" ${word##*/}"
    done
}

# Each line once, as corpora of sentence pairs repeat them.
gather_text() {
    gzip -cdf "${TEXTS[@]}" | awk '!seen[$0]++' >"$RUN_DIR/text/text.txt"
}

# language_models OPTION...: all cells, with these options before their own.
language_models() {
    local text
    COMMON=("$@")
    VALID_LINES=${VALID_LINES:-2000}
    TEST_LINES=${TEST_LINES:-4000}
    PHRASES=${PHRASES:-60000}
    VOCABULARY=${VOCABULARY:-4000}
    choose_cells
    open_run "text=${TEXTS[*]-phrasebook}" "lines=$VALID_LINES $TEST_LINES $PHRASES" \
        "vocabulary=$VOCABULARY" "common=${COMMON[*]}"
    RESULTS=${RESULTS:-$RUN_DIR/results}
    if ((${#TEXTS[@]} == 0)); then
        stage text python -m nmt_moe.corpus.phrasebook --target de --out "$RUN_DIR/text" \
            --train "$PHRASES" --valid 1 --test 1
        text=$RUN_DIR/text/en-de/train.en
    elif [[ -d ${TEXTS[0]} ]]; then
        text=${TEXTS[0]}
    else
        stage text gather_text
        text=$RUN_DIR/text/text.txt
    fi
    stage corpus python -m nmt_moe.corpus.monolingual "$text" --out "$RUN_DIR/corpus" \
        --valid "$VALID_LINES" --test "$TEST_LINES"
    stage wordpieces make_wordpieces "$VOCABULARY" 250 "$RUN_DIR/corpus" txt
    stage binary make_binary .txt --only-source
    run_grid language_model
}

# As in the paper, a sentence knows nothing of the one before.
TEXT_TASK=(--task language_modeling --sample-break-mode eos)

language_model() { # language_model CELL-SEED OPTION...
    train_into "$1" "${TEXT_TASK[@]}" "${COMMON[@]}" --keep-interval-updates 1 "${@:2}"
    measure_test "$1" "${TEXT_TASK[@]}"
}
