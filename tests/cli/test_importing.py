"""``nmt-moe corpus import``, as it is typed."""

import json
from pathlib import Path

from nmt_moe.cli.main import main


def test_import(tmp_path: Path, capsys) -> None:
    pairs = [(f"this is {n}", f"das ist Nummer {n}") for n in range(400)]
    table = tmp_path / "a.tsv"
    table.write_text("".join(f"{n}\t{t}\t{s}\n" for n, (s, t) in enumerate(pairs)))
    lines = tmp_path / "b.jsonl"
    lines.write_text("".join(json.dumps({"en": s, "de": t}) + "\n" for s, t in pairs[:50]))
    given = tmp_path / "t.csv"
    given.write_text("en,de\nThis is 7!,Das war es.\n")
    out = tmp_path / "out"
    command = ["corpus", "import", "--source", "en", "--target", "de", "--out", str(out)]
    typed = [*command, str(table), str(lines), "--test", str(given), "--columns", "3", "2"]
    assert main(typed) == 0, capsys.readouterr().err
    said = capsys.readouterr()
    assert "| t.csv   |" in said.out and "| a.tsv   |   400 |     0 |" in said.out
    assert (out / "test.en").read_text() == "This is 7!\n"
    text = {name: (out / name).read_text().splitlines() for name in ("train.en", "valid.en")}
    assert "this is 7" not in text["train.en"] + text["valid.en"]
    assert len({*text["train.en"], *text["valid.en"]}) == 399 and text["valid.en"]

    assert main([*typed, "--upsample", "b.jsonl=2", "a.tsv=1"]) == 0
    more = (out / "train.en").read_text().splitlines()
    assert len(more) == len(text["train.en"]) + 50 - sum(
        sentence in text["valid.en"] or sentence == "this is 7" for sentence, _ in pairs[:50]
    )


def test_what_looks_wrong_is_said_with_its_file(tmp_path: Path, capsys) -> None:
    for language, lines in (("zh", ["the cat is here"] * 4), ("en", ["我们喜欢在家里看书"] * 4)):
        (tmp_path / f"a.{language}").write_text("".join(f"{n} {x}\n" for n, x in enumerate(lines)))
    files = [str(tmp_path / f"a.{language}") for language in ("zh", "en")]
    out = str(tmp_path / "out")
    assert main(["corpus", "import", "--source=zh", "--target=en", *files, "--out", out]) == 1
    warning, error = capsys.readouterr().err.splitlines()
    assert warning.startswith("warning: a: all lines: source and target look swapped")
    assert error.startswith("error: a: 4 pairs are too few to choose a valid set from: give more")
