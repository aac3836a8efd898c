"""The words of every event, in one place; records carry job_id, job_name, attempt and worker_id."""

from __future__ import annotations

import logging
import re

_root = logging.getLogger("gigq")
_root.addHandler(logging.NullHandler())
queue = logging.getLogger("gigq.queue")
worker = logging.getLogger("gigq.worker")

_FORMAT = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"


_HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
"""Control characters but tab and newline, and those that turn the direction of writing."""


def harmless(text: str) -> str:
    """Text from the database as a terminal may see it: names, errors and values are anybody's."""
    storable = text.replace("\r\n", "\n").encode("utf-8", "backslashreplace").decode()
    return _HARMFUL.sub("", storable)


class _OurFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return harmless(super().format(record))


class _OurHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Tells the handler of setup_logging from the application's own."""


def setup_logging(level: int = logging.INFO) -> None:
    """Show gigq's log on stderr; called again, it only changes the level."""
    _root.setLevel(level)
    for handler in _root.handlers:
        if isinstance(handler, _OurHandler):
            _root.removeHandler(handler)
    handler = _OurHandler()
    handler.setFormatter(_OurFormatter(_FORMAT))
    _root.addHandler(handler)


def submitted(job_id: str, name: str) -> None:
    queue.info("Job submitted: %s (%s)", job_id, name, extra={"job_id": job_id, "job_name": name})


def submitted_many(count: int) -> None:
    queue.info("Jobs submitted: %d", count)


def not_submitted(name: str, other: str) -> None:
    queue.info("Job not submitted: %s: job %s has its unique key", name, other, extra={"job_id": other})


def not_submitted_many(count: int) -> None:
    queue.info("Jobs not submitted, since others have their unique keys: %d", count)


def cancelled(job_id: str) -> None:
    queue.info("Job cancelled: %s", job_id, extra={"job_id": job_id})


def asked_to_stop(job_id: str) -> None:
    queue.info("Job asked to stop: %s", job_id, extra={"job_id": job_id})


def not_cancelled(job_id: str) -> None:
    queue.warning("Job not cancelled: %s is not pending", job_id, extra={"job_id": job_id})


def requeued(job_id: str) -> None:
    queue.info("Job requeued: %s", job_id, extra={"job_id": job_id})


def not_requeued(job_id: str, reason: str) -> None:
    queue.warning("Job not requeued: %s: %s", job_id, reason, extra={"job_id": job_id})


def scheduled(name: str, *, new: bool) -> None:
    queue.info("Schedule %s: %s", "added" if new else "changed", name, extra={"schedule": name})


def schedule_fired(name: str, job_id: str, tick: str) -> None:
    worker.info("Schedule %s: job %s for %s", name, job_id, tick, extra={"schedule": name, "job_id": job_id})


def schedule_skipped(name: str, tick: str, why: str) -> None:
    worker.info("Schedule %s: no job for %s (%s)", name, tick, why, extra={"schedule": name})


def schedule_refused(name: str, error: str) -> None:
    worker.error("Schedule %s: no job could be made: %s", name, error, extra={"schedule": name})


def paused(name: str, reason: str | None) -> None:
    queue.info("Queue paused: %s%s", name, f" ({reason})" if reason else "", extra={"queue": name})


def resumed(name: str) -> None:
    queue.info("Queue resumed: %s", name, extra={"queue": name})


def shared_folder(path: str, kind: str) -> None:
    queue.warning(
        "%s lies on a shared folder (%s): kept with a rollback journal, which is slower, and for one host only",
        path,
        kind,
    )


def _of_run(job_id: str, name: str, attempt: int, worker_id: str) -> dict[str, object]:
    return {"job_id": job_id, "job_name": name, "attempt": attempt, "worker_id": worker_id}


def worker_started(worker_id: str, concurrency: int) -> None:
    worker.info("Worker %s started (concurrency %d)", worker_id, concurrency, extra={"worker_id": worker_id})


def worker_stopping(worker_id: str) -> None:
    worker.info("Worker %s stopping", worker_id, extra={"worker_id": worker_id})


def worker_clogged(worker_id: str, hanging: int) -> None:
    worker.warning(
        "Worker %s: %d threads hang in runs that were given up; it stops when the others have finished",
        worker_id,
        hanging,
        extra={"worker_id": worker_id},
    )


def worker_stopped(worker_id: str) -> None:
    worker.info("Worker %s stopped", worker_id, extra={"worker_id": worker_id})


def worker_waits_for_store(worker_id: str, error: BaseException) -> None:
    worker.warning(
        "Worker %s cannot write; claiming pauses until it can: %s",
        worker_id,
        error,
        extra={"worker_id": worker_id},
    )


def started(job_id: str, name: str, attempt: int, worker_id: str) -> None:
    worker.info("Job started: %s (%s)", job_id, name, extra=_of_run(job_id, name, attempt, worker_id))


def completed(job_id: str, name: str, attempt: int, worker_id: str, seconds: float) -> None:
    extra = _of_run(job_id, name, attempt, worker_id)
    worker.info("Job completed: %s (%s) in %.3f s", job_id, name, seconds, extra=extra)


def failed(job_id: str, name: str, attempt: int, worker_id: str, error: str) -> None:
    extra = _of_run(job_id, name, attempt, worker_id)
    worker.error("Job failed: %s (%s): %s", job_id, name, error, extra=extra)


def will_retry(job_id: str, name: str, attempt: int, worker_id: str, error: str, seconds: float) -> None:
    first = error.partition("\n")[0]
    extra = _of_run(job_id, name, attempt, worker_id)
    worker.warning(
        "Job will be retried: %s (%s) in %g s after attempt %d: %s",
        job_id,
        name,
        seconds,
        attempt,
        first,
        extra=extra,
    )


def not_repeated(job_id: str, name: str, attempt: int, worker_id: str, verdict: str, error: str) -> None:
    first = error.partition("\n")[0]
    extra = _of_run(job_id, name, attempt, worker_id)
    worker.warning("Job not tried again: %s (%s): %s; %s", job_id, name, verdict, first, extra=extra)


def snoozed(job_id: str, name: str, attempt: int, worker_id: str, seconds: float) -> None:
    extra = _of_run(job_id, name, attempt, worker_id)
    worker.info("Job snoozed: %s (%s) for %g s", job_id, name, seconds, extra=extra)


def timed_out(job_id: str, name: str, attempt: int, worker_id: str, seconds: float) -> None:
    extra = _of_run(job_id, name, attempt, worker_id)
    worker.warning("Job timed out: %s (%s) after %g s", job_id, name, seconds, extra=extra)


def cancelled_run(job_id: str, name: str, attempt: int, worker_id: str) -> None:
    extra = _of_run(job_id, name, attempt, worker_id)
    worker.info("Job cancelled while it ran: %s (%s)", job_id, name, extra=extra)


def rescued(job_id: str, name: str, attempt: int, worker_id: str, reason: str) -> None:
    extra = _of_run(job_id, name, attempt, worker_id)
    worker.warning("Job rescued: %s (%s): %s", job_id, name, reason, extra=extra)


def lease_lost(job_id: str, name: str, attempt: int, worker_id: str) -> None:
    extra = _of_run(job_id, name, attempt, worker_id)
    worker.warning(
        "Lease lost: the late end of a run of %s (%s) was refused; another run, or its end, stands",
        job_id,
        name,
        extra=extra,
    )


def held(job_id: str, name: str, worker_id: str, reason: str) -> None:
    extra = {"job_id": job_id, "job_name": name, "worker_id": worker_id}
    worker.warning("Job held: %s (%s): %s", job_id, name, reason, extra=extra)
