"""``from_pretrained`` of the models."""

import importlib
from pathlib import Path
from typing import Any

from fairseq.hub_utils import GeneratorHubInterface


class FromPretrained:
    """A model that can be opened with all that belongs to it."""

    @classmethod
    def from_pretrained(
        cls,
        model_name_or_path: str | Path,
        checkpoint_file: str = "model.pt",
        data_name_or_path: str | Path = ".",
        **kwargs: Any,
    ) -> GeneratorHubInterface:
        """Open a trained model, to translate or to write with it.

        Args:
            model_name_or_path: the folder of a training (its ``--save-dir``), or a checkpoint.
            checkpoint_file: of the folder; several have colons between them (an ensemble). Without
                a ``model.pt`` there the default is ``checkpoint_best.pt``, else
                ``checkpoint_last.pt``, else the only one.
            data_name_or_path: a folder with dictionaries, where they are neither beside the
                checkpoint nor where the training had them.
            kwargs: ``source_lang``, ``target_lang``, ``sentencepiece_model`` and ``device`` as for
                :func:`nmt_moe.load`; ``bpe`` and ``tokenizer`` of fairseq with their options,
                ``bpe=None`` for text that is cut into pieces already; and defaults of the search,
                such as ``beam``.

        Returns:
            :class:`nmt_moe.hub.interface.Hub`, which is fairseq's hub interface.

        Raises:
            UserError: a file is missing, belongs to another model, or an option does not exist.
        """
        # By name: the room of the interface is above this one, and uses it.
        hub = importlib.import_module("nmt_moe.hub.opening")
        return hub.from_pretrained(
            cls, model_name_or_path, checkpoint_file, data_name_or_path, **kwargs
        )
