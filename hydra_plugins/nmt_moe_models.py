"""Hydra imports this module in each of its programs, for what it says of the search path.

``fairseq-hydra-train`` imports ``--user-dir`` after Hydra has composed the configuration. That is
too late for the names in it, such as ``model=lstm_moe_tiny``, and for its defaults.
"""

import sys
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class NMTMoEModels(SearchPathPlugin):
    """Hydra calls it before it composes."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        if Path(sys.argv[0]).stem.endswith(("hydra-train", "hydra_train")):
            from nmt_moe.fairseq_fixes import hydra_train

            hydra_train.begin()
