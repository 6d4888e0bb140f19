"""All changes to foreign code in one table, applied when the plugin is imported."""

from nmt_moe.fairseq_fixes import (
    adam,
    autocast,
    batch_workers,
    bleu,
    checkpoints,
    command_line,
    early_stop,
    ema,
    errors,
    first_part,
    hydra_train,
    log_file,
    log_values,
    non_finite,
    numpy_compat,
    post_process,
    program,
    searches,
    sigterm,
    tensorboard,
    threads,
)
from nmt_moe.fairseq_fixes.fix import Fix

_ALWAYS: tuple[Fix, ...] = (
    *checkpoints.FIXES,
    *non_finite.FIXES,
    *batch_workers.FIXES,
    *threads.FIXES,
    *adam.FIXES,
    *autocast.FIXES,
    *command_line.FIXES,
    *post_process.FIXES,
    *tensorboard.FIXES,
    *log_file.FIXES,
    *log_values.FIXES,
    *numpy_compat.FIXES,
    *searches.FIXES,
    *bleu.FIXES,
    *ema.FIXES,
)

FIXES: tuple[Fix, ...] = (
    *_ALWAYS,
    *errors.FIXES,
    *early_stop.FIXES,
    *first_part.FIXES,
    *sigterm.FIXES,
    *hydra_train.FIXES,
)
"""All of them, in the order in which they are applied."""


def apply_all() -> None:
    """Apply the fixes of the import; those of :mod:`.errors` in fairseq's own commands alone.

    Raises:
        UserError: fairseq is not the one that they were written for.
    """
    numpy_compat.restore()
    program.know_main_module()
    batch_workers.end_with_the_program()
    for fix in _ALWAYS:
        fix.apply()
    errors.apply()
    hydra_train.apply()
