"""``nmt-moe claims search``: which settings of a training are best, by validation alone.

A search has a folder with

- ``search.json``: the space of settings that it was made with, checksums of its data, the machine;
- ``data/N``: links to a folder of binarised data, without the test sets that it may hold;
- ``trained/SETTING-SEED``: the checkpoints of a training, and ``RUNG.log``, all that each of its
  rungs printed between marks of this package. The logs alone say what is done, and how well;
- ``tried.jsonl``, ``tried.md``: the table that is made of them.
"""
