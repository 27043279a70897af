"""Drawn demonstration paintings with known aesthetic attributes, for trying the whole system without any download."""
