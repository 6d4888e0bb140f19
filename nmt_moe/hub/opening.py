"""``from_pretrained``: a folder becomes a model that is ready to translate."""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairseq.models import ARCH_MODEL_REGISTRY
from fairseq.utils import import_user_module

from nmt_moe.checkpoint.record import Checkpoint
from nmt_moe.common.errors import UserError, suggestion
from nmt_moe.hub.files import find_checkpoints
from nmt_moe.hub.interface import Hub, TranslationHub
from nmt_moe.hub.text import FOUND, build_tokenizer, find_bpe, names_of_options, wordpiece_file
from nmt_moe.trained.device import find_device
from nmt_moe.trained.loading import load


def from_pretrained(
    kind: type,
    model_name_or_path: str | Path,
    checkpoint_file: str,
    data_name_or_path: str | Path,
    *,
    source_lang: str | None = None,
    target_lang: str | None = None,
    sentencepiece_model: str | Path | None = None,
    bpe: str | None = FOUND,
    tokenizer: str | None = None,
    device: str = "cpu",
    user_dir: str | None = None,
    generation_args: Mapping[str, Any] | None = None,
    **options: Any,
) -> Hub:
    """Open a trained model of a class, as :mod:`nmt_moe.models.from_pretrained` says."""
    if user_dir is not None:
        import_user_module(Namespace(user_dir=user_dir))
    files = find_checkpoints(model_name_or_path, checkpoint_file)
    checkpoints = [*map(Checkpoint.complete, files)]
    for checkpoint in checkpoints:
        _check_kind(checkpoint, kind)
    trained = load(
        *checkpoints,
        source_lang=source_lang,
        target_lang=target_lang,
        sentencepiece_model=wordpiece_file(sentencepiece_model, files[0].parent),
        data=_data(data_name_or_path, files[0].parent),
        device=find_device(device),
    )
    hub = TranslationHub if trained.languages else Hub
    names = {
        "bpe": names_of_options("bpe", bpe),
        "tokenizer": names_of_options("tokenizer", tokenizer),
    }
    known = names["bpe"] | names["tokenizer"] | hub.search_options
    for name in options:
        if name not in known:
            raise UserError(
                f"from_pretrained has no option {name!r} here: {suggestion(name, sorted(known))}"
            )
    of_text = {
        part: {name: options.pop(name) for name in found & options.keys()}
        for part, found in names.items()
    }
    return hub(
        trained,
        find_bpe(bpe, of_text["bpe"], trained),
        build_tokenizer(tokenizer, of_text["tokenizer"], trained),
        options | dict(generation_args or {}),
    )


def _check_kind(checkpoint: Checkpoint, kind: type) -> None:
    arch = checkpoint.options("model").get("_name")
    found = ARCH_MODEL_REGISTRY.get(arch)
    if found is None or not issubclass(found, kind):
        there = f": use {found.__name__}.from_pretrained" if found else ""
        raise UserError(
            f"{checkpoint.path} has a model of --arch {arch}, which is no {kind.__name__}{there}"
        )


def _data(given: str | Path, folder: Path) -> Path | None:
    """A folder of dictionaries, which like fairseq's may begin at the folder of the model."""
    if str(given) == ".":
        return None
    data = folder / given if str(given).startswith(".") else Path(given)
    if not data.is_dir():
        raise UserError(f"there is no folder {data}")
    return data
