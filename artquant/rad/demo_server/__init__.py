"""A chat server that answers for the demo's pictures, without a network or a GPU: what was drawn is known."""
