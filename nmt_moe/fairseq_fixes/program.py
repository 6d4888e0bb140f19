"""Which of fairseq's commands this process is."""

import sys
from pathlib import Path

_PACKAGE = "fairseq_cli"


def name() -> str | None:
    """The name of the command, such as ``fairseq-train``, also where it was started as a module,
    ``python -m fairseq_cli.train``; None: this is another program."""
    path = Path(sys.argv[0])
    if path.name.startswith("fairseq-"):
        return path.name
    if path.parent.name == _PACKAGE:
        return f"fairseq-{path.stem.replace('_', '-')}"
    return None


def know_main_module() -> None:
    """Let ``fairseq_cli.train`` mean the running module where that was started as a module: an
    import would make a second copy of it, whose functions nobody calls."""
    main = sys.modules["__main__"]
    path = Path(sys.argv[0])
    if path.parent.name == _PACKAGE and path.name == Path(getattr(main, "__file__", "")).name:
        sys.modules.setdefault(f"{_PACKAGE}.{path.stem}", main)
