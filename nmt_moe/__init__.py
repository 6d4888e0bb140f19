"""nmt_moe: sparsely-gated mixtures of experts for machine translation, a fairseq plugin.

Importing the package, as ``fairseq-train --user-dir nmt_moe`` does, registers its models and
criterions with fairseq, makes its checkpoints safe, stops its trainings at NaN and ends them
cleanly, lets them make way for other processes, lets no sentence of a set be left out, and shows
its options with ``--help``.
"""

import sys

# python -m looks in the current folder first: a user's own tokenize.py, or a folder fairseq, there
# would be taken for the module of that name. Of the commands of this package alone.
if (
    sys.argv[:1] == ["-m"]
    and not sys.flags.safe_path
    and sys.orig_argv[-len(sys.argv)].removeprefix("-m").partition(".")[0] == __name__
):
    del sys.path[0]

import logging
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np

if __name__ != "nmt_moe":  # a link or a copy: its models would be registered twice
    sys.exit(
        f"error: --user-dir must name a folder that is called nmt_moe, not {__name__}: "
        f"{Path(__file__).resolve().parent} is where this one is"
    )

# Not for a user to act on: fairseq asks for tensorboardX where tensorboard is enough, and for
# autocast by its old name at every update; torch remarks that oneDNN lacks LSTM projections.
logging.getLogger("fairseq.tasks.text_to_speech").setLevel(logging.WARNING)
warnings.filterwarnings("ignore", message=".*torch.cuda.amp.autocast.* is deprecated")
warnings.filterwarnings("ignore", message="LSTM with projections is not supported with oneDNN")

if not hasattr(np, "compat"):  # gone since numpy 2; fairseq reads single sentences with it
    np.compat = SimpleNamespace(long=int)  # type: ignore[attr-defined]

import nmt_moe.criterions.label_smoothed  # noqa: E402
import nmt_moe.models.architectures  # noqa: E402
import nmt_moe.optim.fairseq_adam  # noqa: E402
import nmt_moe.optim.schedule  # noqa: E402
import nmt_moe.tasks.gnmt_translation  # noqa: E402, F401
from nmt_moe import checkpoint, errors, parsers, prefetch, threads  # noqa: E402
from nmt_moe.corpus import reversible  # noqa: E402
from nmt_moe.finite import training as finite_training  # noqa: E402

checkpoint.install()
finite_training.install()
prefetch.install()
threads.install()
parsers.install()
reversible.install()
errors.show_in_one_line()
