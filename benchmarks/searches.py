"""Models that translate, each under one interface, for generate.py.

lstm_moe int8         ours with weights in int8
fairseq transformer   fairseq's own, base (60 million parameters), one matrix for all embeddings
ctranslate2           the same weights in CTranslate2 through its own converter, in float32 and in
                      int8, where it is installed (``pip install -e '.[bench]'``)
and the models of contenders.py that fairseq can search with. fairseq's own models are searched by
fairseq's --task translation, ours by --task gnmt_translation.
"""

import argparse
import importlib.util
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from contenders import CONTENDERS, Options, batch, ours, products, source_products
from fairseq.models import build_model
from fairseq.models.transformer import base_architecture
from fairseq.tasks.translation import TranslationConfig, TranslationTask
from torch import Tensor, nn

from nmt_moe.models.architectures import dictionary
from nmt_moe.models.quantized.model import quantize
from nmt_moe.tasks.gnmt_translation import GNMTTranslationConfig, GNMTTranslationTask

BEAM = 4
Search = Callable[[], tuple[Tensor, Tensor | None]]
"""Translates a batch: the words of each sentence's best hypothesis, ``[B, L]``, the end or a word
in its place included, and the log probabilities of each or, ``[B]``, their mean."""


TOLERANCES = {"float32": 1e-4, "bfloat16": 0.1, "int8": 0.15}
"""Of log probabilities, by the type of the products."""


@dataclass
class Translator:
    """A model and how to search with it."""

    reference: Callable[[], nn.Module]
    """Makes what computes the same in float32."""
    prepare: Callable[[dict[str, Any], int], Search]
    """Of a batch and the number of words of each translation."""
    weights: int
    """Bytes."""
    dtype: str
    """Of the products."""
    without_end: bool = False
    """Its probabilities are among the words but the end, which a translation cannot have."""

    def __post_init__(self) -> None:
        with torch.device("meta"):
            model = self.reference()
        self.ops, self.of_source = products(model), source_products(model)

    def multiply_adds(self, length: int) -> int:
        """Of a sentence of ``length`` words and all hypotheses of a translation as long."""
        return length * (self.of_source + BEAM * (self.ops - self.of_source))


def random_model(kind: Callable[..., nn.Module], sizes: Options, vocabulary: int) -> nn.Module:
    """Always the same one, its gates away from their initial zeros, which prefer no expert."""
    torch.manual_seed(1)
    model = kind(sizes, vocabulary).eval()
    for parameter, value in model.named_parameters():
        if parameter.endswith("gate.w_gate"):
            nn.init.normal_(value, std=len(value) ** -0.5)
    return model


def transformer(sizes: Options, vocabulary: int) -> nn.Module:
    """fairseq's, of the base architecture; another ``dim`` than 512 makes it small."""
    words = dictionary(vocabulary)
    task = TranslationTask(TranslationConfig(), words, words)
    return build_model(transformer_options(sizes), task)


def transformer_options(sizes: Options) -> argparse.Namespace:
    """Those that a checkpoint of it would have."""
    args = argparse.Namespace(arch="transformer", task="translation", share_all_embeddings=True)
    if sizes["dim"] != 512:
        for side in ("encoder", "decoder"):
            setattr(args, f"{side}_layers", 2)
            setattr(args, f"{side}_embed_dim", sizes["dim"])
            setattr(args, f"{side}_ffn_embed_dim", 2 * sizes["dim"])
            setattr(args, f"{side}_attention_heads", 2)
    base_architecture(args)
    return args


def typed(model: nn.Module, args: argparse.Namespace) -> nn.Module:
    """On ``--device``, of ``--dtype``."""
    return model.to(args.device, getattr(torch, args.dtype))


def in_int8(model: nn.Module, args: argparse.Namespace) -> nn.Module:
    """With weights in int8, on a CPU."""
    return quantize(model)


def by_fairseq(
    kind: Callable[..., nn.Module],
    sizes: Options,
    vocabulary: int,
    args: argparse.Namespace,
    convert: Callable[[nn.Module, argparse.Namespace], nn.Module] = typed,
    dtype: str = "",
) -> Translator:
    """In fairseq's search.

    Args:
        convert: makes of the model, in float32, the one that searches.
        dtype: of its products, if that is not ``--dtype``.
    """
    reference = partial(random_model, kind, sizes, vocabulary)
    model = convert(reference(), args)
    words = dictionary(vocabulary)
    task = (
        GNMTTranslationTask(GNMTTranslationConfig(), words, words)
        if hasattr(model.decoder, "feed_forwards")
        else TranslationTask(TranslationConfig(), words, words)
    )

    def prepare(sample: dict[str, Any], length: int) -> Search:
        limits = SimpleNamespace(beam=BEAM, max_len_a=0, max_len_b=length - 1, min_len=length - 1)
        generator = task.build_generator([model], limits)

        def run() -> tuple[Tensor, Tensor]:
            found = [some[0] for some in task.inference_step(generator, [model], sample)]
            scores = torch.stack([best["positional_scores"] for best in found])
            return torch.stack([best["tokens"] for best in found]), scores

        return run

    weights = sum(x.numel() * x.element_size() for x in [*model.parameters(), *model.buffers()])
    return Translator(reference, prepare, weights, dtype or args.dtype)


