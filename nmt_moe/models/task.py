"""Which of fairseq's tasks a model can learn."""

from fairseq.tasks.language_modeling import LanguageModelingTask
from fairseq.tasks.multilingual_language_modeling import MultilingualLanguageModelingTask
from fairseq.tasks.translation import TranslationTask

from nmt_moe.errors import UserError


def check_task(arch: str, task: type, language_model: bool) -> None:
    """Raise a :class:`UserError` for a translation model's architecture with a task of fairseq
    for language models, and the other way round; other tasks may do."""
    if language_model and issubclass(task, TranslationTask):
        raise UserError(f"--arch {arch} is a language model: it needs --task language_modeling")
    if not language_model and issubclass(
        task, LanguageModelingTask | MultilingualLanguageModelingTask
    ):
        raise UserError(f"--arch {arch} is a translation model: it needs --task translation")
