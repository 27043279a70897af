"""Small programs to begin from."""
