#!/usr/bin/env bash
# Train and translate Multi30k: 29,000 image captions, in the time that you name.
#
# usage: recipes/multi30k.sh [de|fr|cs] [--clean] [-h] [-- FAIRSEQ_TRAIN_OPTIONS]
#
# Learns wordpieces on Multi30k (English to German, French or Czech), trains a small model with
# mixtures of experts, averages its last checkpoints, translates test_2016_flickr, the test sets of
# 2017 that there are, and five sentences, and sums it up. A minute of the training tells how many
# updates this machine makes in TIME.
# Run again, it continues where it stopped.
#
# MULTI30K is a folder with train.en.gz, val.en.gz, test_2016_flickr.en.gz and the other language's
# files, gzipped or plain. PAPERS=1 lower-cases, normalises and tokenises all text before, as
# published systems have it: sentences to translate have to be so, too.
# shellcheck source=recipes/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
parse_target "de fr cs" "$@"

MULTI30K=${MULTI30K:-} # the folder of the text, else it is cloned
MULTI30K_URL=${MULTI30K_URL:-https://github.com/multi30k/dataset} # of which repository
TIME=${TIME:-60m} # for everything, such as 30m or 2h
PAPERS=${PAPERS:-} # 1: text as published systems have it
SEED=${SEED:-1} # of the training
VOCABULARY=${VOCABULARY:-4000} # wordpieces of both languages together
MAX_PIECES=100
AVERAGE=4 # checkpoints

MODEL=(--arch lstm_moe_tiny --dim 256 --lstm-cells 256 --encoder-bidirectional --share-all-embeddings
    --attention additive --attention-residual --output-attention --encoder-residual-from 2 --decoder-residual-from 2
    --moe-experts 16 --moe-k 2 --moe-hidden-dim 512 --dropout 0.25)
LOSS=(--criterion moe_label_smoothed_cross_entropy --label-smoothing 0.1
    --moe-importance-weight 0.01 --moe-load-weight 0.01)
OPTIMIZER=(--optimizer adam --adam-betas '(0.9,0.98)' --lr 3e-3 --lr-scheduler cosine
    --clip-norm 1.0)
LENGTH=(--max-tokens 2000)
SEARCH+=(--gnmt-alpha 0.6) # of those tried the best on the validation text, whose translations were too short

MULTI30K=${MULTI30K:+$(absolute "$MULTI30K")}
[[ $TIME =~ ^[0-9.]+[hms]([0-9.]+[ms]){0,2}$ ]] || die "TIME=$TIME is no time: give one such as 30m or 2h"
[[ -z $PAPERS || $PAPERS == 1 ]] || die "PAPERS=$PAPERS: give 1, or nothing"
open_run "target=$TARGET" "seed=$SEED" "from=${MULTI30K:-$MULTI30K_URL}" "papers=$PAPERS" "time=$TIME" \
    "vocabulary=$VOCABULARY" "max_pieces=$MAX_PIECES" "model=${MODEL[*]}" "loss=${LOSS[*]}" \
    "optimizer=${OPTIMIZER[*]}" "length=${LENGTH[*]}" "average=$AVERAGE"
LANGUAGES=(--source-lang en --target-lang "$TARGET")
TEXT=$RUN_DIR/corpus/en-$TARGET AS_IT_IS=$RUN_DIR/corpus/as-it-is TRANSLATION=$RUN_DIR/translation

before=''
if [[ -z $MULTI30K ]]; then
    stage download clone "$MULTI30K_URL" "name their folder, MULTI30K=/path/to/folder"
    MULTI30K=$RUN_DIR/download/dataset before=download
fi
captions=(python -m nmt_moe.corpus.multi30k "$MULTI30K" --target "$TARGET")
stage corpus --after "$before" "${captions[@]}" ${PAPERS:+--papers} --out "$TEXT" \
    ${PAPERS:+--then "${captions[@]}" --out "$AS_IT_IS"}
stage wordpieces --after corpus wordpieces "$VOCABULARY" "$MAX_PIECES" "$TEXT" en "$TARGET"
stage binary --after wordpieces binary "${LANGUAGES[@]}" --joined-dictionary
PRECISION=$(bfloat16_on_cpu)
training=("${LANGUAGES[@]}" "${MODEL[@]}" "${LOSS[@]}" "${OPTIMIZER[@]}" "${LENGTH[@]}"
    ${PRECISION:+"$PRECISION"})
stage updates --after binary updates "$TIME" "${training[@]}"
updates=$(<"$RUN_DIR/updates/updates")
stage training --after updates train "${training[@]}" --max-update "$updates" \
    --warmup-updates $((updates > 5000 ? 500 : updates / 10)) \
    --save-interval-updates $((updates / 25 + 1)) --keep-interval-updates "$AVERAGE"
best=$RUN_DIR/training/checkpoint_average.pt # beside what a translation needs
stage average --after training python -m nmt_moe.checkpoint average --last "$AVERAGE" \
    "$RUN_DIR/training" --force --out "$best"

# Each test set as it is and, for comparison with papers, lower-cased, both sides normalised and
# tokenised as Moses does.
searching "$best"
subset=test all=()
for name in test test_2017_flickr test_2017_mscoco; do
    [[ -f $TEXT/$name.en ]] || continue
    folder=$name label=${name}_
    [[ $name != test ]] || folder=. label=''
    translating "$subset" "$folder"
    mine=$TRANSLATION/$folder/hypotheses.txt right=$TEXT/$name.$TARGET
    score=(sacrebleu -m bleu -w 2 --force)
    if [[ -n $PAPERS ]]; then
        STEPS+=(--then detokenised "$TARGET" "$folder/hypotheses.txt" "$folder/hypotheses.plain"
            --then into "${label}detokenised_lower-cased.json" "${score[@]}" "$AS_IT_IS/$name.$TARGET"
            -i "$TRANSLATION/$folder/hypotheses.plain" --lowercase)
    else
        STEPS+=(--then into "${label}detokenised.json" "${score[@]}" "$right" -i "$mine"
            --then tokenised "$TARGET" "$right" "$folder/reference.tok"
            --then tokenised "$TARGET" "$mine" "$folder/hypotheses.tok")
        mine=$TRANSLATION/$folder/hypotheses.tok right=$TRANSLATION/$folder/reference.tok
    fi
    all+=(${all[@]+--then} "${STEPS[@]}" --then into "${label}tokenised_lower-cased.json" "${score[@]}"
        "$right" -i "$mine" --tokenize none --lowercase)
    subset=test$((${subset#test} + 1))
done
stage translation --after average "${all[@]}"
examples "$TEXT/test.en"
summarise
