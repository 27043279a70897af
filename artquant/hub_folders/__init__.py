"""Folders for the hub: weights with the code that scores by them, for transformers alone."""
