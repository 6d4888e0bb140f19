"""A model that is open in its process: answers batches, and counts what its experts see."""

import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from nmt_moe.common.errors import UserError
from nmt_moe.models.feed_forward import FeedForwards
from nmt_moe.trained import folder
from nmt_moe.trained.device import find_device
from nmt_moe.trained.loading import load
from nmt_moe.trained.model import TrainedModel
from nmt_moe.trained.translator import Translator


class Opened:
    """A model with a translator for each of its directions.

    Args:
        asked: ``path``, ``device``, ``int8``, ``threads``, ``beam`` and ``shortlist``.

    Raises:
        UserError: the model cannot be opened.
    """

    def __init__(self, asked: dict[str, Any]) -> None:
        torch.set_num_threads(asked["threads"])
        path = asked["path"]
        directions = _directions(path)
        device = find_device(asked["device"], asked["int8"] or folder.in_int8(path))
        model = load(path, device=device, int8=asked["int8"])
        if model.languages is None:
            raise UserError(f"{path} does not translate: it is a language model")
        self._models: dict[tuple[str, str], TrainedModel] = {}
        self._translators: dict[tuple[str, str], Translator] = {}
        for source, target in directions or [model.languages]:
            one = replace(model, target_lang=target) if directions else model
            self._models[source, target] = one
            self._translators[source, target] = one.translator(
                beam=asked["beam"], shortlist=asked["shortlist"]
            )
        self._wordpieces = model.sentencepiece_model or model.path.parent / folder.WORDPIECES
        self._load = Load(model)

    def about(self) -> dict[str, Any]:
        """What the server has to know of the model."""
        return {
            "wordpieces": str(self._wordpieces),
            "directions": [
                [source, target, one.max_pieces]
                for (source, target), one in self._translators.items()
            ],
        }

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """What became of a batch, and what its experts had to do."""
        between = asked["source"], asked["target"]
        translator, content = self._translators[between], asked["content"]
        found: Any
        if asked["kind"] == "explain":
            from nmt_moe.serve.explain import explain

            found = [explain(self._models[between], translator, one) for one in content]
        elif asked["kind"] == "aligned":
            found = [_packed(one) for one in translator.aligned(content)]
        else:
            parts, numbers = zip(*content, strict=True)
            best = translator.parts([*parts], max(numbers))
            found = [one[:number] for one, number in zip(best, numbers, strict=True)]
        return {"found": found, "load": dict(self._load.taken())}


def _directions(path: str) -> list[tuple[str, str]]:
    """Of a model's folder; of a checkpoint none is known."""
    about = Path(path, folder.ABOUT)
    return folder.read(path).directions if about.is_file() else []


def _packed(aligned: Any) -> dict[str, Any]:
    attention = aligned.attention
    return {
        "text": aligned.text,
        "source": aligned.source,
        "target": aligned.target,
        "shape": attention.shape,
        "attention": base64.b64encode(attention.astype("<f8").tobytes()).decode(),
    }


class Load:
    """Counts the tokens that each expert of a model sees."""

    def __init__(self, model: TrainedModel) -> None:
        self._counts: dict[str, torch.Tensor] = {}
        for module in model.model.modules():
            if isinstance(module, FeedForwards):
                for position, layer in module.items():
                    layer.register_forward_hook(self._counting(f"{module.stack}.{position}"))

    def _counting(self, name: str) -> Any:
        def count(module: Any, inputs: Any, output: Any) -> None:
            routing = output[1]
            if routing is not None:
                before = self._counts.get(name)
                counts_E = routing.counts_E
                self._counts[name] = counts_E if before is None else before + counts_E

        return count

    def taken(self) -> Iterator[tuple[str, list[int]]]:
        """Of each layer the tokens of each expert, since this was asked last."""
        for name, counts_E in self._counts.items():
            yield name, counts_E.tolist()
        self._counts.clear()
