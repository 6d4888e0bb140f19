"""Small models of each release, kept so that later versions open them.

``python -m tests.reliability.old`` makes those of this version, once, for its release.
"""
