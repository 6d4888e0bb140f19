#!/usr/bin/env bash
# Translate a test set with a checkpoint and print every score, each with what it is.
#
# usage: recipes/wmt14_score.sh CHECKPOINT [TESTSET] [-h] [-- FAIRSEQ_GENERATE_OPTIONS]
#
# Translates a test set by beam search with the score of Wu et al. 2016, and prints BLEU and chrF of
# detokenised text with sacrebleu's signatures, BLEU of tokenised text as the paper has it, and the
# perplexity of the references. Any translation model for one pair of languages will do, not only
# one of WMT'14.
#
#   CHECKPOINT   a file in the folder of a training, beside dict.*.txt and sentencepiece.model
#   TESTSET      full or filtered, the test sets of WMT'14, if it was prepared with that one, or
#                PREFIX of any two files PREFIX.en and PREFIX.de (default: the test set of the
#                prepared corpus, of WMT'14 the full one)
# shellcheck source=recipes/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
parse_options "$@"

BEAM=${BEAM:-4} # width of the beam
ALPHA=${ALPHA:-0.2} # weight of the length normalisation
BETA=${BETA:-0.2} # weight of the coverage penalty
AGAINST=${AGAINST:-} # another system's translations of the test set, to compare with by paired bootstrap
OUT=${OUT:-} # for hypotheses.txt and scores.json, else a folder beside the checkpoint named after both

[[ -z $CLEAN ]] || die "unknown option '--clean': see $RECIPE.sh --help"
((${#WORDS[@]} > 0)) || die "which checkpoint? see $RECIPE.sh --help"
((${#WORDS[@]} < 3)) || die "unknown argument '${WORDS[2]}': see $RECIPE.sh --help"
CHECKPOINT=$(absolute "${WORDS[0]}") FOLDER=$(dirname "$(absolute "${WORDS[0]}")")
[[ $CHECKPOINT != *:* ]] || die "fairseq reads a colon as the end of a path: $CHECKPOINT"
[[ -z $AGAINST || -f $AGAINST ]] || die "no file AGAINST=$AGAINST"

"$ROOT/recipes/setup.sh"
found=$(python -m nmt_moe.runs.testset "$CHECKPOINT" ${WORDS[1]+"${WORDS[1]}"}) || exit 1
{ read -r SOURCE; read -r TARGET; read -r TESTSET; read -r NAME; } <<<"$found"
scores=score-$(basename "$CHECKPOINT" .pt)-$NAME
case ${WORDS[1]-} in
    '' | full | filtered) ;;
    *) scores+=-$(absolute "$TESTSET" | cksum | cut -d ' ' -f 1) ;; # others may have the same name
esac
OUT=$(absolute "${OUT:-$FOLDER/$scores}") MODEL=$FOLDER/sentencepiece.model
[[ $OUT != *:* ]] || die "fairseq reads a colon as the end of a path: OUT=$OUT"
export RUN_DIR=$OUT
mkdir -p "$OUT/binary"
LANGUAGES=(--source-lang "$SOURCE" --target-lang "$TARGET")

# generate FOLDER OPTION...: writes FOLDER/generate-test.txt.
generate() {
    step log "$1/output.log" fairseq-generate "$OUT/binary" "${SEARCH[@]}" "${LANGUAGES[@]}" \
        --path "$CHECKPOINT" --bpe sentencepiece --sentencepiece-model "$MODEL" \
        --gen-subset test --results-path "$OUT/$1" --batch-size 16 "${@:2}" ${EXTRA[@]+"${EXTRA[@]}"}
}

echo "== wordpieces"
python -m nmt_moe.corpus.wordpieces encode --model "$MODEL" --langs "$SOURCE" "$TARGET" \
    --keep-all --clean-source "$TESTSET" "$OUT/wordpieces/test"
rm -f "$OUT"/binary/dict.* # fairseq-preprocess refuses to replace those of an earlier time
step log binary/output.log fairseq-preprocess "${LANGUAGES[@]}" --destdir "$OUT/binary" \
    --srcdict "$FOLDER/dict.$SOURCE.txt" --tgtdict "$FOLDER/dict.$TARGET.txt" --testpref "$OUT/wordpieces/test"
echo "== translation, beam $BEAM, alpha $ALPHA, beta $BETA"
generate translation --beam "$BEAM" --gnmt-alpha "$ALPHA" --gnmt-beta "$BETA"
step hypotheses translation/generate-test.txt hypotheses.txt
echo "== perplexity"
generate perplexity --score-reference
echo "== scores of $CHECKPOINT"
python -m nmt_moe.score "$OUT/hypotheses.txt" "$TESTSET.$TARGET" --target-lang "$TARGET" \
    --title "$NAME" --reference-scores "$OUT/perplexity/generate-test.txt" \
    ${AGAINST:+--against "$AGAINST"} --json "$OUT/scores.json"
