"""Reports for people: what the experts of a model do, training curves, and the summaries and tables
of runs.

``experts/`` analyses a model on a text, ``page/`` writes the HTML file.
"""
