"""Faults on purpose, the history of what happened under them, and its check."""