def by_ctranslate2(
    compute: str, sizes: Options, vocabulary: int, args: argparse.Namespace
) -> Translator:
    """fairseq's transformer in CTranslate2, in ``float32`` or ``int8``."""
    import ctranslate2

    reference = partial(random_model, transformer, sizes, vocabulary)
    words = dictionary(vocabulary)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options = transformer_options(sizes)
        options.source_lang, options.target_lang = "x", "y"
        for language in ("x", "y"):
            words.save(str(folder / f"dict.{language}.txt"))
        torch.save({"args": options, "model": reference().state_dict()}, folder / "model.pt")
        converter = ctranslate2.converters.FairseqConverter(str(folder / "model.pt"), name)
        quantization = None if compute == "float32" else compute
        # It opens a file of plain tensors and, as fairseq's have it, a Namespace of options.
        with torch.serialization.safe_globals([argparse.Namespace]):
            converter.convert(str(folder / "made"), quantization=quantization)
        weights = (folder / "made" / "model.bin").stat().st_size
        translator = ctranslate2.Translator(
            str(folder / "made"),
            device=args.device,
            compute_type=compute,
            intra_threads=torch.get_num_threads(),
        )

    def prepare(sample: dict[str, Any], length: int) -> Search:
        # It adds the end of the source itself, and takes as long in place of that of the target.
        source = [[words[token] for token in row[:-1]] for row in sample["net_input"]["src_tokens"]]

        def run() -> tuple[Tensor, Tensor]:
            found = translator.translate_batch(
                source,
                beam_size=BEAM,
                min_decoding_length=length,
                max_decoding_length=length,
                return_scores=True,
            )
            tokens = [[words.index(word) for word in best.hypotheses[0]] for best in found]
            return torch.tensor(tokens), torch.tensor([best.scores[0] for best in found])

        return run

    return Translator(reference, prepare, weights, compute, without_end=True)


SEARCHES: dict[str, Callable[[Options, int, argparse.Namespace], Translator]] = {
    name: partial(by_fairseq, kind)
    for name, kind in CONTENDERS.items()
    if name != "joeynmt"  # has no step-by-step decoder here
}
SEARCHES["lstm_moe int8"] = partial(by_fairseq, ours, convert=in_int8, dtype="int8")
SEARCHES["fairseq transformer"] = partial(by_fairseq, transformer)
NOTES: list[str] = []
if importlib.util.find_spec("ctranslate2"):
    for compute in ("float32", "int8"):
        SEARCHES[f"ctranslate2 {compute}"] = partial(by_ctranslate2, compute)
else:
    NOTES.append("left out, not installed: ctranslate2 (pip install -e '.[bench]')")


@torch.no_grad()
def check(name: str, sizes: Options, vocabulary: int, args: argparse.Namespace) -> None:
    """Compare the log probabilities of what a search returns, in small, with those of the same
    model in float64, which reads the whole translation at once.

    Raises:
        SystemExit: they differ, or a translation is not as long as it has to be.
    """
    length, end = 6, dictionary(vocabulary).eos()
    made = SEARCHES[name](sizes, vocabulary, args)
    sample = to_device(batch(3, 5, vocabulary), args.device)
    tokens_BL, scores = made.prepare(sample, length)()
    if tokens_BL.shape[1] != length:
        raise SystemExit(f"error: the search with {name} does not write {length} words")
    model = made.reference().double().to(args.device)
    source_BS = sample["net_input"]["src_tokens"]
    before_BL = tokens_BL.roll(1, dims=1)
    before_BL[:, 0] = end
    lengths = sample["net_input"]["src_lengths"]
    logits_BLV = model(source_BS, lengths, before_BL)[0].double()
    if made.without_end:
        logits_BLV[:, :, end] = -torch.inf
    right = logits_BLV.log_softmax(2).gather(2, tokens_BL.unsqueeze(2)).squeeze(2)
    right = right.mean(1) if scores.dim() == 1 else right
    error = (scores - right).abs().max()
    if not error < TOLERANCES[made.dtype]:
        raise SystemExit(f"error: the search with {name} is wrong by {error:.1e}")


def to_device(sample: dict[str, Any], device: str) -> dict[str, Any]:
    """What a search reads of a batch."""
    return {"net_input": {name: x.to(device) for name, x in sample["net_input"].items()}}
