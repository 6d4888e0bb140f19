# shellcheck shell=bash
# What the recipes share; a recipe sources this file. Works with bash 3.2 (macOS).
#
# A run is a folder, $RUN_DIR. Its file `settings` says what it was made with, and each stage has
# a folder in it with
#   .started   the name of the run of the stage before that this one goes on from; of the first
#              stage, a checksum of the settings. If that is another one now, what the folder holds
#              is out of date
#   .seconds   spent in this stage so far, interrupted tries included
#   .done      written last: a name of this run of the stage, which no other has
# A stage that was killed runs again; removing a stage's folder repeats it and all after it. What is
# out of date is removed; where it holds a checkpoint, it is kept as STAGE.old. The times of the files
# say nothing: a run can be copied. In runs of versions that compared times both files are empty,
# which is a name as well.
# With NODES machines, which all run the recipe and see the same RUN_DIR, machine 0 does the work;
# the others wait for it, and join it where it trains.
set -euo pipefail

ROOT=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
RECIPE=$(basename "$0" .sh)
PATH=$ROOT/.venv/bin:$PATH
NODE=${NODE_RANK:-0}
export PYTHONUNBUFFERED=1
export PYTHONSAFEPATH=1 # or modules of the folder where the user is would stand in for others

die() {
    echo "$RECIPE: $*" >&2
    exit 1
}

