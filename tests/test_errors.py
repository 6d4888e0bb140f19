"""What a user reads of an error."""

import pytest

from nmt_moe.errors import UserError, exit_code


def said(error: Exception, capsys: pytest.CaptureFixture[str]) -> str:
    def command() -> None:
        raise error

    assert exit_code(command) == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("end", "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")
def test_what_the_user_gave_does_not_break_the_line(end: str, capsys) -> None:
    shown = f"a{end.encode('unicode_escape').decode()}b"
    assert said(UserError(f"no document 'a{end}b'"), capsys) == f"error: no document '{shown}'"
    assert said(FileExistsError(f"a{end}b"), capsys).startswith(f"error: there is {shown} already")


def test_letters_and_spaces_are_shown_as_they_are(capsys) -> None:
    line = "no file 'für  Élise/日本.txt'"
    assert said(UserError(line), capsys) == f"error: {line}"
