"""``fairseq-hydra-train``: a training gets from Hydra what others get as they read their options.

With ``--multirun`` one process trains one model after the other: nothing of one reaches the next.
"""

import importlib
import logging
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch.distributed as dist
from fairseq.dataclass.configs import FairseqConfig
from fairseq.logging import progress_bar
from fairseq.models import (
    ARCH_CONFIG_REGISTRY,
    ARCH_MODEL_REGISTRY,
    MODEL_DATACLASS_REGISTRY,
)
from fairseq.registry import REGISTRIES
from fairseq.tasks import TASK_DATACLASS_REGISTRY, TASK_REGISTRY
from hydra._internal.utils import get_args
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import MISSING, DictConfig, OmegaConf, open_dict

from nmt_moe.common.errors import UserError, suggestion
from nmt_moe.fairseq_fixes import batch_workers, training_options
from nmt_moe.fairseq_fixes.fix import Fix

_PACKAGE = Path(__file__).resolve().parents[1]
_SUCH = {
    "model": "lstm_moe_tiny",
    "task": "translation",
    "criterion": "moe_label_smoothed_cross_entropy",
    "optimizer": "moe_adam",
    "lr_scheduler": "warmup_hold_inverse_sqrt",
}
"""What a configuration has to choose, and an example of each."""
_early = False
_folders: set[str] = set()


def begin() -> None:
    """Import the plugin before the configuration is composed, if that names it."""
    words = get_args()
    name = words.config_name or "config"
    given = [word.lstrip("+").partition("=") for word in words.overrides]
    folder = {key: value for key, _, value in given}.get("common.user_dir")
    if folder is None:
        folder = _in_file(Path(words.config_dir or words.config_path or "", name))
    # With an interpolation in the path it is this one for want of another.
    if Path(folder).name != _PACKAGE.name or (
        "${" not in folder and Path(folder).resolve() != _PACKAGE
    ):
        return
    importlib.import_module("nmt_moe.plugin")
    for key, _, value in given:
        if key in _SUCH and value == "null":
            raise UserError(_missing(key))
    store = ConfigStore.instance()
    node = store.load(f"{name.removesuffix('.yaml')}.yaml").node
    node.dataset.required_batch_size_multiple = 1  # as of the other commands
    for choice in _SUCH:
        node[choice] = MISSING  # with None a file takes away what is chosen in its own defaults
    store.store(name, node)


def _in_file(path: Path) -> str:
    """The ``--user-dir`` in a file of YAML; empty where there is none."""
    file = path if path.suffix == ".yaml" else Path(f"{path}.yaml")
    with suppress(Exception):  # Hydra explains what is wrong with a file
        values = OmegaConf.to_container(OmegaConf.load(file))
        return str(values["common"]["user_dir"])  # type: ignore[index,call-overload]
    return ""


def apply() -> None:
    """Change ``fairseq-hydra-train``, where this process is that command."""
    if "fairseq_cli.hydra_train" not in sys.modules:
        return
    # An error is raised, for the one line that it has here, and not shown in Hydra's way.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    for fix in FIXES:
        fix.apply()


def _before_composed(add_defaults: Callable[[DictConfig], None]) -> Callable[[DictConfig], None]:
    def configure_job(cfg: DictConfig) -> None:
        global _early
        others = _checked(cfg)
        add_defaults(cfg)
        _early = True
        _forget_the_job_before()
        _configure(cfg, others)

    return configure_job


def _once_imported(add_defaults: Callable[[DictConfig], None]) -> Callable[[DictConfig], None]:
    def configure_job(cfg: DictConfig) -> None:
        if _early or not HydraConfig.initialized():
            return add_defaults(cfg)
        others = _checked(cfg)
        add_defaults(cfg)
        if training_options.processes() > 1 and not dist.is_initialized():
            raise UserError(
                "torchrun needs nmt_moe in the environment of fairseq-hydra-train: "
                f"pip install -e {_PACKAGE.parent}"
            )
        _configure(cfg, others)

    return configure_job


def _checked(cfg: DictConfig) -> dict[str, Any]:
    """Take the options of fairseq's models out, and refuse unknown names: only ours can follow."""
    arch = OmegaConf.select(cfg, "model._name")
    if not _is_ours(arch):
        return {}
    parser = ArgumentParser(add_help=False)
    ARCH_MODEL_REGISTRY[arch].add_args(parser.add_argument_group())
    own = MODEL_DATACLASS_REGISTRY[arch].__dataclass_fields__
    others = ({action.dest for action in parser._actions} - own.keys()) & cfg.model.keys()
    with open_dict(cfg):
        found = {name: cfg.model.pop(name) for name in sorted(others)}
    for group, options in cfg.items_ex(resolve=False):  # one that is missing is refused later
        if isinstance(options, DictConfig):
            _check_names(str(group), options)
    return found


