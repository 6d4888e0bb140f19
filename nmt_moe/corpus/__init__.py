"""Text for training: parallel corpora and text in one language, each with its command line."""
