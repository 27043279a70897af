"""Whether a training run fits into the memory there is, found out without weights and without a GPU."""
