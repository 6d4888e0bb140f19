"""Coverage-guided fuzzing of the code that reads text and archives.

``python -m tests.reliability.fuzz`` tries inputs that atheris makes of those in :mod:`.inputs`, and
of those that reached new code, on each function of :mod:`.targets`. What makes one fail belongs
into :mod:`.inputs`, which every run of the tests replays.
"""
