"""Old names of commands: ``python -m nmt_moe.plan`` is ``nmt-moe plan``."""

import importlib
import sys
from collections.abc import Callable, Sequence
from functools import partial


def door(name: str, *words: str) -> Callable[..., int]:
    """The ``main`` of a module that is also a command: runs ``nmt-moe`` with these words first.

    Where the module's ``__name__`` says that it is the program, it runs at once.
    """
    main = partial(_main, words)
    if name == "__main__":
        sys.exit(main())
    return main


def _main(words: Sequence[str], arguments: Sequence[str] | None = None) -> int:
    cli = importlib.import_module("nmt_moe.cli.main")  # above all others, so it is imported late
    given = sys.argv[1:] if arguments is None else arguments
    return int(cli.main([*words, *given], own_process=arguments is None))
