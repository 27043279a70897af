"""Attacks on the command line, by seeds. See docs/reliability.md."""
