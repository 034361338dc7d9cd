"""SharQ: a rate-limited job queue. Its queues are created by their first job."""

from importlib.metadata import version

from sharq._fastpath import Batch, Job
from sharq.aio import AsyncSharQ
from sharq.client import SharQ
from sharq.embedded.store import EmbeddedStore, ServerLock
from sharq.results import REMOVE, JobError, NewJob
from sharq.settings.reading import Settings
from sharq.store.wakeups import Watcher
from sharq.worker.job import Discard, LeasedJob, Retry, Throttled
from sharq.worker.worker import Worker

__version__ = version("sharq")

__all__ = [
    "REMOVE",
    "AsyncSharQ",
    "Batch",
    "Discard",
    "EmbeddedStore",
    "Job",
    "JobError",
    "LeasedJob",
    "NewJob",
    "Retry",
    "ServerLock",
    "Settings",
    "SharQ",
    "Throttled",
    "Watcher",
    "Worker",
    "__version__",
]

# A class is named by the path that users import it from, wherever it is defined.
for _exported in (
    *(AsyncSharQ, SharQ, Settings, EmbeddedStore, ServerLock, Watcher),
    *(Worker, LeasedJob, Discard, Retry, Throttled),
):
    _exported.__module__ = __name__
