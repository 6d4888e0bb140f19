"""Losses: cross entropy, and what the paper adds to it for the experts' gates."""
