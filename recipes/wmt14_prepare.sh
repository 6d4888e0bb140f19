#!/usr/bin/env bash
# From WMT'14's archives to what fairseq-train reads.
#
# usage: recipes/wmt14_prepare.sh en-de|en-fr [--clean] [-h]
#
# Downloads the corpora of WMT'14, cleans them, learns 32,000 wordpieces of both languages together,
# cuts all text into them and binarises it. Development set: newstest2012 and newstest2013; test set:
# newstest2014. Ends with a table of sizes and rates of unknown pieces.
# Run again, it continues where it stopped, within a download too; --clean leaves the archives.
# shellcheck source=recipes/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
parse_pair "$@"
((${#WORDS[@]} == 1)) || die "one pair, please: '${WORDS[0]}' or '${WORDS[1]}'"
((${#EXTRA[@]} == 0)) || die "there is no training here that takes '${EXTRA[0]}'"

WMT14_MIRROR=${WMT14_MIRROR:-} # URLs below which wmt13/... lies, in the order to try them, else www.statmt.org
WMT14_ARCHIVES=${WMT14_ARCHIVES:-} # their folder, with their checksums in SHA256SUMS, else data/wmt14-archives
WMT14_MANIFEST=${WMT14_MANIFEST:-} # which archive holds what, else nmt_moe/corpus/manifests/wmt14-*.json
TEST_SET=${TEST_SET:-full} # full: 3,003 sentences; filtered: the 2,737 (En-De) of sacrebleu's "wmt14"; or "full filtered"
CORPORA=${CORPORA:-} # of the training text, only these, such as news-commentary-v9 to try it out
VOCABULARY=${VOCABULARY:-32000} # wordpieces
SAMPLE=${SAMPLE:-2000000} # lines of both languages to learn them from: 20 bytes of memory a character, 6 GB
WORKERS=${WORKERS:-} # processes, else as many as cores
MAX_PIECES=250
COVERAGE=0.9999 # Common Crawl holds some characters of every script
MAX_RATIO=3

RUN_DIR=${RUN_DIR:-$ROOT/data/wmt14-$PAIR}
ARCHIVES=$(absolute "${WMT14_ARCHIVES:-$ROOT/data/wmt14-archives}")
MANIFEST=$(absolute "${WMT14_MANIFEST:-$ROOT/nmt_moe/corpus/manifests/wmt14-$PAIR.json}")
WORKERS=${WORKERS:-$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)}
whole VOCABULARY SAMPLE WORKERS
[[ -f $MANIFEST ]] || die "no manifest WMT14_MANIFEST=$MANIFEST"
[[ $ARCHIVES/ != "$(absolute "$RUN_DIR")"/* ]] ||
    die "WMT14_ARCHIVES=$ARCHIVES lies in RUN_DIR, which --clean removes: name another folder"
open_run "pair=$PAIR" "manifest=$MANIFEST $(cksum <"$MANIFEST")" "corpora=${CORPORA:-all}" "test=$TEST_SET" \
    "vocabulary=$VOCABULARY" "sample=$SAMPLE" "coverage=$COVERAGE" "max_pieces=$MAX_PIECES" "max_ratio=$MAX_RATIO"

# shellcheck disable=SC2206 # each of these is a list
CHOICE=("$PAIR" --archives "$ARCHIVES" --manifest "$MANIFEST" --test $TEST_SET ${CORPORA:+--corpora $CORPORA})
LANGUAGES=("$SOURCE" "$TARGET") PIECES=$RUN_DIR/wordpieces CLEAN_TEXT=$RUN_DIR/clean/train
ENCODE=(python -m nmt_moe.corpus.wordpieces encode --model "$PIECES/model.model"
    --langs "${LANGUAGES[@]}" --workers "$WORKERS")

# shellcheck disable=SC2086 # several mirrors
stage download python -m nmt_moe.corpus.download "${CHOICE[@]}" ${WMT14_MIRROR:+--mirror $WMT14_MIRROR}
stage corpus --after download python -m nmt_moe.corpus.wmt14 "${CHOICE[@]}" --out "$RUN_DIR/corpus"
corpora=("$RUN_DIR/corpus/train"/*."$SOURCE")
stage clean --after corpus python -m nmt_moe.corpus.clean --langs "${LANGUAGES[@]}" --workers "$WORKERS" \
    --report "$RUN_DIR/clean/report.json" --out "$CLEAN_TEXT" "${corpora[@]%".$SOURCE"}"
# Nothing is dropped from the development and test sets, and references stay as they are.
stage wordpieces --after clean \
    python -m nmt_moe.corpus.wordpieces train --vocabulary "$VOCABULARY" --sample "$SAMPLE" \
    --coverage "$COVERAGE" --out "$PIECES/model" "$CLEAN_TEXT".{"$SOURCE","$TARGET"} \
    --then "${ENCODE[@]}" "$CLEAN_TEXT" "$PIECES/train" --max-pieces "$MAX_PIECES" --max-ratio "$MAX_RATIO" \
    --then "${ENCODE[@]}" "$RUN_DIR/corpus/valid" "$PIECES/valid" --keep-all --clean-source \
    --then "${ENCODE[@]}" "$RUN_DIR/corpus/test" "$PIECES/test" --keep-all --clean-source
stage binary --after wordpieces binary --source-lang "$SOURCE" --target-lang "$TARGET" \
    --joined-dictionary --workers "$WORKERS"
stage sizes --after binary into table.md python -m nmt_moe.corpus.wordpieces count \
    --dict "$PIECES/model.dict.txt" "$PIECES"/{train,valid,test}
cat "$RUN_DIR/sizes/table.md"
echo
echo "next: recipes/wmt14_train.sh $PAIR"
