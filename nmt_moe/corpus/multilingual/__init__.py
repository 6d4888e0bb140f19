"""Several pairs of languages as one corpus, for one model that translates them all."""
