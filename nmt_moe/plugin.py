"""Registers the models, criterions, optimizers and tasks, and changes fairseq where it has no hook.

``fairseq-train --user-dir nmt_moe`` comes here by :mod:`nmt_moe.tasks`, which fairseq imports; a
program of its own writes ``import nmt_moe.plugin``.
"""

from nmt_moe.fairseq_fixes import warnings

warnings.silence()  # some are of the imports that follow

import nmt_moe.criterions.label_smoothed  # noqa: E402
import nmt_moe.models.architectures  # noqa: E402
import nmt_moe.optim.fairseq_adam  # noqa: E402
import nmt_moe.optim.schedule  # noqa: E402
import nmt_moe.tasks.gnmt_translation  # noqa: E402, F401
from nmt_moe.fairseq_fixes.table import apply_all  # noqa: E402

apply_all()
