"""nmt_moe: sparsely-gated mixtures of experts for machine translation, a fairseq plugin.

Importing the package, as ``fairseq-train --user-dir nmt_moe`` does, registers its models and
criterions with fairseq and makes its checkpoints safe.
"""

import nmt_moe.criterions.label_smoothed
import warnings

import nmt_moe.models.architectures  # noqa: F401
from nmt_moe import checkpoint, errors

checkpoint.install()
errors.show_in_one_line()

# Neither is for a user to act on: torch's remark that oneDNN lacks LSTM projections, and the
# name by which fairseq asks for autocast, which would come up at every update.
warnings.filterwarnings("ignore", message="LSTM with projections is not supported with oneDNN")
warnings.filterwarnings("ignore", message=".*torch.cuda.amp.autocast.* is deprecated")
