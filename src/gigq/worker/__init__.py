"""Workers: take leases, run calls, settle accounts."""

from gigq.worker.context import current_job
from gigq.worker.worker import Worker

__all__ = ["Worker", "current_job"]
