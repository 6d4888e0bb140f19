"""BLEU of detokenised and tokenised text: known values, sacrebleu's own command, brute force."""

import json
import math
import re
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmt_moe.score.__main__ import main
from nmt_moe.score.bleu import Measure, measures, split_compounds
from tests.commands import run

# Translations and references, with what makes scores differ: hyphens, quotes, spaces, case.
GERMAN = [
    ("Der Rich-Text-Editor der US-Regierung kostet 1.250,50 Euro.",
     "Der Rich-Text-Editor der US-Behörde kostet 1.250,50 Euro."),
    ("„Das ist nicht wahr“, sagte Dr. Müller am 3. Mai.",
     "„Das stimmt nicht“, sagte Dr. Müller am 3. Mai."),
    ("Die Ein-Kind-Politik gilt z. B. in Berlin-Mitte nicht.",
     "Die Ein-Kind-Politik gilt z. B. nicht in Berlin-Mitte."),
    ("was meinst du, wann's losgeht?", "Was glaubst du, wann's los geht?"),
    ("Er fuhr mit dem ICE ... und kam zu spät!", "Er fuhr mit dem ICE … und er kam zu spät!"),
    ("AT&T und C&A öffnen (wieder) um 10:30 Uhr.", "AT&T und C&A öffnen um 10:30 Uhr wieder."),
    ("Ärger über die E-Mail-Flut", "Ärger über die Flut der E-Mails"),
    ("", "Kein Kommentar."),
]  # fmt: skip
FRENCH = [
    ("Qu’est-ce que c’est ? demanda-t-il.", "Qu'est-ce que c'est\u00a0? demanda-t-il."),
    ("« C'est l'été », dit-elle aujourd'hui.",
     "«\u00a0C'est l'été\u00a0», a-t-elle dit aujourd'hui."),
    ("Le taux est de 12,5 % en 2013 ; il était de 11 % avant.",
     "Le taux est de 12,5\u202f% en 2013\u00a0; il était de 11\u202f% avant."),
    ("M. Dupont n'a que 1 500 euros !", "M. Dupont n'a que 1\u202f500 euros\u00a0!"),
    ("il y a là-bas plus d'arcs-en-ciel qu'ici.", "Il y a plus d'arcs-en-ciel là-bas qu'ici."),
    ("L'Union européenne (UE) et l'O.N.U. se taisent...",
     "L'Union européenne (UE) et l'ONU se sont tues…"),
]  # fmt: skip
TEXTS = {"de": GERMAN, "fr": FRENCH}

# Printed by Moses' own scripts, for each text:
#   tokenizer.perl -l LANG <hyp >hyp.tok; tokenizer.perl -l LANG <ref >ref.tok
#   multi-bleu.perl [-lc] ref.tok <hyp.tok
# and, split: with perl -ple 's{(\S)-(\S)}{$1 ##AT##-##AT## $2}g' of both sides in between;
# normalised: with normalize-punctuation.perl -l LANG of both sides before.
MOSES = {
    "de": "BLEU = 56.29, 86.1/66.2/53.4/41.2 (BP=0.946, ratio=0.947, hyp_len=72, ref_len=76)",
    "de lower-cased": "BLEU = 56.51, 87.5/66.2/53.4/41.2 "
    "(BP=0.946, ratio=0.947, hyp_len=72, ref_len=76)",
    "de split": "BLEU = 62.57, 87.5/69.1/58.1/47.8 (BP=0.978, ratio=0.978, hyp_len=88, ref_len=90)",
    "de normalised": "BLEU = 59.40, 87.5/69.2/56.9/45.1 "
    "(BP=0.946, ratio=0.947, hyp_len=72, ref_len=76)",
    "fr": "BLEU = 70.86, 86.8/75.8/66.1/58.0 (BP=1.000, ratio=1.000, hyp_len=68, ref_len=68)",
    "fr lower-cased": "BLEU = 72.01, 88.2/77.4/67.9/58.0 "
    "(BP=1.000, ratio=1.000, hyp_len=68, ref_len=68)",
    "fr normalised": "BLEU = 77.57, 93.9/83.3/75.9/68.8 "
    "(BP=0.970, ratio=0.971, hyp_len=66, ref_len=68)",
}


@pytest.fixture
def sides(tmp_path: Path):
    """Writes the two sides of a fixed text, hypotheses and reference."""

    def write(language: str) -> list[Path]:
        paths = [tmp_path / f"{side}.{language}" for side in ("hyp", "ref")]
        for path, lines in zip(paths, zip(*TEXTS[language], strict=True), strict=True):
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return paths

    return write


