"""The phrasebook: parallel text made on this machine.

Sentence templates in English, German and French have slots; a slot draws one value (a date, a
country, a number, a word from a small table) and writes it in every language. ``generate.build``
makes the splits of the sentences. ``labels`` has what needs no grammar (dates, amounts, lists of
names) in every language that CLDR knows well, and ``pairs.build_pairs`` the text of any two
languages. ``files.write`` writes the splits, and ``nmt-moe corpus phrasebook`` does all.
"""
