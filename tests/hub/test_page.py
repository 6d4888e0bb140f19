"""The program of docs/python.md runs from its beginning to its end."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.recipes import ROOT


def test_the_page_runs(
    folder: Path, language_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "docs" / "python.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    for place, target in {
        "data/quickstart-de/training": folder,
        "data/lm/32": language_folder,
        "hubconf.py": ROOT / "hubconf.py",
    }.items():
        assert place in text
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).symlink_to(target)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec("\n".join(blocks), names)
    assert len(names["translations"]) == 2
    assert names["probabilities"].argmax(2)[0, 0] < len(names["model"].tgt_dict)
    chosen = names["probabilities"][0].gather(1, names["best"]["tokens"][:, None]).log().sum()
    assert abs(chosen - names["best"]["log_probability"]) < 1e-3
    assert names["fast"].translate(["a"]) and names["hub_model"].cfg.generation.beam == 2
