"""What the experts of a trained model do on a text: counts, contexts, information, sentences.

``analyse`` streams over the text and returns the content of a report, in plain types of JSON.
"""
