"""Says what to name where ``--user-dir`` names the folder of the clone: fairseq looks here then.

The file is called as one in ``nmt_moe/tasks``, which fairseq finds in its place where the clone is
called nmt_moe, too, and the package is installed.
"""

import sys
from pathlib import Path

_CLONE = Path(__file__).resolve().parents[1]

sys.exit(
    f"error: --user-dir {_CLONE} names the folder around the plugin: "
    f"use --user-dir {_CLONE / 'nmt_moe'}"
)
