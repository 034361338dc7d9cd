"""The original's module of the queue: the same name at the same place."""

from sharq.client import SharQ

__all__ = ["SharQ"]
