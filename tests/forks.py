"""What every process that a test forks has to do first, and how those that are programs end."""

import atexit
import gc
import os
import pickle
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, NoReturn

LIMIT = 600  # seconds


def end_by_itself() -> None:
    """Let this process end after the limit, whatever it waits for.

    It holds the output of the whole run open: where a test has failed and nobody waits for the
    process any more, the run would not end before it.
    """
    leave_to_the_parent()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # pytest-timeout's would go on with the tests
    signal.alarm(LIMIT)


def leave_to_the_parent() -> None:
    """Let no collection of garbage look through what was there before this process.

    All that torch and fairseq have imported is there: it takes a fifth of a small training, and
    the pages it writes to have to be copied.
    """
    gc.freeze()


@cache
def read_options_once() -> None:
    """Let Hydra and OmegaConf fill their caches: half a second of each command that is forked."""
    from fairseq import options
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from hydra.core.plugins import Plugins
    from hydra.core.singleton import Singleton

    shorten_composing()
    parser = options.get_training_parser()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arguments = options.parse_args_and_arch(parser, ["data", "--arch", "transformer"])
        convert_namespace_to_omegaconf(arguments)
    # Each command looks for the plugins of its own environment.
    del Singleton._instances[Plugins]
    for name in [name for name in sys.modules if name.partition(".")[0] == "hydra_plugins"]:
        del sys.modules[name]


def shorten_composing() -> None:
    """Let Hydra, to which fairseq gives all options of a command, parse each text only once.

    And let it copy its configuration without all that is registered, which it only reads, and
    convert of that only what is asked for: the plugin registers 24 models, a command has one.
    """
    from hydra.core.config_store import ConfigNode, ConfigStore
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    parse = OverridesParser.parse_rule
    parsed: dict[tuple[str, str], bytes] = {}

    def parse_rule(self: OverridesParser, text: str, rule: str) -> Any:
        if (text, rule) not in parsed:
            parsed[text, rule] = pickle.dumps(parse(self, text, rule))
        return pickle.loads(parsed[text, rule])

    OverridesParser.parse_rule = parse_rule  # type: ignore[method-assign]
    ConfigStore.__deepcopy__ = lambda self, memo: self  # type: ignore[attr-defined]

    def store(
        self: ConfigStore, name: str, node: Any, group: str | None = None, **more: Any
    ) -> None:
        folder = self.repo
        for part in group.split("/") if group else []:
            folder = folder.setdefault(part, {})
        file = f"{name.removesuffix('.yaml')}.yaml"
        folder[file] = ConfigNode(file, node, group, more.get("package"), more.get("provider"))

    load = ConfigStore._load

    def converted(self: ConfigStore, path: str) -> ConfigNode:
        found = load(self, path)
        if not OmegaConf.is_config(found.node):
            found.node = OmegaConf.structured(found.node)
        return found

    ConfigStore.store = store  # type: ignore[method-assign]
    ConfigStore._load = converted  # type: ignore[method-assign]


def end_as_a_program(call: Callable[[], object], caller: str = "") -> NoReturn:
    """Call it in a process that was forked, and end as Python ends a program that is this call.

    A traceback begins below this file and that of the ``caller``.
    """
    code, interrupted = 0, False
    try:
        call()
    except SystemExit as ended:
        code = _code(ended)
    except BaseException as error:
        code, interrupted = 1, isinstance(error, KeyboardInterrupt)
        trace = error.__traceback__
        while trace and trace.tb_frame.f_code.co_filename in (__file__, caller):
            trace = trace.tb_next
        sys.excepthook(type(error), error.with_traceback(trace), trace)
    threading._shutdown()  # type: ignore[attr-defined]  waits for threads
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):  # full, or closed
            code = code or 120
    if interrupted:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(code)


def _code(ended: SystemExit) -> int:
    if ended.code is None or isinstance(ended.code, int):
        return int(ended.code or 0) & 0xFF
    print(ended.code, file=sys.stderr)
    return 1
