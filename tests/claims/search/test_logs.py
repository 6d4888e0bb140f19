"""What the logs of a training say of it, whole or half-written."""

import json
import time
from pathlib import Path

import pytest

from nmt_moe.fairseq_fixes.first_part import VARIABLE
from nmt_moe.runs import commands
from nmt_moe.runs.claims.search.space import parse
from nmt_moe.runs.claims.search.training import STOP_AFTER, Training

DATE = "2026-01-01 10:00:{:02d} | INFO | "


def mark(kind: str, second: int, **more: object) -> str:
    start = time.mktime(time.strptime("2026-01-01 10:00:00", "%Y-%m-%d %H:%M:%S"))
    return f"claims search {kind} {json.dumps({'time': start + second, **more})}\n"


def valid(updates: int, perplexity: object, second: int = 1) -> str:
    figures = {"loss": "3.1", "ppl": str(perplexity), "num_updates": str(updates)}
    line = json.dumps({"epoch": 1} | {f"valid_{name}": text for name, text in figures.items()})
    return f"{DATE.format(second)}valid | {line}\n"


def training(folder: Path, *texts: str, rung: int = 0, **content: object) -> Training:
    """With one log for each of the texts; of the last rung."""
    plain = {"data": "bin", "updates": [10, 20], "eta": 2, **content}
    space = parse(plain)
    found = Training(space, space.settings[1], 7, rung or len(texts), folder)
    found.folder.mkdir(parents=True)
    for number, text in enumerate(texts, 1):
        found.log(number).write_text(text)
    return found


def test_the_best_validation_so_far_counts(tmp_path: Path) -> None:
    first = mark("begins", 0) + valid(5, 9) + valid(10, 8) + mark("ends", 3)
    second = mark("begins", 9) + valid(15, 8.5, 10) + valid(20, 8.25, 20) + mark("ends", 21.5)
    result = training(tmp_path, first, second).result()
    assert result and not result.error
    assert (result.updates, result.best_update, result.figures["ppl"]) == (20, 10, 8.0)
    assert result.seconds == 12.5
    anew = training(tmp_path / "anew", first, second, anew=True).result()
    assert anew and (anew.best_update, anew.figures["ppl"]) == (20, 8.25)


def test_tries_that_were_killed_or_stopped(tmp_path: Path) -> None:
    """Of an update made twice the second one counts, and so do the seconds of both."""
    killed = mark("begins", 0) + valid(5, 9, 3) + valid(8, 7.5, 4)
    killed += valid(9, 2, 5)[:-30]  # the line was being written
    assert training(tmp_path / "1", killed).result() is None
    again = f"{killed}\n" + mark("begins", 10) + valid(8, 7.75, 12) + valid(10, 8, 13)
    stopped = again + mark("stops", 14)
    assert training(tmp_path / "2", stopped).result() is None
    result = training(tmp_path / "3", stopped + mark("begins", 20) + mark("ends", 21)).result()
    assert result and (result.best_update, result.figures["ppl"]) == (8, 7.75)
    assert result.seconds == 5 + 4 + 1 and result.updates == 10


def test_a_log_that_is_cut_is_noticed(tmp_path: Path) -> None:
    whole = mark("begins", 0) + valid(5, 9) + valid(10, 8) + mark("ends", 3)
    lines = whole.splitlines(keepends=True)
    for name, text, error in (
        ("none", lines[0] + lines[-1], "1.log has no validation"),
        ("short", "".join([*lines[:2], lines[-1]]), "1.log ends with the validation after 5 of 10"),
        ("infinite", lines[0] + valid(10, "inf") + lines[-1], "no validation has a finite ppl"),
    ):
        result = training(tmp_path / name, text).result()
        assert result and error in result.error and not result.figures
    # Its last line, which is ours, was cut: it has not ended.
    assert training(tmp_path / "cut", whole[:-2]).result() is None
    patient = training(tmp_path / "patient", whole.replace(lines[2], ""), base="--patience 3")
    assert patient.result().figures["ppl"] == 9.0


def test_one_that_was_killed_after_its_last_word_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "call", lambda *_, **__: pytest.fail("it was trained again"))
    said = f"{DATE.format(6)}fairseq_cli.train | done training in 5.0 seconds\n"
    ended = training(tmp_path, mark("begins", 0) + valid(10, 8) + said)
    assert ended.result() is None
    ended.train(1)
    result = ended.result()
    assert result and result.seconds == 6 and result.figures["ppl"] == 8


def test_why_one_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, said, code, error in (
        ("ours", "a line\nerror: there is no /some/folder/x.txt: name one\nmore\n", 1,
         "there is no x.txt: name one"),
        ("other", "a line\nValueError: bad\n", 1, "ValueError: bad"),
        ("killed", "a line\n", 137, "ended by signal 9, as where memory is short"),
        ("silent", "", 3, "ended with 3"),
    ):  # fmt: skip

        def call(words: list[str], stdout, said: str = said, code: int = code, **_: object) -> None:
            stdout.write(said.encode())
            stdout.flush()
            raise commands.Failed(code)

        monkeypatch.setattr(commands, "call", call)
        failing = training(tmp_path / name, rung=1)
        failing.train(1)
        assert failing.result().error == error


def test_the_variable_of_the_one_who_searches_stays_outside(tmp_path: Path, monkeypatch) -> None:
    seen = []
    monkeypatch.setattr(commands, "call", lambda *_, env, **__: seen.append(env.get(VARIABLE)))
    monkeypatch.setenv(VARIABLE, "3")
    for rung in (1, 2):
        training(tmp_path / f"{rung}", rung=rung).train(1)
    assert seen == ["10", None]


def test_a_log_that_was_cut_goes_on_in_a_new_line(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(commands, "call", lambda *_, **__: None)
    cut = training(tmp_path, mark("begins", 0) + "2026-01-01 10:0")
    cut.train(1)
    assert [line.split()[2:3] for line in cut.log().read_text().splitlines()] == [
        ["begins"], [], ["begins"], ["ends"],
    ]  # fmt: skip


def test_the_commands_of_the_rungs(tmp_path: Path) -> None:
    """The schedule of a rung is that of the last one, unless each is anew."""
    found = {}
    for name, more in (("on", {}), ("anew", {"anew": True})):
        found[name] = [
            training(tmp_path / name / f"{rung}", rung=rung, **more).command for rung in (1, 2)
        ]
    first, last = found["on"]
    assert first == f"NMT_MOE_STOP_AFTER=10 {last}" and last.endswith("--max-update 20")
    assert [text.rpartition(" ")[2] for text in found["anew"]] == ["10", "20"]
    assert not any("NMT_MOE" in text for text in found["anew"])
    assert STOP_AFTER == VARIABLE
    plain = {"data": "/some/folder/bin", "minutes": [3, 6]}
    space = parse(plain)
    command = Training(space, space.settings[1], 7, 1, tmp_path).command
    assert command.startswith("fairseq-train bin --user-dir nmt_moe --seed 7 ")
    assert command.endswith("--stop-time-hours 0.05")