def figures(tmp_path: Path, sides: list[Path], language: str, *options: object) -> dict:
    """What the command writes as JSON."""
    out = tmp_path / "scores.json"
    arguments = [*sides, "--target-lang", language, "--json", out, *options]
    assert main([str(argument) for argument in arguments]) == 0
    return json.loads(out.read_text(encoding="utf-8"))


def numbers(text: str) -> list[float]:
    """Of multi-bleu.perl's line, or of sacrebleu's."""
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", text)]


@pytest.mark.parametrize(
    ("known", "text", "options"),
    [
        ("", "tokenised", []),
        (" lower-cased", "tokenised", ["--lowercase"]),
        (" split", "tokenised, compounds split", []),
        (" normalised", "tokenised", ["--normalise"]),
    ],
)
@pytest.mark.parametrize("language", ["de", "fr"])
def test_tokenised_scores_are_those_of_moses_scripts(
    language, known, text, options, sides, tmp_path
):
    found = figures(tmp_path, sides(language), language, *options)["scores"]
    scores = {score["text"]: score for score in found if score["name"] == "BLEU"}
    if language == "fr" and known == " split":
        assert text not in scores
        return
    printed = numbers(MOSES[language + known])
    assert f"{scores[text]['score']:.2f}" == f"{printed[0]:.2f}"
    assert numbers(scores[text]["details"]) == printed[1:]
    assert "tok:none|smooth:none" in scores[text]["signature"]


@pytest.mark.parametrize("options", [[], ["--lowercase"]])
@pytest.mark.parametrize("language", ["de", "fr"])
def test_detokenised_scores_are_those_of_sacrebleus_command(language, options, sides, tmp_path):
    hypotheses, reference = sides(language)
    command = [reference, "-i", hypotheses, "-m", "bleu", "chrf", "-w", 10]
    case = ["-lc", "--chrf-lowercase"] if options else []
    theirs = json.loads(run("sacrebleu", *command, *case).stdout)
    ours = figures(tmp_path, [hypotheses, reference], language, *options)["scores"][:2]
    for own, other in zip(ours, theirs, strict=True):
        assert own["text"] == "detokenised"
        assert own["name"] == other["name"] and own["signature"] == other["signature"]
        assert own["score"] == pytest.approx(other["score"], abs=1e-9)


# multi-bleu.perl again, from its description alone.


def multi_bleu(hypotheses: list[list[str]], references: list[list[str]]) -> float:
    right, all_of_them = [0] * 4, [0] * 4
    for hypothesis, reference in zip(hypotheses, references, strict=True):
        for n in range(4):
            grams = [
                Counter(tuple(line[start : start + n + 1]) for start in range(len(line) - n))
                for line in (hypothesis, reference)
            ]
            right[n] += sum((grams[0] & grams[1]).values())
            all_of_them[n] += sum(grams[0].values())
    if 0 in right:
        return 0.0
    own, other = (sum(map(len, side)) for side in (hypotheses, references))
    brevity = min(1.0, math.exp(1 - other / own))
    precisions = [ok / total for ok, total in zip(right, all_of_them, strict=True)]
    return 100 * brevity * math.prod(precisions) ** 0.25


SENTENCE = st.lists(st.sampled_from(["a", "b", "B", "c-d"]), max_size=9)


def measure(text: str) -> Measure:
    return next(one for one in measures("de") if one.text == text)


@settings(max_examples=100)
@given(st.lists(st.tuples(SENTENCE, SENTENCE), min_size=1, max_size=4))
def test_tokenised_bleu_is_the_formula(pairs):
    sides = [[" ".join(line) for line in side] for side in zip(*pairs, strict=True)]
    for text, words in (
        ("tokenised", str.split),
        ("tokenised, compounds split", lambda line: line.replace("-", " - ").split()),
    ):
        expected = multi_bleu(*([words(line) for line in side] for side in sides))
        assert measure(text).score(*sides).score == pytest.approx(expected, abs=1e-6)


def test_no_smoothing_where_papers_had_none():
    """multi-bleu.perl prints 0.00, 60.0/25.0/0.0/0.0 for this pair."""
    sides = ["the cat sat on the"], ["the dog sat on a"]
    assert measure("tokenised").score(*sides).score == 0
    assert measure("detokenised").score(*sides).score > 0