def _is_ours(arch: Any) -> bool:
    function = ARCH_CONFIG_REGISTRY.get(arch)
    return function is not None and function.__module__.startswith("nmt_moe.")


def _configure(cfg: DictConfig, others: dict[str, Any]) -> None:
    """Call fairseq's function of the architecture with all options, as after a command line."""
    values: Any = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
    chosen = {name: _name(values.get(name)) for name in _SUCH}
    registries = {name: registry["registry"] for name, registry in REGISTRIES.items()}
    registries |= {"model": ARCH_CONFIG_REGISTRY, "task": TASK_REGISTRY}
    for name, choice in chosen.items():
        if choice in (None, MISSING):
            raise UserError(_missing(name))
        if choice not in registries[name]:
            hint = suggestion(choice, registries[name])
            raise UserError(f"there is no {name} named {choice}: {hint}")
    arch = chosen.pop("model")
    if not _is_ours(arch):
        return
    groups = {name: group for name, group in values.items() if isinstance(group, dict)}
    defaults = vars(MODEL_DATACLASS_REGISTRY[arch]())
    before: dict[str, Any] = {}
    for group in (*groups.values(), groups["model"], chosen):
        before.update(group)
    # As after a command line, where a default of the architecture is not there yet.
    args = Namespace(**{k: v for k, v in before.items() if k not in defaults or v != defaults[k]})
    vars(args).update(others)
    ARCH_CONFIG_REGISTRY[arch](args)
    with open_dict(cfg):
        for name, value in vars(args).items():
            if value != before.get(name):
                for group, options in groups.items():
                    if name in options or (group == "model" and name in defaults):
                        cfg[group][name] = value
        cfg.common.user_dir = str(_PACKAGE)  # a job may be in another folder
    if not cfg.checkpoint.no_save:
        _note(os.path.realpath(cfg.checkpoint.save_dir))


def _check_names(group: str, options: DictConfig) -> None:
    """Refuse a name that the options of a group do not have; fairseq would not look at most."""
    choice = options.get("_name")
    known: Any = None
    if choice is None:
        known = getattr(FairseqConfig.__dataclass_fields__.get(group), "type", None)
    elif group == "model":
        known = MODEL_DATACLASS_REGISTRY[choice]
    elif group == "task":
        known = TASK_DATACLASS_REGISTRY.get(choice)
    elif group in REGISTRIES:
        known = REGISTRIES[group]["dataclass_registry"].get(choice)
    names: Any = getattr(known, "__dataclass_fields__", {})
    for name in map(str, options if names else ()):
        if name != "_name" and name not in names:
            raise UserError(
                f"there is no {group}.{name}{f' of {choice}' if choice else ''}: "
                f"{suggestion(name, [one for one in names if one != '_name'])} "
                f"(~{group}.{name} takes it out of a file)"
            )


def _missing(name: str) -> str:
    return f"{name} is missing: name one, such as {name}={_SUCH[name]}"


def _name(choice: Any) -> Any:
    return choice.get("_name") if isinstance(choice, dict) else choice


def _note(folder: str) -> None:
    if folder in _folders:
        raise UserError(
            f"checkpoint.save_dir {folder} is that of a job before, from which this one would go "
            "on: give each its own, such as ${hydra:runtime.output_dir}/checkpoints"
        )
    _folders.add(folder)


def _forget_the_job_before() -> None:
    """fairseq keeps these for the process: threads, and files that it would go on to write."""
    batch_workers.end()
    progress_bar._close_writers()
    progress_bar._tensorboard_writers.clear()
    for name in ("fairseq_cli.train", progress_bar.__name__):
        logger = logging.getLogger(name)
        for handler in logger.handlers[:]:
            logger.removeHandler(handler)
            handler.close()


def _ending(run: Callable[..., Any]) -> Callable[..., Any]:
    def run_or_end(*args: Any, **kwargs: Any) -> Any:
        try:
            return run(*args, **kwargs)
        except Exception as error:
            # Hydra names the job of several that went wrong, once the others are done.
            if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.RUN:
                raise
            sys.excepthook(type(error), error, error.__traceback__)
            sys.exit(1)

    return run_or_end


_WHEN = "the plugin is imported by `fairseq-hydra-train`"
FIXES = (
    Fix(
        "fairseq_cli.hydra_train:add_defaults",
        _before_composed,
        "A configuration of Hydra's is completed and checked as the options of `fairseq-train` "
        "are; files and threads of the job before are closed.",
        _WHEN,
    ),
    Fix(
        "fairseq_cli.train:add_defaults",
        _once_imported,
        "The same, where nmt_moe is not installed, so that Hydra could not import it before.",
        _WHEN,
    ),
    Fix(
        "fairseq_cli.hydra_train:_hydra_main",
        _ending,
        "An error ends a training as it ends `fairseq-train`, in one line.",
        _WHEN,
    ),
)
