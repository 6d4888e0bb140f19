"""Translating files whose form stays: text, a column of TSV, subtitles, Markdown and HTML.

A form cuts a file into strings that stay and units that are translated (``parts``); ``translating``
gives the units to a model, and ``placing`` finds the places of their markup in the translations.
"""
