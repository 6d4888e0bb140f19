"""The tasks: what fairseq's own translation task cannot be configured to do.

fairseq imports this package for ``--user-dir``, which is how it reaches the plugin.
"""

import nmt_moe.plugin  # noqa: F401
