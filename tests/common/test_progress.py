"""What a long work says of itself: lines in a log, one line at a terminal."""

import io

import pytest

from nmt_moe.common.progress import Progress, time_text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_has_a_line_now_and_then() -> None:
    log = io.StringIO()
    with Progress("clean", "pairs", seconds=0, file=log) as progress:
        progress.add(1200, "7 kept")
        progress.add(34)
    first, second = log.getvalue().splitlines()
    assert first.startswith("clean: 1,200 pairs, ") and first.endswith("/s, 7 kept")
    assert second.startswith("clean: 1,234 pairs, ") and second.endswith("/s")
    quiet = io.StringIO()
    with Progress("clean", "pairs", file=quiet) as progress, pytest.raises(ZeroDivisionError):
        progress.add(1)
        progress.add(1 // 0)
    assert quiet.getvalue() == ""  # within ten seconds


def test_where_the_total_is_known_the_time_left_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    log = io.StringIO()
    progress = Progress("x.tgz", "B", 10_000_000, done=1_000_000, seconds=5, file=log)
    now[0] += 4
    progress.add(1_000_000)
    now[0] += 1
    progress.add(500_000)
    assert log.getvalue() == "x.tgz: 25% of 10.0 MB, 300.0 kB/s, 0:25 left\n"
    assert progress.speed == 300_000
    assert time_text(3723.4) == "1:02:03"


def test_at_a_terminal_a_line_takes_the_place_of_the_last_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nmt_moe.common.progress._AT_A_TERMINAL", 0)
    monkeypatch.setenv("COLUMNS", "20")
    shown = Terminal()
    with Progress("report", "sentences", file=shown) as progress:
        progress.add(1)
        progress.add(1)
    assert shown.getvalue().startswith("\rreport: 1 sentences\033[K\rreport: 2 sentences\033[K")
    assert shown.getvalue().endswith("\r\033[K") and "\n" not in shown.getvalue()
    lines = Terminal()
    with Progress("translate", "lines", seconds=0, live=False, file=lines) as progress:
        progress.add(1)
    assert lines.getvalue().endswith("\n") and "\r" not in lines.getvalue()
    nothing = Terminal()
    with Progress("translate", "lines", shown=False, file=nothing) as progress:
        progress.add(1)
    assert nothing.getvalue() == ""
