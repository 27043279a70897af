"""Comparison of predicted with human scores: joining by id, figures with intervals, report."""
