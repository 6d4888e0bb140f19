"""What every process that a test forks has to do first."""

import signal

LIMIT = 600  # seconds


def end_by_itself() -> None:
    """Let this process end after the limit, whatever it waits for.

    It holds the output of the whole run open: where a test has failed and nobody waits for the
    process any more, the run would not end before it.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # pytest-timeout's would go on with the tests
    signal.alarm(LIMIT)
