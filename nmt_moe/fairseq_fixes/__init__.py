"""Every place that changes fairseq, torch, logging or the interpreter, for want of a hook there.

One module for each thing that is mended; each names its changes in ``FIXES``. :mod:`.table` has all
of them and applies them once. ``docs/architecture.md`` shows the table.
"""
