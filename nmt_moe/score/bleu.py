"""BLEU and chrF by sacrebleu, each with all that a figure needs to be compared with another one."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import sacremoses
from sacrebleu.metrics import BLEU, CHRF
from sacrebleu.significance import PairedTest

from nmt_moe.common.languages import Language, find, language

Prepare = Callable[[str], str]


@dataclass(frozen=True)
class Measure:
    """A figure that texts can get, and how."""

    text: str
    """What becomes of hypotheses and references: ``detokenised``, ``tokenised``, ..."""
    how: str
    """The same for people who want to do it again."""
    prepare: Prepare
    metric: Any

    def score(self, hypotheses: Sequence[str], references: Sequence[str]) -> "Score":
        """The figure of a corpus."""
        sides = [self._prepared(side) for side in (hypotheses, references)]
        found = self.metric.corpus_score(sides[0], [sides[1]])
        signature = str(self.metric.get_signature())
        # sacrebleu's own line, without what is said here apart from it.
        details = found.format(signature="", width=2).partition(" = ")[2].partition(" ")[2]
        return Score(found.name, self.text, self.how, found.score, signature, details)

    def compare(
        self,
        hypotheses: Sequence[str],
        against: Sequence[str],
        references: Sequence[str],
        resamples: int,
    ) -> "Comparison":
        """sacrebleu's paired bootstrap, the same as of ``sacrebleu --paired-bs``."""
        baseline, system = self._prepared(against), self._prepared(hypotheses)
        test = PairedTest(
            [("against", baseline), ("here", system)],
            {"": self.metric},
            [self._prepared(references)],
            test_type="bs",
            n_samples=resamples,
        )
        signatures, results = test()
        [(name, signature)] = signatures.items()
        other, own = cast(list[Any], results[name])
        # sacrebleu calls equal texts significantly different: no resample differs more than they.
        p_value = 1.0 if baseline == system else own.p_value
        return Comparison(
            name, self.text, own.score, _interval(own), other.score, _interval(other),
            p_value, str(signature),
        )  # fmt: skip

    def _prepared(self, lines: Sequence[str]) -> list[str]:
        return [self.prepare(line) for line in lines]


@dataclass(frozen=True)
class Score:
    """A figure of a corpus."""

    name: str
    text: str
    how: str
    score: float
    signature: str
    details: str


@dataclass(frozen=True)
class Comparison:
    """Two systems on one test set; the intervals hold the figure in 95% of the resamples."""

    name: str
    text: str
    score: float
    interval: tuple[float, float]
    against: float
    against_interval: tuple[float, float]
    p_value: float
    signature: str


def _interval(result: Any) -> tuple[float, float]:
    return float(result.mean - result.ci), float(result.mean + result.ci)


def tokenizer(code: str) -> str:
    """The name of sacrebleu's: languages without spaces need another, or few n-grams are right.

    Japanese, Thai and others are scored by characters, as other tokenizers need other programs.
    """
    known = find(code)
    if known is None or known.spaced:
        return "13a"
    return "zh" if known.script in ("Hans", "Hant", "Hani") else "char"


def measures(code: str, lowercase: bool = False, normalise: bool = False) -> Iterator[Measure]:
    """All figures for a target language.

    Without spaces between words there are no tokens as in Moses.

    Args:
        code: of the language: of Moses' rules for tokens; German gets a figure of its own besides.
        lowercase: lower-case both sides.
        normalise: of tokenised text, first put Moses' plain punctuation in the place of
            typographic quotes, dashes and the like, on both sides.

    Raises:
        UserError: no language has this code.
    """
    target = language(code)
    plain = "as it is; tokens by sacrebleu"
    bleu = BLEU(lowercase=lowercase, tokenize=tokenizer(code))
    yield Measure("detokenised", plain, str, bleu)
    yield Measure("detokenised", plain, str, CHRF(lowercase=lowercase))
    if not target.spaced:
        return
    prepare, how = _tokeniser(target, normalise)
    # No smoothing: multi-bleu.perl gives 0 where no n-gram of some order is right.
    moses = BLEU(lowercase=lowercase, tokenize="none", smooth_method="none", force=True)
    yield Measure("tokenised", f"{how}; BLEU as multi-bleu.perl", prepare, moses)
    if target.code == "de":
        how += "; a-b split to a ##AT##-##AT## b; BLEU as multi-bleu.perl"
        yield Measure(
            "tokenised, compounds split", how, lambda line: split_compounds(prepare(line)), moses
        )


def _tokeniser(target: Language, normalise: bool) -> tuple[Prepare, str]:
    """Moses' tokeniser as sacremoses has it, without splitting of dashes, and what it is."""
    tokenise = sacremoses.MosesTokenizer(lang=target.code).tokenize
    version = f"sacremoses {sacremoses.__version__} -l {target.code}"
    if not normalise:
        return lambda line: tokenise(line, return_str=True), f"{version} tokenize"
    plain = sacremoses.MosesPunctNormalizer(lang=target.code).normalize
    return lambda line: tokenise(plain(line), return_str=True), f"{version} normalize tokenize"


def split_compounds(tokens: str) -> str:
    """Words with a hyphen as three tokens, as the papers on WMT'14 En-De score them.

    The same as ``perl -ple 's{(\\S)-(\\S)}{$1 ##AT##-##AT## $2}g'`` of their scripts.
    """
    return re.sub(r"(\S)-(\S)", r"\1 ##AT##-##AT## \2", tokens)
