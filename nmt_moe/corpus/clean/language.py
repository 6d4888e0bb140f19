"""Language identification by py3langid (optional; its model is included)."""

from collections.abc import Callable, Sequence
from typing import Any

from nmt_moe.common.errors import UserError
from nmt_moe.common.languages import language

_CHARACTERS = 20  # of a side that is judged: names and short sentences look like many languages
_SURE = 0.9  # probability of another language that is enough


def identifier() -> Any:
    """py3langid's classifier, with probabilities.

    Raises:
        UserError: it is not installed.
    """
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        raise UserError(
            "--language-id needs py3langid: install it with pip install 'nmt-moe[langid]'"
        ) from None
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def foreign(languages: Sequence[str]) -> Callable[[str, str], bool]:
    """A function that tells whether a side of a pair is in the wrong language.

    Args:
        languages: codes of the two sides.

    Raises:
        UserError: py3langid is not installed, or does not know a language.
    """
    classifier = identifier()
    labels = [language(code).codes for code in languages]
    for code, known in zip(languages, labels, strict=True):
        if not set(known) & set(classifier.labels):
            raise UserError(f"--language-id does not know the language '{code}'")

    def is_foreign(*sides: str) -> bool:
        for side, own in zip(sides, labels, strict=True):
            if len(side) >= _CHARACTERS:
                found, probability = classifier.classify(side)
                if found not in own and probability >= _SURE:
                    return True
        return False

    return is_foreign
