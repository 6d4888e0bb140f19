#!/usr/bin/env bash
# Train and translate Multi30k: 29,000 image captions, within an hour on two CPU cores.
# shellcheck source=recipes/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat <<'EOF'
usage: recipes/multi30k.sh [de|fr] [--clean] [-h] [-- FAIRSEQ_TRAIN_OPTIONS]

Learns wordpieces on Multi30k (English to German or French), trains a small model with
mixtures of experts, translates test_2016_flickr and five of its sentences, and sums it up.
Run again, it continues where it stopped.

  --clean   remove the run's folder and start over

environment:
  MULTI30K      a folder with train.en.gz, val.en.gz, test_2016_flickr.en.gz and the other
                language's files, gzipped or plain (default: cloned from MULTI30K_URL)
  MULTI30K_URL  the repository (default: https://github.com/multi30k/dataset)
  RUN_DIR       the run's folder (default: data/multi30k-de or -fr in the repository)
  SEED          of the training (default: 1)
  VOCABULARY    wordpieces of both languages together
  GPUS, NODES   processes and machines of a training (default: one process), see launch.sh
EOF
}

parse_arguments "$@"
MULTI30K=${MULTI30K:+$(absolute "$MULTI30K")}
MULTI30K_URL=${MULTI30K_URL:-https://github.com/multi30k/dataset}
SEED=${SEED:-1}
VOCABULARY=${VOCABULARY:-4000}
MAX_PIECES=100

MODEL=(--arch lstm_moe_tiny --dim 256 --lstm-cells 256 --encoder-bidirectional
    --attention additive --attention-residual --moe-experts 16 --moe-k 2 --moe-hidden-dim 512 --dropout 0.25)
LOSS=(--criterion moe_label_smoothed_cross_entropy --label-smoothing 0.1
    --moe-importance-weight 0.01 --moe-load-weight 0.01)
OPTIMIZER=(--optimizer adam --adam-betas '(0.9,0.98)' --lr 1.5e-3 --lr-scheduler cosine
    --warmup-updates 500 --clip-norm 1.0)
LENGTH=(--max-tokens 1000 --max-update 6000)

clone() {
    local out=$RUN_DIR/download/dataset
    rm -rf "$out"
    git clone --quiet --depth 1 "$MULTI30K_URL" "$out" ||
        die "cannot clone $MULTI30K_URL: get the files of its folder data/task1/raw in another" \
            "way and name their folder, MULTI30K=/path/to/folder"
}

open_run "target=$TARGET" "seed=$SEED" "from=${MULTI30K:-$MULTI30K_URL}" \
    "vocabulary=$VOCABULARY" "max_pieces=$MAX_PIECES" "model=${MODEL[*]}" "loss=${LOSS[*]}" \
    "optimizer=${OPTIMIZER[*]}" "length=${LENGTH[*]}"

translate_and_score() {
    translate
    score_tokenised
}

if [[ -z $MULTI30K ]]; then
    stage download clone
    MULTI30K=$RUN_DIR/download/dataset
fi
stage corpus python -m nmt_moe.corpus.multi30k "$MULTI30K" --target "$TARGET" \
    --out "$RUN_DIR/corpus/en-$TARGET"
stage wordpieces make_wordpieces "$VOCABULARY" "$MAX_PIECES" "$RUN_DIR/corpus/en-$TARGET" en "$TARGET"
stage binary make_binary '' --source-lang en --target-lang "$TARGET" --joined-dictionary
stage training train "${MODEL[@]}" "${LOSS[@]}" "${OPTIMIZER[@]}" "${LENGTH[@]}"
stage translation translate_and_score
stage examples translate_examples
summarise
