"""Scores over HTTP: one batching queue, JSON and the wire formats of clients in use, a page for people."""
