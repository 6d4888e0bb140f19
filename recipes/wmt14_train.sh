#!/usr/bin/env bash
# Train the paper's translation models (appendix E) on what wmt14_prepare.sh made.
#
# usage: recipes/wmt14_train.sh en-de|en-fr [dense|32|512h|2048h] [--clean] [-h]
#                               [-- FAIRSEQ_TRAIN_OPTIONS]
#
# Trains a model of the paper: without experts, with 32 of them (the default), or with 512 or 2048
# in 16 groups. Run again, it continues where it stopped. Ends with the average of the last
# checkpoints, training/checkpoint_average.pt in the run's folder.
#
# The paper prints neither its learning rate, which is 1e-3 here, nor its updates: the defaults are
# what 64 GPUs of 1 TFLOPS, as the paper had, do in its one day for En-De and its three for En-Fr.
# GPUS is by default the number of GPUs here, 1 without any.
# shellcheck source=recipes/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
parse_pair "$@"
((${#WORDS[@]} < 3)) || die "one size, please: '${WORDS[1]}' or '${WORDS[2]}'"
SIZE=${WORDS[1]-32}
[[ $SIZE =~ ^(dense|32|512h|2048h)$ ]] || die "unknown size '$SIZE': choose dense, 32, 512h or 2048h"

PREPARED=${PREPARED:-$ROOT/data/wmt14-$PAIR} # the folder of wmt14_prepare.sh
BATCH_GPUS=${BATCH_GPUS:-64} # an update sees 16,000 words for each of so many; fewer take several batches
MAX_TOKENS=${MAX_TOKENS:-16000} # wordpieces that a GPU takes at once, the less the less memory; a run keeps it
UPDATES=${UPDATES:-} # else 10000 for en-de, 30000 for en-fr
PRECISION=${PRECISION:-} # bf16 or fp32, else bf16 where the GPU has it
AVERAGE=${AVERAGE:-8} # checkpoints to average, 1000 updates apart; 1: none
SEED=${SEED:-1} # of the training

RUN_DIR=${RUN_DIR:-$ROOT/data/wmt14-$PAIR-$SIZE} PREPARED=$(absolute "$PREPARED")
UPDATES=${UPDATES:-$([[ $PAIR == en-de ]] && echo 10000 || echo 30000)}
whole BATCH_GPUS MAX_TOKENS AVERAGE UPDATES ${GPUS:+GPUS} ${NODES:+NODES}
[[ ${PRECISION:-fp32} =~ ^(bf16|fp32)$ ]] || die "PRECISION=$PRECISION: choose bf16 or fp32"
[[ -f $PREPARED/binary/.done && -f $PREPARED/binary/train.$PAIR.$SOURCE.idx ]] ||
    die "$PREPARED is not prepared to its end: run recipes/wmt14_prepare.sh $PAIR first"

MODEL=(--arch "lstm_moe_wmt14_$SIZE" --dropout 0.4)
LOSS=(--criterion moe_label_smoothed_cross_entropy --label-smoothing 0
    --moe-importance-weight 0.01 --moe-load-weight 0.01)
OPTIMIZER=(--optimizer moe_adam --lr 1e-3 --lr-scheduler warmup_hold_inverse_sqrt
    --warmup-updates 2000 --hold-updates 8000 --clip-norm 1.0)
LENGTH=(--max-tokens "$MAX_TOKENS" --max-update "$UPDATES")
CHECKPOINTS=(--validate-interval-updates 1000 --save-interval-updates 1000
    --keep-interval-updates "$AVERAGE")

# What was prepared anew is another corpus, wherever it lies.
data=$(cat "$PREPARED/binary/dict.$SOURCE.txt" "$PREPARED/binary/train.$PAIR.$SOURCE.idx" | cksum)
open_run "pair=$PAIR" "size=$SIZE" "prepared=$PREPARED" "data=$data" "seed=$SEED" "batch_gpus=$BATCH_GPUS" \
    "average=$AVERAGE" "model=${MODEL[*]}" "loss=${LOSS[*]}" "optimizer=${OPTIMIZER[*]}" "length=${LENGTH[*]}"

# These may differ when a run goes on: on other machines it is the same training.
found=$(python -c 'import torch; gpus = torch.cuda.device_count()
print(gpus or 1, "bf16" if gpus and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32")')
GPUS=${GPUS:-${found% *}}
AT_ONCE=$((GPUS * ${NODES:-1} * MAX_TOKENS))
LENGTH+=(--update-freq $(((BATCH_GPUS * 16000 + AT_ONCE - 1) / AT_ONCE)))
[[ ${PRECISION:-${found#* }} == fp32 ]] || LENGTH+=(--bf16)

stage training train --source-lang "$SOURCE" --target-lang "$TARGET" \
    "${MODEL[@]}" "${LOSS[@]}" "${OPTIMIZER[@]}" "${LENGTH[@]}" "${CHECKPOINTS[@]}"
best=$RUN_DIR/training/checkpoint_best.pt
if ((AVERAGE > 1)); then
    best=$RUN_DIR/training/checkpoint_average.pt
    stage average --after training python -m nmt_moe.checkpoint average --last "$AVERAGE" \
        "$RUN_DIR/training" --force --out "$best"
fi
summarise
echo
echo "next: recipes/wmt14_score.sh $best"
