"""Sentences: prompts, questions, descriptions, and what gives a score away."""
