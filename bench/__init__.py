"""Benchmarks of SharQ: ``python -m bench``; see README.md."""
