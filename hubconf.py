"""Entry points of torch.hub. No model is hosted: each takes the folder of a model of your own.

``torch.hub.load("path/to/this/clone", "lstm_moe", "data/mine/checkpoints", source="local")``
"""

from typing import Any

dependencies = ["torch", "fairseq", "sentencepiece"]


def lstm_moe(folder: str, **kwargs: Any) -> Any:
    """A translation model: :meth:`nmt_moe.LSTMMoEModel.from_pretrained` of a folder."""
    from nmt_moe import LSTMMoEModel

    return LSTMMoEModel.from_pretrained(folder, **kwargs)


def lstm_moe_lm(folder: str, **kwargs: Any) -> Any:
    """A language model: :meth:`nmt_moe.LSTMMoELanguageModel.from_pretrained` of a folder."""
    from nmt_moe import LSTMMoELanguageModel

    return LSTMMoELanguageModel.from_pretrained(folder, **kwargs)
