"""Networks: one folder for each family, and their checkpoints."""
