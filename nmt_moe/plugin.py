"""Registers the models, criterions, optimizers and tasks, and changes fairseq where it has no hook.

``fairseq-train --user-dir nmt_moe`` comes here by :mod:`nmt_moe.tasks`, which fairseq imports; a
program of its own writes ``import nmt_moe.plugin``.
"""

import nmt_moe.criterions.label_smoothed
import nmt_moe.models.architectures
import nmt_moe.optim.fairseq_adam
import nmt_moe.optim.schedule
import nmt_moe.tasks.gnmt_translation  # noqa: F401
from nmt_moe.fairseq_fixes.table import apply_all

apply_all()
