"""torchrun, which ends with the code of a training that was stopped: 75 where it has saved.

A script, not a module: it does without the imports of the package. ``recipes/launch.sh`` runs it.
"""

import os
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType

from torch.distributed.run import main

_CHILDREN = Path(f"/proc/self/task/{os.getpid()}/children")


def _pass_on(number: int, frame: FrameType | None) -> None:
    """SIGTERM for the training's processes alone."""
    children = _CHILDREN.read_text().split()
    if not children:
        sys.exit(128 + number)
    for child in children:
        os.kill(int(child), number)


def _run() -> int:
    if _CHILDREN.exists():
        # torchrun gives its processes 30 seconds after a SIGTERM: too few to save a large model.
        # The first name is that of its option's default, the second one that of older versions.
        for name in ("PET_SIGNALS_TO_HANDLE", "TORCHELASTIC_SIGNALS_TO_HANDLE"):
            os.environ.setdefault(name, "SIGINT,SIGHUP,SIGQUIT")
        signal.signal(signal.SIGTERM, _pass_on)
    with tempfile.TemporaryDirectory() as folder:
        stopped = Path(folder, "stopped")
        os.environ["NMT_MOE_STOPPED"] = str(stopped)
        try:
            main()
        except BaseException:
            if stopped.exists():
                return int(stopped.read_text())
            raise
    return 0


if __name__ == "__main__":
    sys.exit(_run())