def test_compounds_are_split_as_perl_does():
    # perl -ple 's{(\S)-(\S)}{$1 ##AT##-##AT## $2}g'
    known = {
        "rich-text format": "rich ##AT##-##AT## text format",
        "a-b-c": "a ##AT##-##AT## b-c",
        "ab-cd-ef": "ab ##AT##-##AT## cd ##AT##-##AT## ef",
        "- a- -b a -- b": "- a- -b a -- b",
        "---": "- ##AT##-##AT## -",
    }
    assert {text: split_compounds(text) for text in known} == known


def test_french_spaces_change_no_score():
    """U+00A0 and U+202F before ``?`` and within quotes, or plain spaces, or none before ``?``."""
    reference = ["Vraiment\u00a0? «\u00a0Oui\u00a0», dit-il\u202f! C'est vrai."]
    plain = ["Vraiment ? « Oui », dit-il ! C'est vrai."]
    close = ["Vraiment? « Oui », dit-il! C'est vrai."]
    for one in measures("fr"):
        assert one.score(plain, reference).score == pytest.approx(100)
        assert one.score(close, reference).score == pytest.approx(100)


# Significance


@pytest.fixture
def systems(tmp_path: Path) -> dict[str, Path]:
    """Forty sentences: a reference, and two systems, the second of which is often wrong."""
    lines = [f"Der Hund {number} läuft heute durch den Park {number}." for number in range(40)]
    texts = {
        "ref": lines,
        "good": [line.replace("durch", "in") if number % 5 == 0 else line
                 for number, line in enumerate(lines)],
        "bad": [line.replace("läuft heute", "geht") if number % 3 else line
                for number, line in enumerate(lines)],
    }  # fmt: skip
    for name, text in texts.items():
        (tmp_path / name).write_text("\n".join(text) + "\n", encoding="utf-8")
    return {name: tmp_path / name for name in texts}


def test_the_bootstrap_is_that_of_sacrebleus_command(systems, tmp_path):
    good, bad, ref = systems["good"], systems["bad"], systems["ref"]
    command = [ref, "-i", bad, good, "-m", "bleu", "-w", 6, "-f", "json"]
    printed = run("sacrebleu", *command, "--paired-bs", "--paired-bs-n", 200).stdout
    theirs = json.loads(printed[printed.index("[") :])
    options = ["--against", bad, "--resamples", 200]
    found = figures(tmp_path, [good, ref], "de", *options)["comparison"]
    assert found["resamples"] == 200 and found["against"] == str(bad)
    assert [score["text"] for score in found["scores"]][1:] == [
        *("detokenised", "tokenised", "tokenised, compounds split")
    ]
    other, own = (system["BLEU"] for system in theirs)
    ours = found["scores"][0]
    assert ours["p_value"] == pytest.approx(own["p_value"], abs=1e-6)
    for figure, interval, there in (
        ("score", "interval", own),
        ("against", "against_interval", other),
    ):
        assert ours[figure] == pytest.approx(there["score"], abs=1e-5)
        expected = [there["mean"] - there["ci"], there["mean"] + there["ci"]]
        assert ours[interval] == pytest.approx(expected, abs=1e-4)
    assert found["scores"][0]["p_value"] < 0.05


def test_equal_translations_do_not_differ(systems, tmp_path):
    found = figures(tmp_path, [systems["good"], systems["ref"]], "de", "--against", systems["good"])
    assert [score["p_value"] for score in found["comparison"]["scores"]] == [1.0] * 4


# The command


