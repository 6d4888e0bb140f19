"""The commands of fairseq's own examples with another ``--arch``: train, go on, generate.

They are those of its examples/translation (IWSLT'14) and examples/scaling_nmt (WMT'16), on small
data and for a few epochs.
"""

import re
import sys
from pathlib import Path

import pytest

from tests.fairseq.habits import Tried, write_texts

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="commands are not forked"),
]

IWSLT14 = r"""
TEXT=.
fairseq-preprocess --source-lang de --target-lang en \
    --trainpref $TEXT/train --validpref $TEXT/valid --testpref $TEXT/test \
    --destdir data-bin/iwslt14.tokenized.de-en \
    --workers 20
train() {
    CUDA_VISIBLE_DEVICES= fairseq-train \
        data-bin/iwslt14.tokenized.de-en \
        --arch lstm_moe_tiny --share-decoder-input-output-embed \
        --optimizer adam --adam-betas '(0.9, 0.98)' --clip-norm 0.0 \
        --lr 5e-4 --lr-scheduler inverse_sqrt --warmup-updates 4000 \
        --dropout 0.3 --weight-decay 0.0001 \
        --criterion label_smoothed_cross_entropy --label-smoothing 0.1 \
        --max-tokens 4096 \
        --eval-bleu \
        --eval-bleu-args '{"beam": 5, "max_len_a": 1.2, "max_len_b": 10}' \
        --eval-bleu-detok moses \
        --eval-bleu-remove-bpe \
        --eval-bleu-print-samples \
        --best-checkpoint-metric bleu --maximize-best-checkpoint-metric $plugin "$@"
}
train --max-epoch 1
train --max-epoch 2
fairseq-generate data-bin/iwslt14.tokenized.de-en \
    --path checkpoints/checkpoint_best.pt \
    --batch-size 128 --beam 5 --remove-bpe $plugin
"""

WMT16 = r"""
TEXT=.
fairseq-preprocess \
    --source-lang de --target-lang en \
    --trainpref $TEXT/train \
    --validpref $TEXT/valid \
    --testpref $TEXT/test \
    --destdir data-bin/wmt16_en_de_bpe32k \
    --nwordssrc 32768 --nwordstgt 32768 \
    --joined-dictionary \
    --workers 20
train() {
    fairseq-train \
        data-bin/wmt16_en_de_bpe32k \
        --arch lstm_moe_tiny --share-all-embeddings \
        --optimizer adam --adam-betas '(0.9, 0.98)' --clip-norm 0.0 \
        --lr 0.0005 --lr-scheduler inverse_sqrt --warmup-updates 4000 --warmup-init-lr 1e-07 \
        --dropout 0.3 --weight-decay 0.0 \
        --criterion label_smoothed_cross_entropy --label-smoothing 0.1 \
        --max-tokens 3584 \
        --fp16 $plugin "$@"
}
train --max-epoch 1 --update-freq 16
train --max-epoch 2 --update-freq 16
nmt-moe checkpoint average --last 2 --out checkpoint.avg10.pt checkpoints
fairseq-generate \
    data-bin/wmt16_en_de_bpe32k \
    --path checkpoint.avg10.pt \
    --beam 4 --lenpen 0.6 --remove-bpe $plugin
"""


@pytest.mark.parametrize(("script", "shown"), [(IWSLT14, r"bleu \d"), (WMT16, "loss_scale")])
def test_an_example(tmp_path: Path, script: str, shown: str) -> None:
    write_texts(tmp_path)
    code, output = Tried("ours", tmp_path).bash(script, tmp_path)
    assert code == 0, output
    assert "Traceback" not in output, output
    assert (
        len(re.findall(r"end of epoch 1 ", output))
        == len(re.findall(r"end of epoch 2 ", output))
        == 1
    )
    assert "Loaded checkpoint checkpoints/checkpoint_last.pt (epoch 2 @ 1 updates)" in output
    assert re.search(shown, output)
    found = re.findall(r"^H-\d+\t\S+\t(.*)$", output, re.MULTILINE)
    assert len(found) == 20 and "@@" not in "".join(found)
    assert "BLEU4 = " in output
