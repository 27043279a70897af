"""Two-stage training on the trainer of transformers."""
