"""Moses' tokens, by sacremoses."""

from collections.abc import Callable


def tokeniser(code: str, normalise: bool) -> Callable[[str], str]:
    """A line as Moses' tokenizer has it, tokens with a space between them; dashes are not split.

    Args:
        code: of the language.
        normalise: first replace typographic quotes, dashes and the like by plain punctuation.
    """
    import sacremoses  # takes half a second, and a --help should not

    tokenise = sacremoses.MosesTokenizer(lang=code).tokenize
    if not normalise:
        return lambda line: tokenise(line, return_str=True)
    plain = sacremoses.MosesPunctNormalizer(lang=code).normalize
    return lambda line: tokenise(plain(line), return_str=True)
