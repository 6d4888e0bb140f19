"""The page's scripts are modules that name what they need of each other."""

import re
from importlib import resources

import pytest

from nmt_moe.common.scripting import linked

SCRIPTS = {
    file.name.removesuffix(".js"): file.read_text(encoding="utf-8")
    for file in (resources.files("nmt_moe.report.page") / "assets").iterdir()
    if file.name.endswith(".js")
}


def test_each_module_comes_once_after_those_it_imports() -> None:
    script = linked("start", lambda name: SCRIPTS[name.removesuffix(".js")])
    assert not re.search(r"^(import|export)\b", script, re.MULTILINE)
    order = re.findall(r"^modules\.(\w+) = ", script, re.MULTILINE)
    assert sorted(order) == sorted(SCRIPTS)  # none is left over
    for name, text in SCRIPTS.items():
        for names, other in re.findall(r'^import \{ (.*) \} from "\./(\w+)\.js";$', text, re.M):
            assert order.index(other) < order.index(name)
            exported = set(re.findall(r"^export const (\w+) = ", SCRIPTS[other], re.M))
            assert set(names.split(", ")) <= exported, f"{name}.js, {other}.js"


def test_modules_in_a_circle_are_refused() -> None:
    texts = {"a.js": 'import { b } from "./b.js";\n', "b.js": 'import { a } from "./a.js";\n'}
    with pytest.raises(ValueError, match="a imports b imports a"):
        linked("a", texts.__getitem__)
