#!/usr/bin/env bash
# From WMT'14's archives to what fairseq-train reads.
# shellcheck source=recipes/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat <<'USAGE'
usage: recipes/wmt14_prepare.sh en-de|en-fr [--clean] [-h]

Downloads the corpora of WMT'14, cleans them, learns 32,000 wordpieces of both languages together,
cuts all text into them and binarises it. Development set: newstest2012 and newstest2013; test set:
newstest2014. Ends with a table of sizes and rates of unknown pieces.
Run again, it continues where it stopped, within a download too.

  --clean   remove the run's folder and start over; the archives stay

environment:
  WMT14_MIRROR    where to get the archives: a URL below which wmt13/... lies, or several in the
                  order to try them (default: www.statmt.org)
  WMT14_ARCHIVES  the folder for the archives, or where they are already (default:
                  data/wmt14-archives); their checksums are in its SHA256SUMS
  WMT14_MANIFEST  which archive holds what (default: nmt_moe/corpus/manifests/wmt14-en-de.json or -en-fr)
  RUN_DIR         the run's folder (default: data/wmt14-en-de or -en-fr)
  TEST_SET        full: 3,003 sentences; filtered: the 2,737 (En-De) of sacrebleu's "wmt14"; or
                  "full filtered", the second as test-filtered (default: full)
  CORPORA         of the training text, only these, such as news-commentary-v9 to try it out
  VOCABULARY      wordpieces (default: 32000)
  SAMPLE          lines of both languages to learn them from, which takes about 20 bytes of
                  memory for each character, 6 GB (default: 2000000)
  WORKERS         processes (default: the cores)
USAGE
}

parse_pair "$@"
((${#WORDS[@]} == 1)) || die "one pair, please: '${WORDS[0]}' or '${WORDS[1]}'"
((${#EXTRA[@]} == 0)) || die "there is no training here that takes '${EXTRA[0]}'"
RUN_DIR=${RUN_DIR:-$ROOT/data/wmt14-$PAIR}
ARCHIVES=$(absolute "${WMT14_ARCHIVES:-$ROOT/data/wmt14-archives}")
MANIFEST=$(absolute "${WMT14_MANIFEST:-$ROOT/nmt_moe/corpus/manifests/wmt14-$PAIR.json}")
VOCABULARY=${VOCABULARY:-32000}
SAMPLE=${SAMPLE:-2000000}
WORKERS=${WORKERS:-$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)}
for name in VOCABULARY SAMPLE WORKERS; do
    [[ ${!name} =~ ^[1-9][0-9]*$ ]] || die "$name=${!name}: give a whole number, at least 1"
done
MAX_PIECES=250
COVERAGE=0.9999 # Common Crawl holds some characters of every script
MAX_RATIO=3
read -r -d '' -a MIRRORS <<<"${WMT14_MIRROR-}" || true
read -r -d '' -a CORPORA <<<"${CORPORA-}" || true
read -r -d '' -a TEST_SETS <<<"${TEST_SET:-full}" || true

[[ -f $MANIFEST ]] || die "no manifest WMT14_MANIFEST=$MANIFEST"
[[ $ARCHIVES/ != "$(absolute "$RUN_DIR")"/* ]] ||
    die "WMT14_ARCHIVES=$ARCHIVES lies in RUN_DIR, which --clean removes: name another folder"

CHOICE=("$PAIR" --archives "$ARCHIVES" --manifest "$MANIFEST" --test "${TEST_SETS[@]}")
((${#CORPORA[@]} == 0)) || CHOICE+=(--corpora "${CORPORA[@]}")
FROM=()
((${#MIRRORS[@]} == 0)) || FROM=(--mirror "${MIRRORS[@]}")

clean() {
    local corpora=() side
    for side in "$RUN_DIR/corpus/train"/*."$SOURCE"; do
        corpora+=("${side%".$SOURCE"}")
    done
    python -m nmt_moe.corpus.clean --langs "$SOURCE" "$TARGET" --workers "$WORKERS" \
        --report "$RUN_DIR/clean/report.json" --out "$RUN_DIR/clean/train" "${corpora[@]}"
}

encode() { # encode INPUT OUTPUT OPTION...
    python -m nmt_moe.corpus.wordpieces encode --model "$RUN_DIR/wordpieces/model.model" \
        --langs "$SOURCE" "$TARGET" --workers "$WORKERS" "${@:3}" "$1" "$2"
}

wordpieces() {
    local out=$RUN_DIR/wordpieces
    python -m nmt_moe.corpus.wordpieces train --vocabulary "$VOCABULARY" --sample "$SAMPLE" \
        --coverage "$COVERAGE" --out "$out/model" "$RUN_DIR/clean/train".{"$SOURCE","$TARGET"}
    encode "$RUN_DIR/clean/train" "$out/train" --max-pieces "$MAX_PIECES" --max-ratio "$MAX_RATIO"
    # Nothing is dropped from these, and references stay as they are.
    encode "$RUN_DIR/corpus/valid" "$out/valid" --keep-all --clean-source
    encode "$RUN_DIR/corpus/test" "$out/test" --keep-all --clean-source
}

count() {
    local pieces=$RUN_DIR/wordpieces
    python -m nmt_moe.corpus.wordpieces count --dict "$pieces/model.dict.txt" \
        "$pieces/train" "$pieces/valid" "$pieces/test" >"$RUN_DIR/sizes/table.md"
}

open_run "pair=$PAIR" "manifest=$MANIFEST $(cksum <"$MANIFEST")" "corpora=${CORPORA[*]-all}" "test=${TEST_SETS[*]}" \
    "vocabulary=$VOCABULARY" "sample=$SAMPLE" "coverage=$COVERAGE" "max_pieces=$MAX_PIECES" "max_ratio=$MAX_RATIO"

stage download python -m nmt_moe.corpus.download "${CHOICE[@]}" ${FROM[@]+"${FROM[@]}"}
stage corpus python -m nmt_moe.corpus.wmt14 "${CHOICE[@]}" --out "$RUN_DIR/corpus"
stage clean clean
stage wordpieces wordpieces
stage binary make_binary '' --source-lang "$SOURCE" --target-lang "$TARGET" --joined-dictionary \
    --workers "$WORKERS"
stage sizes count
cat "$RUN_DIR/sizes/table.md"
echo
echo "next: recipes/wmt14_train.sh $PAIR"
