"""Typed configuration: schema, loading, saving."""
