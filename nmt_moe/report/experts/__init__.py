"""The analysis of a model's experts on a text: counts, contexts, information, sentences.

``analyse`` streams over the text and returns the content of a report as plain JSON types.
"""
