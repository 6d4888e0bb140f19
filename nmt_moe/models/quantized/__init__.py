"""The parts of a translation model with weights in int8, for translating on CPUs.

Embeddings, LSTMs, attention, experts and the softmax of words are in int8, of which each output
channel (of an embedding each word) has a scale; gates, biases and cells stay in float32.
"""
