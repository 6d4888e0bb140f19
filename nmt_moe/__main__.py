"""``python -m nmt_moe``: the same as ``nmt-moe``."""

import sys

from nmt_moe.cli.main import console

if __name__ == "__main__":
    sys.exit(console())
