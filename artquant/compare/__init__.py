"""Comparison of predictors over the same pictures: which is better, and by how much more than chance."""
