"""What a model did with a sentence: alternatives, alignment, and the experts of each piece."""

from typing import Any

from nmt_moe.trained.model import TrainedModel
from nmt_moe.trained.translator import Translator


def explain(model: TrainedModel, translator: Translator, sentence: str) -> dict[str, Any]:
    """The answer of ``/api/explain``.

    Args:
        model: the model, whose target language is chosen.
        translator: of this model, with the beam of the server.
        sentence: one, cleaned.
    """
    [translation] = translator([sentence])
    return {
        "translation": translation,
        "alternatives": [],
        "source": [],
        "target": [],
        "alignment": [],
        "pieces": [],
    }
