"""Which language a model of one or several is asked for."""

from types import SimpleNamespace
from typing import Any

import pytest

from nmt_moe.common.errors import UserError
from nmt_moe.trained.vocabulary import choose_tag


def test_a_target_language_may_be_written_in_many_ways() -> None:
    several: Any = SimpleNamespace(symbols=["<s>", "▁a", "<2de>", "<2zh_Hans>", "<2zh_Hant>"])
    one: Any = SimpleNamespace(symbols=["<s>", "▁a"])
    for target in ("de", "deu", "de_AT.UTF-8"):
        assert choose_tag(several, target, "tgt") == "<2de>"
        assert choose_tag(one, target, "de") is None
    assert choose_tag(several, "zh-TW", "tgt") == "<2zh_Hant>"
    assert choose_tag(one, None, "de") is None
    with pytest.raises(UserError, match="choose one with --target-lang"):
        choose_tag(several, "fr_FR", "tgt")
    with pytest.raises(UserError, match="into de only, not into fr_FR"):
        choose_tag(one, "fr_FR", "de")
