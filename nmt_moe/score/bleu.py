"""BLEU and chrF by sacrebleu, each with what is needed to compare it with other figures."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import sacremoses
from sacrebleu.metrics import BLEU, CHRF
from sacrebleu.significance import PairedTest

from nmt_moe.common import moses
from nmt_moe.common.languages import Language, find, language

Prepare = Callable[[str], str]


@dataclass(frozen=True)
class Measure:
    """A metric and the preparation of the text before it."""

    text: str
    """What becomes of hypotheses and references: ``detokenised``, ``tokenised``, ..."""
    how: str
    """The same for people who want to do it again."""
    prepare: Prepare
    metric: Any

    def score(self, hypotheses: Sequence[str], references: Sequence[str]) -> "Score":
        """The score of a corpus."""
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
        """sacrebleu's paired bootstrap, as in ``sacrebleu --paired-bs``."""
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
    """The score of a corpus."""

    name: str
    text: str
    how: str
    score: float
    signature: str
    details: str


@dataclass(frozen=True)
class Comparison:
    """The comparison of two systems on one test set, with 95% intervals of a bootstrap."""

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
    """The name of sacrebleu's tokenizer for a language.

    Languages without spaces need their own, otherwise few n-grams match. Japanese, Thai and others
    are scored by characters, as their tokenizers need other programs.
    """
    known = find(code)
    if known is None or known.spaced:
        return "13a"
    return "zh" if known.script in ("Hans", "Hant", "Hani") else "char"


def plain_metrics(code: str, lowercase: bool = False) -> list[Any]:
    """BLEU and chrF of text as it is."""
    return [BLEU(lowercase=lowercase, tokenize=tokenizer(code)), CHRF(lowercase=lowercase)]


def measures(code: str, lowercase: bool = False, normalise: bool = False) -> Iterator[Measure]:
    """All metrics for a target language.

    Languages without spaces between words have no figures of text that is tokenised as by Moses.

    Args:
        code: of the language, for Moses' tokenizer; German has one more metric.
        lowercase: lower-case both sides.
        normalise: before text is tokenised, replace typographic quotes, dashes and the like by
            Moses' plain punctuation, on both sides.

    Raises:
        UserError: no language has this code.
    """
    target = language(code)
    for metric in plain_metrics(code, lowercase):
        yield Measure("detokenised", "as it is; tokens by sacrebleu", str, metric)
    if not target.spaced:
        return
    prepare, how = _tokeniser(target, normalise)
    # No smoothing: multi-bleu.perl gives 0 where no n-gram of some order is right.
    multi_bleu = BLEU(lowercase=lowercase, tokenize="none", smooth_method="none", force=True)
    yield Measure("tokenised", f"{how}; BLEU as multi-bleu.perl", prepare, multi_bleu)
    if target.code == "de":
        how += "; a-b split to a ##AT##-##AT## b; BLEU as multi-bleu.perl"
        yield Measure(
            "tokenised, compounds split",
            how,
            lambda line: split_compounds(prepare(line)),
            multi_bleu,
        )


def _tokeniser(target: Language, normalise: bool) -> tuple[Prepare, str]:
    """Moses' tokenizer, and its description."""
    how = f"sacremoses {sacremoses.__version__} -l {target.code} {'normalize ' * normalise}tokenize"
    return moses.tokeniser(target.code, normalise), how


def split_compounds(tokens: str) -> str:
    r"""Split words with a hyphen into three tokens, as the papers on WMT'14 En-De do for scoring.

    The same as ``perl -ple 's{(\S)-(\S)}{$1 ##AT##-##AT## $2}g'`` of their scripts.
    """
    return re.sub(r"(\S)-(\S)", r"\1 ##AT##-##AT## \2", tokens)
