"""The original's module of exceptions: the same names at the same place."""

from sharq.errors import BadArgumentException, JobConflict, SharqException

__all__ = ["BadArgumentException", "JobConflict", "SharqException"]
