"""Short names of what is shown side by side."""

from hypothesis import given
from hypothesis import strategies as st

from nmt_moe.report.page.names import distinct


def test_common_folders_are_left_out() -> None:
    assert distinct(["data/lm/4/best.pt", "data/lm/dense/best.pt"]) == ["4", "dense"]
    assert distinct(["/a/multilingual/moe", "/a/lm/4"]) == ["multilingual/moe", "lm/4"]
    assert distinct(["a/best.pt", "a/last.pt"]) == ["best.pt", "last.pt"]
    assert distinct(["a", "a/b"]) == ["a", "a/b"]
    assert distinct(["data/a.pt"]) == ["data/a.pt"]
    assert distinct(["data/a.pt", "data/a.pt"]) == ["data (1)", "data (2)"]


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1).map("/".join), min_size=1))
def test_names_differ(paths: list[str]) -> None:
    assert len(set(distinct(paths))) == len(paths)
