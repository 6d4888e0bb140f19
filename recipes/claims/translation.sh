#!/usr/bin/env bash
# Do experts translate better? BLEU against a dense twin, and against fairseq's own models.
# shellcheck source=recipes/claims/claims.sh
source "$(dirname "${BASH_SOURCE[0]}")/claims.sh"

usage() {
    cat <<'EOF'
usage: recipes/claims/translation.sh [--clean] [-h] [-- FAIRSEQ_TRAIN_OPTIONS]

Trains English-German models of equal operations for the same number of updates: a dense one, then
4, 32 and 256 experts after two of the layers, of which each wordpiece sees four. Then a wider one
with 32, fairseq's lstm and a small transformer for MINUTES each. Each translates the test text with
fairseq's search and with the paper's (GNMT's length and coverage penalties of 0.2), beam 5;
RESULTS/paired-SEARCH-SEED.txt has tests by paired bootstrap, against the first of CELLS (SEARCH1
is of TEST1).

Texts are prefixes of files with .en and .de, gzipped (.gz) or not.
EOF
    common_usage "VOCABULARY   wordpieces of both languages together"
    cat <<'EOF'
  TRAIN    prefixes, such as "tatoeba.en-de newstest2011.en-de" (default: Multi30k, cloned)
  VALID, TEST   the same, of other texts
  TEST1    the same, a second text to test with, in columns of its own (default: none)
  LR       learning rate of the trainings of UPDATES; the more of these, the lower (default: 5e-3)
  MINUTES  of the trainings that are compared at equal time (default: 25)
EOF
}

parse_options "$@"
((${#WORDS[@]} == 0)) || die "unknown argument '${WORDS[0]}': see $RECIPE.sh --help"
COMMAND=$(typed TRAIN VALID TEST TEST1 UPDATES LR MINUTES VOCABULARY)
UPDATES=${UPDATES:-1250} LR=${LR:-5e-3} MINUTES=${MINUTES:-25} VOCABULARY=${VOCABULARY:-8000}
MULTI30K_URL=${MULTI30K_URL:-https://github.com/multi30k/dataset}
[[ $MINUTES =~ ^[0-9]+(\.[0-9]+)?$ ]] || die "MINUTES=$MINUTES is no number"
TESTS=(test ${TEST1:+test1}) # as fairseq names them

OURS=(--arch lstm_moe_tiny --encoder-bidirectional --attention additive --attention-residual
    --no-moe-sigmoid --criterion moe_label_smoothed_cross_entropy --moe-importance-weight 0.01
    --moe-load-weight 0.01 --optimizer moe_adam)
TWINS=("${OURS[@]}" --dim 64 --lstm-cells 64 --moe-k 4 --moe-hidden-dim 256 --dropout 0.1
    --lr "$LR" --lr-scheduler cosine --warmup-updates 250 --max-update "$UPDATES" --max-tokens 2000)
# fairseq counts the hours of all tries together.
TIMED=(--lr-scheduler inverse_sqrt --stop-time-hours "$(awk "BEGIN { print $MINUTES / 60 }")"
    --lr 1.5e-3 --warmup-updates 500 --dropout 0.25 --max-tokens 1000)
FAIRSEQ=("${TIMED[@]}" --criterion label_smoothed_cross_entropy --share-all-embeddings)
cell dense "${TWINS[@]}" --feed-forward dense
for experts in 4 32 256; do
    cell "$experts" "${TWINS[@]}" --moe-experts "$experts"
done
cell 32-timed "${OURS[@]}" --dim 128 --lstm-cells 128 --moe-k 2 --moe-hidden-dim 512 \
    --moe-experts 32 "${TIMED[@]}"
cell lstm --arch lstm --encoder-layers 2 --decoder-layers 2 --encoder-bidirectional \
    --encoder-embed-dim 256 --encoder-hidden-size 256 --decoder-embed-dim 256 \
    --decoder-hidden-size 256 --decoder-out-embed-dim 256 "${FAIRSEQ[@]}"
cell transformer --arch transformer --encoder-layers 4 --decoder-layers 4 \
    --encoder-embed-dim 128 --decoder-embed-dim 128 --encoder-ffn-embed-dim 512 \
    --decoder-ffn-embed-dim 512 --encoder-attention-heads 4 --decoder-attention-heads 4 \
    "${FAIRSEQ[@]}"
COMMON=(--label-smoothing 0.1 --optimizer adam --adam-betas "(0.9,0.98)" --clip-norm 1.0)

gather_pairs() {
    local split language prefix out=$RUN_DIR/corpus/en-de
    mkdir -p "$out"
    for language in en de; do
        for split in train valid "${TESTS[@]}"; do
            for prefix in $(prefixes "$split"); do
                if [[ -f $prefix.$language ]]; then
                    cat "$prefix.$language"
                else
                    gzip -cd "$prefix.$language.gz"
                fi
            done >"$out/$split.$language"
        done
    done
}

prefixes() {
    case $1 in
        train) echo "${TRAIN-}" ;;
        valid) echo "${VALID-}" ;;
        test) echo "${TEST-}" ;;
        test1) echo "${TEST1-}" ;;
    esac
}

clone() {
    rm -rf "$RUN_DIR/download/dataset"
    git clone --quiet --depth 1 "$MULTI30K_URL" "$RUN_DIR/download/dataset" ||
        die "cannot clone $MULTI30K_URL: get the files of its folder data/task1/raw in another" \
            "way and name them, TRAIN=folder/train VALID=folder/val TEST=folder/test_2016_flickr"
}

translation_model() { # translation_model CELL-SEED OPTION...
    train_into "$1" --source-lang en --target-lang de "${COMMON[@]}" "${@:2}"
    measure_test "$1" --task translation --valid-subset "test${TEST1:+,test1}"
    translate_test "$1" fairseq --task translation
    translate_test "$1" gnmt --task gnmt_translation --gnmt-alpha 0.2 --gnmt-beta 0.2
}

translate_test() { # translate_test CELL-SEED SEARCH OPTION...: into SEARCH and SEARCH1
    local split out
    for split in "${TESTS[@]}"; do
        out=$RUN_DIR/$1/$2${split#test}
        mkdir -p "$out"
        logged "$out/output.log" fairseq-generate "$RUN_DIR/binary" --user-dir "$ROOT/nmt_moe" \
            "${@:3}" --source-lang en --target-lang de --path "$RUN_DIR/$1/checkpoint_best.pt" \
            --gen-subset "$split" --beam 5 --batch-size 32 --bpe sentencepiece \
            --sentencepiece-model "$RUN_DIR/wordpieces/model.model" \
            --results-path "$out"
        hypotheses "$out/generate-$split.txt" >"$out/hypotheses.txt"
        sacrebleu "$RUN_DIR/corpus/en-de/$split.de" -i "$out/hypotheses.txt" -m bleu -w 2 \
            >"$out/bleu.json"
    done
}

# Each seed's hypotheses against those of the first cell.
compare_hypotheses() {
    local split search seed
    ((${#NAMES[@]} > 1)) || return 0
    for split in "${TESTS[@]}"; do
        for search in "fairseq${split#test}" "gnmt${split#test}"; do
            for seed in "${SEEDS[@]}"; do
                into "$RESULTS/paired-$search-$seed.txt" paired "$split" "$search" "$seed"
            done
        done
    done
}

paired() { # paired SPLIT SEARCH SEED
    (cd "$RUN_DIR" && sacrebleu "corpus/en-de/$1.de" -m bleu --paired-bs -f text \
        -i "${NAMES[@]/%/-$3/$2/hypotheses.txt}")
}

choose_cells
if [[ -n ${TRAIN-}${VALID-}${TEST-}${TEST1-} ]]; then
    for split in train valid "${TESTS[@]}"; do
        [[ -n $(prefixes "$split") ]] || die "TRAIN, VALID and TEST, please: there is no $split text"
        for prefix in $(prefixes "$split"); do
            for language in en de; do
                [[ -f $prefix.$language || -f $prefix.$language.gz ]] ||
                    die "no file $prefix.$language, with or without .gz"
            done
        done
    done
    TRAIN=$(for prefix in $TRAIN; do absolute "$prefix"; done)
    VALID=$(for prefix in $VALID; do absolute "$prefix"; done)
    TEST=$(for prefix in $TEST; do absolute "$prefix"; done)
    TEST1=$(for prefix in ${TEST1-}; do absolute "$prefix"; done)
fi
open_run "from=$(echo ${TRAIN:-$MULTI30K_URL} ${VALID-} ${TEST-} ${TEST1-})" \
    "vocabulary=$VOCABULARY" "common=${COMMON[*]}"
RESULTS=${RESULTS:-$RUN_DIR/results}
if [[ -z ${TRAIN-} ]]; then
    stage download clone
    folder=$RUN_DIR/download/dataset/data/task1/raw
    TRAIN=$folder/train VALID=$folder/val TEST=$folder/test_2016_flickr
fi
stage corpus gather_pairs
stage wordpieces make_wordpieces "$VOCABULARY" 100 "$RUN_DIR/corpus/en-de" en de
stage binary make_binary '' --source-lang en --target-lang de --joined-dictionary
run_grid translation_model
compare_hypotheses
