"""Scores as rewards for training image generators: a client of `artquant serve`, and the same callables in process."""
