"""The phrasebook: parallel English-German and English-French made on this machine.

Sentence templates in three languages have slots; a slot draws one value (a date, a country, a
number, a word from a small table) and writes it in every language. ``generate.build`` makes the
splits, ``files.write`` writes them, and ``python -m nmt_moe.corpus.phrasebook`` does both.
"""
