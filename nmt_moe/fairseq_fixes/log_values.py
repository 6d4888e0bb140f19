"""On a GPU the numbers of an update are looked at when a line of the log needs them.

fairseq rounds each of them on the host after every update, for a dict that nobody reads; for TPUs,
where that would cost as much, it leaves the dict empty.
"""

from collections.abc import Callable
from typing import Any

from nmt_moe.fairseq_fixes.fix import Fix


def _unread(reduce: Callable[..., Any]) -> Callable[..., Any]:
    def _reduce_and_log_stats(self: Any, *args: Any, **kwargs: Any) -> Any:
        before, self.tpu = self.tpu, self.tpu or self.cuda
        try:
            return reduce(self, *args, **kwargs)
        finally:
            self.tpu = before

    return _reduce_and_log_stats


FIXES = (
    Fix(
        "fairseq.trainer:Trainer._reduce_and_log_stats",
        _unread,
        "An update on a GPU does not wait for the numbers of the log, which no line shows yet.",
    ),
)
