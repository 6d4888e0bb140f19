"""What a user reads of an error."""

import pytest

from nmt_moe.errors import UserError, exit_code, one_line


@pytest.mark.parametrize("end", "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")
def test_what_the_user_gave_does_not_break_the_line(end: str, capsys) -> None:
    def command() -> None:
        raise UserError(f"no document 'a{end}b'")

    assert exit_code(command) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert said == f"error: no document 'a{end.encode('unicode_escape').decode()}b'"


def test_letters_and_spaces_are_shown_as_they_are() -> None:
    assert one_line(UserError("no file 'für  Élise/日本.txt'")) == "no file 'für  Élise/日本.txt'"
