"""SharQ: a rate-limited job queue whose queues come into being with their first job."""

from importlib.metadata import version

from sharq._fastpath import Batch, Job
from sharq.aio import AsyncSharQ
from sharq.client import SharQ
from sharq.config import Settings
from sharq.embedded import EmbeddedStore, ServerLock
from sharq.results import NewJob
from sharq.wakeups import Watcher
from sharq.worker import Worker
from sharq.worker_job import Discard, LeasedJob, Retry

__version__ = version("sharq")

__all__ = [
    "AsyncSharQ",
    "Batch",
    "Discard",
    "EmbeddedStore",
    "Job",
    "LeasedJob",
    "NewJob",
    "Retry",
    "ServerLock",
    "Settings",
    "SharQ",
    "Watcher",
    "Worker",
    "__version__",
]
