"""The results of ``recipes/claims``: the paper's claims in small, as logs, tables and pictures.

A results folder holds ``run.json``, about the data and the grid of trainings, and ``logs``, a file
for each training. ``table.md``, ``table.csv`` and ``picture.svg`` are made of these alone.
"""

import logging

# Before it is imported: fairseq lets all that others log be shown.
logging.getLogger("matplotlib").setLevel(logging.WARNING)
