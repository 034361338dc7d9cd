"""SharQ: a rate-limited job queue whose queues come into being with their first job."""

from importlib.metadata import version

from sharq._fastpath import Batch, Job
from sharq.aio import AsyncSharQ
from sharq.client import SharQ
from sharq.config import Settings
from sharq.embedded import EmbeddedStore, ServerLock
from sharq.results import NewJob

__version__ = version("sharq")

__all__ = [
    "AsyncSharQ",
    "Batch",
    "EmbeddedStore",
    "Job",
    "NewJob",
    "ServerLock",
    "Settings",
    "SharQ",
    "__version__",
]
