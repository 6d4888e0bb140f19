"""Translation models of equal operations per timestep, and fairseq's own trainer around each.

lstm_moe     ours
dense twin   the same with one feed-forward in place of each mixture (--feed-forward dense)
plain        lstm_moe on torch.nn.LSTM(proj_size=...) and a loop over the experts (plain.py)
fairseq lstm fairseq's --arch lstm, as wide as makes it cost the same
joeynmt      the recurrent encoder and decoder of joeynmt, likewise, where it is installed
"""

import re
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import torch
from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.logging import metrics
from fairseq.models.lstm import LSTMModel, base_architecture
from fairseq.tasks.translation import TranslationConfig, TranslationTask
from fairseq.trainer import Trainer
from plain import make_plain
from torch import Tensor, nn

import nmt_moe.plugin  # noqa: F401  registers what fairseq looks up by name
from nmt_moe.criterions.label_smoothed import MoELabelSmoothedCrossEntropy
from nmt_moe.models.architectures import build, config, dictionary
from nmt_moe.moe import MixtureOfExperts

PAPER = dict(dim=512, lstm_cells=2048, moe_experts=32, moe_k=4, moe_hidden_dim=2048)
SMALL = dict(dim=16, lstm_cells=32, moe_experts=8, moe_k=2, moe_hidden_dim=32)
LAYERS = 3  # of encoder and decoder in the others' models, which want equally many
OF_SOURCE = re.compile(r"^\.encoder\b|\.attention\.source$|\.encoder_attn\.[kv]_proj$")
Options = dict[str, Any]


def ours(sizes: Options, vocabulary: int, **changes: Any) -> nn.Module:
    return build(config("lstm_moe", sizes | changes), vocabulary)


def plain(sizes: Options, vocabulary: int, **changes: Any) -> nn.Module:
    return make_plain(ours(sizes, vocabulary, **changes))


def dense(sizes: Options, vocabulary: int, **changes: Any) -> nn.Module:
    return ours(sizes, vocabulary, feed_forward="dense", **changes)


def fairseq_lstm(
    sizes: Options, vocabulary: int, dropout: float = 0.4, hidden: int | None = None
) -> nn.Module:
    """fairseq's, of ``hidden`` cells or as many as make it cost as much as ours."""

    def model(cells: int) -> nn.Module:
        words = dictionary(vocabulary)
        args = SimpleNamespace(
            encoder_embed_dim=sizes["dim"],
            decoder_embed_dim=sizes["dim"],
            decoder_out_embed_dim=sizes["dim"],
            encoder_hidden_size=cells,
            decoder_hidden_size=cells,
            encoder_layers=LAYERS,
            decoder_layers=LAYERS,
            dropout=dropout,
            criterion="",
        )
        base_architecture(args)
        task = SimpleNamespace(source_dictionary=words, target_dictionary=words)
        return LSTMModel.build_model(args, task)

    return model(hidden or _equal_cost(model, ops(ours, sizes, vocabulary)))


