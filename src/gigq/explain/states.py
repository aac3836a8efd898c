"""A job that nothing keeps, one that runs, and one that has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gigq.clock import to_iso
from gigq.explain.words import Reason, attempts, counted, first_line, moment, span, start_one
from gigq.queues import OTHERS

if TYPE_CHECKING:
    from gigq.store.explaining import Facts


def ready(facts: Facts, _now: int) -> Reason:
    queue = facts.job["queue"]
    alive = [worker for worker in facts.workers if worker.alive is not False]
    serving = [worker for worker in alive if worker.serves is None or {queue, OTHERS} & set(worker.serves)]
    ahead, most = facts.ahead or 0, facts.queue.concurrency
    told = {
        "queue": queue,
        "ahead": ahead,
        "running": facts.running,
        "concurrency": most,
        "workers": [worker.worker_id for worker in serving],
    }
    if not alive:
        return Reason("no worker", "It is ready, and no worker is running.", "Start one: gigq worker.", told)
    if not serving:
        text = f"It is ready, and none of the workers ({len(alive)}) serves its queue {queue!r}."
        return Reason("no worker", text, f"Start one that does: gigq worker --queues {queue}.", told)
    if most is not None and facts.running >= most:
        text = f"It is ready, but its queue {queue!r} runs as many jobs as it may: {facts.running} of {most}"
        text += f"; {_first(facts, ahead)} first." if ahead else "."
        return Reason("full", text, f"To let more run at once: gigq queue limit {queue} {most + 1}.", told)
    others = f"{counted(facts.running, 'job')} of its queue {_verb(facts.running, 'run')} at {counted(len(serving), 'worker')}"
    if not ahead:
        text = f"It is ready and the next of its queue, while {others}: it is started when one is free."
        return Reason("waiting", text, "", told)
    text = f"It is ready, and {_first(facts, ahead)} first, while {others}."
    return Reason("waiting", text, "It need not wait so long with more workers, or a higher priority.", told)


def _first(facts: Facts, ahead: int) -> str:
    about = "about " if facts.queue.ageing is not None else ""  # priorities rise with time
    return f"{about}{_many(ahead)} of queue {facts.job['queue']!r} {_verb(ahead, 'come')}"


def _verb(number: int, verb: str) -> str:
    return f"{verb}s" if number == 1 else verb


def _many(ahead: int) -> str:
    from gigq.store.explaining import MANY

    return f"{MANY:,} jobs or more" if ahead >= MANY else counted(ahead, "job")


def running(facts: Facts, now: int) -> Reason:
    job = facts.job
    worker = next((one for one in facts.workers if one.number == job["worker"]), None)
    since = job["started_at"] or job["updated_at"]
    told = {
        "since": to_iso(since),
        "worker_id": job["worker_id"],
        "worker_alive": worker.alive if worker else None,
        "attempt": job["attempts"] + 1,
        "asked_to_stop": bool(job["asked_to_stop"]),
    }
    text = (
        f"It runs since {moment(since)} ({span(now - since)}), attempt {job['attempts'] + 1} of "
        f"{job['max_attempts']}, at worker {job['worker_id'] or 'unknown'}{_progress(facts)}"
    )
    if worker is not None and worker.alive is False:
        text += "; but that worker is dead."
        return Reason(
            "running", text, start_one(facts) or "Another worker takes the job over in a moment.", told
        )
    if job["asked_to_stop"]:
        return Reason("running", f"{text}; it is asked to stop.", "", told)
    return Reason("running", f"{text}.", "", told)


def _progress(facts: Facts) -> str:
    if facts.progress is None or facts.progress[0] != facts.job["runs"] + 1:
        return ""
    _, done, total, message, _ = facts.progress
    how_far = f"{done:.15g}" if total is None else f"{done:.15g} of {total:.15g}"
    return f"; it has done {how_far}" + (f" ({message})" if message else "")


def ended(facts: Facts, _now: int) -> Reason:
    job = facts.job
    status, job_id = job["status"], job["id"]
    told = {"ended": to_iso(job["completed_at"]), "attempts": job["attempts"], "error": job["error"]}
    at = moment(job["completed_at"])
    if status == "completed":
        return Reason(status, f"It has completed at {at}.", f"Its result: gigq result {job_id}.", told)
    anew = f"Start it anew: gigq requeue {job_id}."
    if status == "cancelled":
        why = f": {first_line(facts)}" if job["error"] else "."
        parent = job["cancelled_for_id"]
        if parent is not None:
            anew = f"Start that anew, and this one comes back with it: gigq requeue {parent}."
        return Reason(status, f"It was cancelled at {at}{why}", anew, {**told, "parent": parent})
    how = "failed" if status == "failed" else "ran out of time"
    return Reason(status, f"It {how} at {at} after {attempts(facts)}: {first_line(facts)}", anew, told)
