#!/usr/bin/env bash
# Train and translate Multi30k: 29,000 image captions, within an hour on two CPU cores.
#
# usage: recipes/multi30k.sh [de|fr] [--clean] [-h] [-- FAIRSEQ_TRAIN_OPTIONS]
#
# Learns wordpieces on Multi30k (English to German or French), trains a small model with
# mixtures of experts, translates test_2016_flickr and five of its sentences, and sums it up.
# Run again, it continues where it stopped.
#
# MULTI30K is a folder with train.en.gz, val.en.gz, test_2016_flickr.en.gz and the other language's
# files, gzipped or plain.
# shellcheck source=recipes/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
parse_arguments "$@"

MULTI30K=${MULTI30K:-} # the folder of the text, else it is cloned
MULTI30K_URL=${MULTI30K_URL:-https://github.com/multi30k/dataset} # of which repository
SEED=${SEED:-1} # of the training
VOCABULARY=${VOCABULARY:-4000} # wordpieces of both languages together
MAX_PIECES=100

MODEL=(--arch lstm_moe_tiny --dim 256 --lstm-cells 256 --encoder-bidirectional
    --attention additive --attention-residual --moe-experts 16 --moe-k 2 --moe-hidden-dim 512 --dropout 0.25)
LOSS=(--criterion moe_label_smoothed_cross_entropy --label-smoothing 0.1
    --moe-importance-weight 0.01 --moe-load-weight 0.01)
OPTIMIZER=(--optimizer adam --adam-betas '(0.9,0.98)' --lr 1.5e-3 --lr-scheduler cosine
    --warmup-updates 500 --clip-norm 1.0)
LENGTH=(--max-tokens 1000 --max-update 6000)

MULTI30K=${MULTI30K:+$(absolute "$MULTI30K")}
open_run "target=$TARGET" "seed=$SEED" "from=${MULTI30K:-$MULTI30K_URL}" \
    "vocabulary=$VOCABULARY" "max_pieces=$MAX_PIECES" "model=${MODEL[*]}" "loss=${LOSS[*]}" \
    "optimizer=${OPTIMIZER[*]}" "length=${LENGTH[*]}"
LANGUAGES=(--source-lang en --target-lang "$TARGET")
TEXT=$RUN_DIR/corpus/en-$TARGET TRANSLATION=$RUN_DIR/translation

before=''
if [[ -z $MULTI30K ]]; then
    stage download clone "$MULTI30K_URL" "name their folder, MULTI30K=/path/to/folder"
    MULTI30K=$RUN_DIR/download/dataset before=download
fi
stage corpus --after "$before" \
    python -m nmt_moe.corpus.multi30k "$MULTI30K" --target "$TARGET" --out "$TEXT"
stage wordpieces --after corpus wordpieces "$VOCABULARY" "$MAX_PIECES" "$TEXT" en "$TARGET"
stage binary --after wordpieces binary "${LANGUAGES[@]}" --joined-dictionary
stage training --after binary \
    train "${LANGUAGES[@]}" "${MODEL[@]}" "${LOSS[@]}" "${OPTIMIZER[@]}" "${LENGTH[@]}"
# For comparison with papers: both sides normalised and tokenised as Moses does, lower-cased.
translate_test --then tokenised "$TARGET" "$TEXT/test.$TARGET" reference.tok \
    --then tokenised "$TARGET" "$TRANSLATION/hypotheses.txt" hypotheses.tok \
    --then into tokenised_lower-cased.json sacrebleu "$TRANSLATION/reference.tok" \
    -i "$TRANSLATION/hypotheses.tok" -m bleu -w 2 --tokenize none --lowercase --force
summarise
