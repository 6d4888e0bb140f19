"""Whether every installed package that nmt_moe needs has a licence of requirements/licences.toml.

``recipes/dependencies.sh licences`` runs it with the Python of .venv.
"""

import argparse
import fnmatch
import importlib.metadata as metadata
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_RULES = Path(__file__).resolve().parents[1] / "requirements/licences.toml"
_ROOT = "nmt-moe[dev]"


def needed(root: str, path: list[str]) -> Iterator[metadata.Distribution]:
    """The package of that requirement, and all that it needs, as far as they are there.

    Args:
        root: a requirement, with extras.
        path: the folders where packages are looked for.
    """
    there = {canonicalize_name(found.name): found for found in metadata.distributions(path=path)}
    seen: set[tuple[str, str]] = set()
    left = [Requirement(root)]
    while left:
        wanted = left.pop()
        name = canonicalize_name(wanted.name)
        if name not in there:
            continue
        for extra in ("", *wanted.extras):
            if (name, extra) in seen:
                continue
            if not any(name == known for known, _ in seen):
                yield there[name]
            seen.add((name, extra))
            for text in there[name].requires or ():
                requirement = Requirement(text)
                if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                    left.append(requirement)


def declared(package: metadata.Distribution) -> list[str]:
    """The licences that a package says it has, all of them at once."""
    found = package.metadata
    if expression := found.get("License-Expression"):
        return [str(expression)]
    prefix = "License :: OSI Approved :: "
    classifiers = [str(text) for text in found.get_all("Classifier", [])]
    if named := [text for text in classifiers if text.startswith(prefix)]:
        return [text.removeprefix(prefix) for text in named]
    words = str(found.get("License", "")).strip()
    return [words] if words and len(words.splitlines()) == 1 else []


def allows(allowed: set[str], expression: str) -> bool:
    """Whether an expression of SPDX can be met: one side of each OR, both of each AND."""
    tokens = re.findall(r"[()]|[^\s()]+(?: WITH [^\s()]+)?", expression)
    broken: list[str] = []

    def joined(word: str, part: Callable[[], bool]) -> list[bool]:
        found = [part()]
        while tokens[:1] == [word]:
            tokens.pop(0)
            found.append(part())
        return found

    def either() -> bool:
        return any(joined("OR", both))

    def both() -> bool:
        return all(joined("AND", one))

    def one() -> bool:
        token = tokens.pop(0) if tokens else ""
        if token != "(":
            broken.extend({token} & {"", ")", "AND", "OR"})
            return token in allowed
        found = either()
        if tokens[:1] == [")"]:
            tokens.pop(0)
        else:
            broken.append(token)
        return found

    return either() and not tokens and not broken


def trouble(rules: dict[str, Any], package: metadata.Distribution) -> str | None:
    """What is wrong with a package's licence."""
    name, licences = canonicalize_name(package.name), declared(package)
    shown = " and ".join(licences)
    exceptions = [
        exception["declares"]
        for pattern, exception in rules["exceptions"].items()
        if fnmatch.fnmatchcase(name, pattern)
    ]
    names, allowed = rules["names"], set(rules["allowed"])
    if licences and all(allows(allowed, names.get(text, text)) for text in licences):
        if {*exceptions} <= {"*"}:
            return None
        return f"{name} needs no exception in {_RULES.name}: it declares {shown}"
    if any(fnmatch.fnmatchcase(shown, known) for known in exceptions):
        return None
    what = f"declares {shown!r}" if shown else "declares no licence"
    return f"{name} {package.version} {what}, which {_RULES.name} does not allow"


def main(arguments: list[str] | None = None) -> int:
    """1 where a licence is not allowed, 2 where nothing was found to check."""
    parser = argparse.ArgumentParser(prog="licences", description=__doc__)
    parser.add_argument("--path", nargs="+", default=sys.path, help="folders of packages")
    parser.add_argument("--root", default=_ROOT, help=f"whose needs (default: {_ROOT})")
    args = parser.parse_args(arguments)
    rules = tomllib.loads(_RULES.read_text(encoding="utf-8"))
    packages = [*needed(args.root, args.path)]
    if not packages:
        print(f"licences: {args.root} is not installed", file=sys.stderr)
        return 2
    wrong = [text for package in packages if (text := trouble(rules, package))]
    for text in wrong:
        print(f"licences: {text}", file=sys.stderr)
    for package in packages:
        print(f"{package.name} {package.version}: {' and '.join(declared(package)) or '-'}")
    print(f"{len(packages)} packages, {len(wrong)} with a licence that is not allowed")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
