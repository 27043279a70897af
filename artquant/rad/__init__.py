"""Refined aesthetic descriptions: collected from chat models, judged against human scores (ArtQuant, section 3.1)."""
