"""Which of fairseq's tasks a model can learn, and what a training needs of them."""

from multiprocessing.util import get_temp_dir
from typing import Any

from fairseq.tasks.language_modeling import LanguageModelingTask
from fairseq.tasks.multilingual_language_modeling import MultilingualLanguageModelingTask
from fairseq.tasks.translation import TranslationTask
from torch import nn

from nmt_moe.criterions.balanced import balance
from nmt_moe.errors import UserError
from nmt_moe.moe import MixtureOfExperts


def check_task(arch: str, task: type, language_model: bool) -> None:
    """Raise a :class:`UserError` for a translation model's architecture with a task of fairseq
    for language models, and the other way round; other tasks may do."""
    if language_model and issubclass(task, TranslationTask):
        raise UserError(f"--arch {arch} is a language model: it needs --task language_modeling")
    if not language_model and issubclass(
        task, LanguageModelingTask | MultilingualLanguageModelingTask
    ):
        raise UserError(f"--arch {arch} is a translation model: it needs --task translation")


def end_workers(task: Any) -> None:
    """Let the processes that load an epoch's batches (``--num-workers``) end with the epoch.

    fairseq keeps them for the next epoch, which here has an iterator of its own (see
    :func:`nmt_moe.launch.configure`): they would stay until Python happens to collect the old
    one, and more of them with each epoch. An iterator's switch is no option of fairseq's tasks.
    Their folder for sockets is this process' own: one that is killed could not remove its own.
    """
    get = getattr(task, "get_batch_iterator", None)
    if get is None:  # a model without a training
        return

    def get_batch_iterator(*args: Any, **kwargs: Any) -> Any:
        get_temp_dir()
        iterator = get(*args, **kwargs)
        iterator.persistent_workers = False
        return iterator

    task.get_batch_iterator = get_batch_iterator


def balance_experts(model: nn.Module, task: Any) -> None:
    """Let every criterion that is built for this model's training balance its experts.

    Without the losses of the gates a few experts get most of the tokens, and the thresholds of
    strictly balanced gating never learn; fairseq's criterions do not know them.
    """
    build = getattr(task, "build_criterion", None)
    if build is None or not any(isinstance(part, MixtureOfExperts) for part in model.modules()):
        return
    task.build_criterion = lambda *args, **kwargs: balance(build(*args, **kwargs))