class JoeyNMT(nn.Module):
    """joeynmt's recurrent encoder and decoder under the signature of a model of fairseq."""

    def __init__(self, sizes: Options, vocabulary: int, dropout: float, cells: int) -> None:
        from joeynmt.decoders import RecurrentDecoder
        from joeynmt.encoders import RecurrentEncoder

        super().__init__()
        self.pad, dim = dictionary(vocabulary).pad(), sizes["dim"]
        self.source, self.target = (nn.Embedding(vocabulary, dim, self.pad) for _ in range(2))
        shape = dict(
            rnn_type="lstm",
            emb_size=dim,
            hidden_size=cells,
            num_layers=LAYERS,
            dropout=dropout,
            emb_dropout=dropout,
        )
        # Of half the cells in each direction: it cannot read in one direction only.
        self.encoder = RecurrentEncoder(**shape | {"hidden_size": cells // 2}, bidirectional=True)
        self.decoder = RecurrentDecoder(
            **shape,
            encoder=self.encoder,
            attention="luong",
            vocab_size=vocabulary,
            hidden_dropout=dropout,
        )

    def forward(
        self, src_tokens: Tensor, src_lengths: Tensor, prev_output_tokens: Tensor
    ) -> tuple[Tensor, None]:
        mask_B1S = (src_tokens != self.pad).unsqueeze(1)
        encoded_BSD, last_BD = self.encoder(self.source(src_tokens), src_lengths, mask_B1S)
        embedded = self.target(prev_output_tokens)
        found = self.decoder(embedded, encoded_BSD, last_BD, mask_B1S, embedded.shape[1])
        return found[0], None

    def get_normalized_probs(self, net_output: Any, log_probs: bool, sample: Any = None) -> Tensor:
        logits = net_output[0].float()
        return logits.log_softmax(-1) if log_probs else logits.softmax(-1)

    def get_targets(self, sample: dict, net_output: Any) -> Tensor:
        return sample["target"]

    def max_positions(self) -> tuple[int, int]:
        return 10**5, 10**5

    def set_num_updates(self, updates: int) -> None:
        """Nothing changes with them."""


def joey(sizes: Options, vocabulary: int, dropout: float = 0.4) -> nn.Module:
    def model(cells: int) -> nn.Module:
        return JoeyNMT(sizes, vocabulary, dropout, cells)

    return model(_equal_cost(model, ops(ours, sizes, vocabulary)))


CONTENDERS: dict[str, Callable[..., nn.Module]] = {
    "lstm_moe": ours,
    "dense twin": dense,
    "plain": plain,
    "fairseq lstm": fairseq_lstm,
}
try:
    import joeynmt.decoders  # noqa: F401

    CONTENDERS["joeynmt"] = joey
    NOTES: list[str] = []
except ImportError:
    NOTES = ["left out: joeynmt (pip install --no-deps joeynmt importlib_metadata lazy-importer)"]


def ops(kind: Callable[..., nn.Module], sizes: Options, vocabulary: int) -> int:
    """Multiply-adds of a timestep, one token on each side, forward."""
    with torch.device("meta"):
        return products(kind(sizes, vocabulary))


def products(model: nn.Module) -> int:
    """The same of a model."""
    return sum(count for _, count in work(model))


def source_products(model: nn.Module) -> int:
    """Those of a token of the source, which a search computes once for all hypotheses."""
    return sum(count for name, count in work(model) if OF_SOURCE.search(name))


def work(module: nn.Module, name: str = "") -> Iterator[tuple[str, int]]:
    """Modules and their multiply-adds of a token, which all matrices but embeddings multiply."""
    if isinstance(module, nn.Embedding):
        return
    if isinstance(module, MixtureOfExperts):
        yield name, module.ops_per_token
        return
    yield name, sum(p.numel() for p in module.parameters(recurse=False) if p.dim() == 2)
    for part, child in module.named_children():
        yield from work(child, f"{name}.{part}")


def _equal_cost(model: Callable[[int], nn.Module], wanted: int) -> int:
    """The number of cells, an even one, that comes closest to so many multiply-adds."""
    low, high = 2, 2
    with torch.device("meta"):
        while products(model(high)) < wanted:
            low, high = high, 2 * high
        while high - low > 2:
            middle = (low + high) // 4 * 2
            low, high = (middle, high) if products(model(middle)) < wanted else (low, middle)
        return min((low, high), key=lambda cells: abs(products(model(cells)) - wanted))


def batch(sentences: int, length: int, vocabulary: int) -> dict[str, Any]:
    """Random sentence pairs, all of ``length`` tokens with the end of the sentence.

    As fairseq's translation task would collate them; equal lengths, so that there is no padding,
    which not every contender skips.
    """
    words = dictionary(vocabulary)
    low, eos = words.nspecial, words.eos()
    source, target = torch.randint(low, vocabulary, (2, sentences, length))
    source[:, -1] = target[:, -1] = eos
    return {
        "nsentences": sentences,
        "ntokens": sentences * length,
        "net_input": {
            "src_tokens": source,
            "src_lengths": torch.full((sentences,), length),
            "prev_output_tokens": target.roll(1, dims=1),
        },
        "target": target,
    }


def make_trainer(
    model: nn.Module, vocabulary: int, device: str, *arguments: str, task: Any = None
) -> Trainer:
    """What ``fairseq-train`` would make for it: its trainer, our criterion and optimizer."""
    parts = ["nowhere", "--arch", "lstm_moe", "--criterion", "moe_label_smoothed_cross_entropy"]
    parts += ["--label-smoothing", "0.1", "--optimizer", "moe_adam", "--lr", "0.001"]
    parts += ["--clip-norm", "1", "--batch-size", "1", *arguments]
    parts += ["--cpu"] if device == "cpu" else []
    args = options.parse_args_and_arch(options.get_training_parser(), parts)
    cfg = convert_namespace_to_omegaconf(args)
    words = dictionary(vocabulary)
    task = task or TranslationTask(TranslationConfig(), words, words)
    criterion = MoELabelSmoothedCrossEntropy.build_criterion(cfg.criterion, task)
    return Trainer(cfg, task, model, criterion)


def update(trainer: Trainer, sample: dict) -> float:
    """One update; the loss in bits per token before it."""
    metrics.reset()  # those of the balance are as long as there are experts
    with metrics.aggregate("train"):
        trainer.train_step([sample])
        return metrics.get_smoothed_value("train", "loss")
