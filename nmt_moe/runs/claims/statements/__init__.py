"""What is said of the results, as objects: ``results/claims.toml``, tested on the logs.

A claim compares cells of a grid with another one. Its verdict is one of three words and follows
from the logs; its sentences stand under a verdict and take every figure from them.
"""
