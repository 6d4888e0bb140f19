"""``python -m nmt_moe.corpus.wordpieces``."""

import sys

from nmt_moe.corpus.wordpieces.model import main

if __name__ == "__main__":
    sys.exit(main())
