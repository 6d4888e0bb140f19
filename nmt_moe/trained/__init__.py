"""Trained models: how one is opened, on which device, and what it is."""