# Sets CLEAN, EXTRA (options for fairseq-train, after --) and WORDS (what is no option). The
# recipe defines usage.
parse_options() {
    TARGET='' CLEAN='' EXTRA=() WORDS=()
    while (($#)); do
        case $1 in
            -h | --help)
                usage
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

# The same, and TARGET.
parse_arguments() {
    parse_options "$@"
    ((${#WORDS[@]} < 2)) || die "one target language, please: '${WORDS[0]}' or '${WORDS[1]}'"
    TARGET=${WORDS[0]-de}
    [[ $TARGET == de || $TARGET == fr ]] ||
        die "unknown target language '$TARGET': choose de or fr"
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

# open_run NAME=VALUE...: installs what is missing and makes or reopens RUN_DIR.
open_run() {
    RUN_DIR=$(absolute "${RUN_DIR:-$ROOT/data/$RECIPE${TARGET:+-$TARGET}}")
    [[ $RUN_DIR != *:* ]] || die "fairseq reads a colon as the end of a path: RUN_DIR=$RUN_DIR"
    if [[ -d $RUN_DIR && ! -f $RUN_DIR/settings && -n $(ls -A "$RUN_DIR") ]]; then
        die "RUN_DIR=$RUN_DIR holds other files: name an empty or a new folder"
    fi
    "$ROOT/recipes/setup.sh"
    if [[ -n $CLEAN && $NODE == 0 ]]; then
        [[ ! -f $RUN_DIR/settings ]] || lock_run
        rm -rf "$RUN_DIR"
    fi
    mkdir -p "$RUN_DIR"
    local settings was now
    settings=$(printf '%s\n' "$@" "extra=${EXTRA[*]-}")
    if [[ ! -s $RUN_DIR/settings ]]; then
        into "$RUN_DIR/settings" echo "$settings"
    fi
    was=$(grep -vxF "$settings" "$RUN_DIR/settings" | tr '\n' ' ' || true)
    now=$(echo "$settings" | grep -vxFf "$RUN_DIR/settings" | tr '\n' ' ' || true)
    [[ -z $was$now ]] ||
        die "$RUN_DIR was made with ${was% }, now it is ${now% }:" \
            "use --clean to start over, or another RUN_DIR"
    lock_run
    PREVIOUS=$RUN_DIR/settings STAGE=''
    trap close_stage EXIT
}

# One recipe at a time in a folder, where the system has flock (macOS has none).
lock_run() {
    ((NODE == 0)) && command -v flock >/dev/null || return 0
    exec 9>"$RUN_DIR/.lock" # what the recipe has started holds it too
    # What was killed a moment ago may still be ending.
    flock -w 5 9 || die "another recipe is at work in $RUN_DIR: wait for its end"
}

# stage NAME COMMAND...: runs the command unless it is done; it writes into $RUN_DIR/NAME.
stage() {
    local folder=$RUN_DIR/$1 name=$1
    shift
    if ((NODE > 0)); then
        follow "$folder" "$@"
        return
    fi
    [[ ! -d $folder ]] || current "$folder" || put_away "$folder"
    if [[ -f $folder/.done ]]; then
        echo "== $name: done ($(cat "$folder/.seconds") s)"
    else
        echo "== $name"
        mkdir -p "$folder"
        [[ -f $folder/.started ]] || into "$folder/.started" name_of "$PREVIOUS"
        STAGE=$folder STAGE_START=$SECONDS
        "$@"
        add_seconds
        into "$folder/.done" new_name
        STAGE=''
    fi
    PREVIOUS=$folder/.done
}

# name_of FILE: that of the run of a stage, by its .done; of the settings their checksum.
name_of() {
    if [[ $1 == "$RUN_DIR/settings" ]]; then
        cksum <"$1"
    else
        cat "$1"
    fi
}

# The time is for people; two runs of a stage may end in one second.
new_name() {
    echo "$(date +%s)-$(od -An -N 8 -t x1 /dev/urandom | tr -d ' \n')"
}

# current FOLDER: whether what a stage's folder holds goes on from what the stage before left.
current() {
    local was
    [[ -f $1/.started && -f $PREVIOUS ]] || return 1
    was=$(cat "$1/.started")
    # An old run noted no checksum of its settings; they are the same, see open_run.
    [[ $was == "$(name_of "$PREVIOUS")" || (-z $was && $PREVIOUS == "$RUN_DIR/settings") ]]
}

# put_away FOLDER: of a stage that has to run anew. Nothing that holds a checkpoint is removed.
put_away() {
    local kept=$1.old number=1
    if [[ -z $(find "$1/" -name '*.pt' | head -n 1) ]]; then
        rm -rf "$1"
        return
    fi
    while [[ -e $kept || -L $kept ]]; do
        number=$((number + 1)) kept=$1.old$number
    done
    rm -f "$1/.done" # it is no stage any more
    mv "$1" "$kept"
    echo "$RECIPE: $(basename "$1") is of other data than there is now: it was kept as $kept"
}

# into FILE COMMAND...: what the command prints; the file is complete, or what it was before.
into() {
    local draft
    draft=$(dirname "$1")/.$(basename "$1").$$
    if ! "${@:2}" >"$draft" || ! mv -f "$draft" "$1"; then
        rm -f "$draft"
        return 1
    fi
}

# follow FOLDER COMMAND...: what another machine does while machine 0 is in this stage.
follow() {
    local folder=$1
    until current "$folder"; do sleep 1; done
    case $2 in
        train*) [[ -f $folder/.done ]] || "${@:2}" ;;
        *) until [[ -f $folder/.done ]]; do sleep 1; done ;;
    esac
    PREVIOUS=$folder/.done
}

# stage_each COMMAND NAME...: a stage for each name, COMMAND NAME; none needs another one of them.
stage_each() {
    local command=$1 before=$PREVIOUS name
    shift
    for name in "$@"; do
        PREVIOUS=$before
        stage "$name" "$command" "$name"
    done
}

add_seconds() {
    local before=0
    [[ ! -s $STAGE/.seconds ]] || before=$(cat "$STAGE/.seconds")
    into "$STAGE/.seconds" echo $((before + SECONDS - STAGE_START))
}

close_stage() {
    local status=$?
    if [[ -n $STAGE && -d $STAGE ]]; then
        add_seconds || true # there may be no room
        echo "$RECIPE: stopped in stage $(basename "$STAGE");" \
            "the same command continues there" >&2
    fi
    exit "$status"
}

# logged LOG COMMAND...: what the command prints goes to the log, the end of it also here when
# the command fails.
logged() {
    local log=$1
    shift
    local last
    # Not from the log, for which there may be no room.
    last=$("$@" 2>&1 | tee "$log" | tail -n 5) || {
        echo "$last" >&2
        die "that failed, all of the output is in $log"
    }
}

# The stages that all recipes have.

# make_wordpieces SIZE MAX_PIECES CORPUS LANGUAGE...: of CORPUS/{train,valid,test}.LANGUAGE, for one
# language or two, and of test1, a second test text, if there is one.
make_wordpieces() {
    local corpus=$3 out=$RUN_DIR/wordpieces split language files=() options=(--lang)
    for language in "${@:4}"; do
        files+=("$corpus/train.$language")
    done
    ((${#files[@]} == 1)) || options=(--langs)
    options+=("${@:4}" --max-pieces "$2")
    python -m nmt_moe.corpus.wordpieces train --vocabulary "$1" --out "$out/model" "${files[@]}"
    for split in train valid; do
        python -m nmt_moe.corpus.wordpieces encode --model "$out/model.model" "${options[@]}" \
            "$corpus/$split" "$out/$split"
    done
    # Nothing is dropped from a test text.
    for split in test test1; do
        [[ $split == test || -f $corpus/$split.$4 ]] || continue
        python -m nmt_moe.corpus.wordpieces encode --model "$out/model.model" "${options[@]}" \
            --keep-all "$corpus/$split" "$out/$split"
    done
}

# make_binary SUFFIX OPTION...: of wordpieces/{train,valid,test}SUFFIX, and of test1 if there is one.
make_binary() {
    local out=$RUN_DIR/binary pieces=$RUN_DIR/wordpieces
    local tests=$pieces/test$1
    ! compgen -G "$pieces/test1$1*" >/dev/null || tests+=,$pieces/test1$1
    rm -f "$out"/dict.* # fairseq-preprocess refuses to replace what an interrupted try left
    logged "$out/output.log" fairseq-preprocess --user-dir "$ROOT/nmt_moe" --srcdict "$pieces/model.dict.txt" \
        --trainpref "$pieces/train$1" --validpref "$pieces/valid$1" --testpref "$tests" \
        --destdir "$out" --workers 2 "${@:2}"
}

train() { # train OPTION...
    train_into training --source-lang en --target-lang "$TARGET" "$@"
}

# train_into STAGE OPTION...: continues from the last checkpoint by itself, with as many processes
# as GPUS and NODES say (see launch.sh); one without them. PREPARED is the folder with binary and
# wordpieces, RUN_DIR if not set. What a translation needs beside the checkpoint is copied there.
train_into() {
    local out=$RUN_DIR/$1 data=${PREPARED:-$RUN_DIR} log=train.log
    local command=(fairseq-train --distributed-world-size 1)
    shift
    if ((NODE == 0)); then
        cp "$data"/binary/dict.*txt "$out" # of a language model: dict.txt
        cp "$data/wordpieces/model.model" "$out/sentencepiece.model"
    else
        log=train-$NODE.log
    fi
    [[ -z ${GPUS-}${NODES-} ]] || command=("$ROOT/recipes/launch.sh" fairseq-train)
    "${command[@]}" "$data/binary" --user-dir "$ROOT/nmt_moe" --seed "$SEED" \
        --save-dir "$out" --no-epoch-checkpoints --tensorboard-logdir "$out/tensorboard" \
        --log-format json --log-interval 100 \
        "$@" ${EXTRA[@]+"${EXTRA[@]}"} 2>&1 |
        tee -a "$out/$log" | python -m nmt_moe.runs.progress || {
        (($? != 75)) || exit 75 # stopped by SIGTERM, and saved
        die "fairseq-train failed, all it printed is in $out/$log"
    }
}

# The beam search of Wu et al. 2016 with its weights.
SEARCH=(--task gnmt_translation --beam 4 --gnmt-alpha 0.2 --gnmt-beta 0.2)

# decode COMMAND OPTION...: the options that fairseq-generate and fairseq-interactive share.
# A translation ends after 250 pieces: fairseq holds an attention weight for each piece of source
# and translation, in all beams of a batch, and a line of 10,000 words must fit too.
decode() {
    "$@" "$RUN_DIR/binary" --user-dir "$ROOT/nmt_moe" \
        --source-lang en --target-lang "$TARGET" \
        --path "$RUN_DIR/training/checkpoint_best.pt" \
        --bpe sentencepiece --sentencepiece-model "$RUN_DIR/wordpieces/model.model" \
        "${SEARCH[@]}" --max-len-b 250 \
        --max-source-positions 100000 --max-target-positions 100000
}

# hypotheses FILE: the translations that fairseq-generate wrote there, in the order of the text.
hypotheses() {
    grep '^D-' "$1" | LC_ALL=C sort -t- -k2n | cut -f 3-
}

# Writes hypotheses.txt, one line for each line of the test set, and sacrebleu's scores.
translate() {
    local out=$RUN_DIR/translation reference=$RUN_DIR/corpus/en-$TARGET/test.$TARGET
    logged "$out/output.log" decode fairseq-generate --gen-subset test --batch-size 16 \
        --results-path "$out"
    hypotheses "$out/generate-test.txt" >"$out/hypotheses.txt"
    sacrebleu "$reference" -i "$out/hypotheses.txt" -m bleu -w 2 >"$out/detokenised.json"
}

# For comparison with papers: both sides normalised and tokenised as Moses does, lower-cased.
score_tokenised() {
    local out=$RUN_DIR/translation reference=$RUN_DIR/corpus/en-$TARGET/test.$TARGET
    sacremoses -q -l "$TARGET" normalize tokenize <"$reference" >"$out/reference.tok"
    sacremoses -q -l "$TARGET" normalize tokenize <"$out/hypotheses.txt" >"$out/hypotheses.tok"
    sacrebleu "$out/reference.tok" -i "$out/hypotheses.tok" -m bleu -w 2 \
        --tokenize none --lowercase --force >"$out/tokenised_lower-cased.json"
}

# Five sentences of the test set as a user would type them.
translate_examples() {
    local out=$RUN_DIR/examples
    head -n 5 "$RUN_DIR/corpus/en-$TARGET/test.en" >"$out/source.txt"
    logged "$out/output.log" interactive "$out/source.txt" "$out/translated.txt"
}

interactive() { # interactive SOURCE OUTPUT
    decode fairseq-interactive --input "$1" >"$2"
}

summarise() {
    python -m nmt_moe.report.summary "$RUN_DIR"
}
