"""Reading and writing files that a crash leaves whole."""