def test_each_figure_is_named(sides, systems, tmp_path, capsys):
    arguments = [*sides("de"), "--target-lang", "de", "--title", "newstest2014-full"]
    assert main([*map(str, arguments)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "newstest2014-full, 8 sentences"
    assert re.fullmatch(r"BLEU, detokenised: 5\d\.\d\d   nrefs:1\|case:mixed\|.*", lines[1])
    assert lines[2].startswith("chrF2, detokenised: 7")
    assert lines[3].startswith("BLEU, tokenised: 56.29   nrefs:1|case:mixed|eff:no|tok:none|")
    assert lines[4].startswith("BLEU, tokenised, compounds split: 62.57   nrefs:1|")
    assert any(re.search(r"^tokenised: sacremoses \S+ -l de tokenize;", line) for line in lines)

    arguments = [systems["good"], systems["ref"], "--target-lang", "de"]
    against = ["--against", systems["bad"], "--resamples", 50]
    assert main([*map(str, [*arguments, *against])]) == 0
    printed = capsys.readouterr().out
    assert f"against {systems['bad']}, paired bootstrap with 50 resamples" in printed
    assert re.search(r"BLEU, detokenised: [+-]\d+\.\d\d, p = 0\.\d{4}; \d", printed)


def refused(capsys, *arguments: object) -> str:
    assert main([*map(str, arguments), "--target-lang", "de"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    return line


def test_files_that_do_not_belong_together(tmp_path, capsys, sides):
    hypotheses, reference = sides("de")
    short, empty = tmp_path / "short", tmp_path / "empty"
    short.write_text("one\rline\n")  # a carriage return ends no line
    empty.write_text("")
    assert f"{short} has 1 lines but {reference} has 8" in refused(capsys, short, reference)
    text = refused(capsys, hypotheses, reference, "--against", short)
    assert f"{short} has 1 lines but {reference} has 8" in text
    assert f"{empty} is empty" in refused(capsys, hypotheses, empty)
    assert "missing: cannot be read" in refused(capsys, tmp_path / "missing", reference)
    assert "--resamples must be" in refused(capsys, hypotheses, reference, "--resamples", 0)
    short.write_bytes(b"fine\n\xff\n")
    assert f"{short}, line 2: not valid UTF-8" in refused(capsys, short, reference)


def test_languages_without_spaces_have_a_tokenizer_of_their_own():
    for language, name in (("zh", "zh"), ("ja", "char"), ("de", "13a")):
        score = next(measures(language)).score(["a b c d e"], ["a b c d e"])
        assert f"tok:{name}" in score.signature


def test_a_language_is_the_same_however_its_code_is_written(tmp_path, sides, capsys):
    chinese = [tmp_path / "hyp", tmp_path / "ref"]
    chinese[0].write_text("我今天去了北京。\n他们很喜欢这个城市。\n", encoding="utf-8")
    chinese[1].write_text("我今天去北京了。\n他们非常喜欢这个城市。\n", encoding="utf-8")
    for texts, codes in (
        (chinese, ["zh", "zh_CN", "zho_Hans", "zh-TW", "cmn"]),
        (sides("fr"), ["fr", "fr_FR", "fra", "FR", "fr-CA.UTF-8"]),
        (sides("de"), ["de", "ger", "de_AT"]),
    ):
        first, *others = (figures(tmp_path, texts, code)["scores"] for code in codes)
        assert first[0]["score"] > 40 and all(other == first for other in others)
        # Where there are no spaces Moses has no tokens.
        tokenised = [score for score in first if score["text"].startswith("tokenised")]
        assert len(tokenised) == {"zh": 0, "fr": 1, "de": 2}[codes[0]]
    capsys.readouterr()
    assert main([*map(str, chinese), "--target-lang", "jp"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line == "error: there is no language 'jp': did you mean ja (Japanese)?"


def test_words_that_are_only_written_otherwise_are_said(tmp_path, capsys):
    lines = ["L'été à Nice est beau.", "Ok, rien.", "Il a payé 20 euros, dit-elle."]
    hypotheses = tmp_path / "hyp"
    hypotheses.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def scored(*reference: str) -> tuple[float, str]:
        path = tmp_path / "ref"
        path.write_text("\n".join(reference) + "\n", encoding="utf-8")
        found = figures(tmp_path, [hypotheses, path], "fr")["scores"][0]["score"]
        return found, capsys.readouterr().err

    assert scored(*lines) == (pytest.approx(100), "")
    assert scored("\ufeff" + lines[0], *lines[1:]) == (pytest.approx(100), "")
    score, said = scored(*(unicodedata.normalize("NFD", line) for line in lines))
    assert score < 80 and said == (
        f"warning: the same words of {hypotheses} and {tmp_path / 'ref'} are written in composed "
        "or other characters (make both NFC) in 2 of 3 lines: they count as different words\n"
    )
    _, said = scored(lines[0].replace("'", "’"), "Ok\u200b, rien", lines[2].replace("20", "２０"))
    for what in ("straight or curly quotes", "full-width or ASCII", "invisible characters"):
        assert re.search(rf"{what}.* in 1 of 3 lines", said)
    assert said.count("\n") == 1
    # What differs otherwise is the translation's fault.
    assert scored("L'ete à Nice.", "Oui.", "Elle a payé “20” euros.")[1] == ""
