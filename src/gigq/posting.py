"""Jobs on their way into the tables: everything that can be refused is refused here, before anything is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gigq import callables, codec, ids, labels, limits, timing, unique
from gigq.clock import from_iso, from_seconds, to_iso
from gigq.errors import InvalidJob, InvalidValue
from gigq.job import Job

if TYPE_CHECKING:
    from gigq.newjob import NewJob


def moment(text: str, what: str, job: Job | None = None) -> int:
    """Microseconds UTC of a caller's timestamp."""
    try:
        return from_iso(text)
    except (ValueError, TypeError, OverflowError):
        whose = f"job {job.name!r}: " if job else ""
        raise InvalidJob(
            f"{whose}{what}: an ISO 8601 time such as 2026-01-31T12:00:00 is needed, not {text!r:.100}"
        ) from None


def rows(jobs: list[Job], max_params: int, now: int) -> list[NewJob]:
    """Jobs as they are inserted at a moment (microseconds UTC).

    Raises:
        InvalidJob: naming the job and its field.
    """
    from gigq.newjob import NewJob

    if len(jobs) == 1:
        [job] = jobs
        _check(job)
        return [_row(NewJob, job, callables.refer(job.function), max_params, now)]
    references: dict[int, tuple[Any, callables.Reference]] = {}
    """By the identity of the function, which is kept with it: many jobs have few of them."""
    made = []
    for job in jobs:
        _check(job)
        function = job.function
        known = references.get(id(function))
        if known is None:
            known = references[id(function)] = (function, callables.refer(function))
        made.append(_row(NewJob, job, known[1], max_params, now))
    return made


def template(job: Job, max_params: int) -> str:
    """A job as a schedule keeps it, to be posted again and again: JSON of its row, its times counted from 0.

    Raises:
        InvalidJob: naming the field.
    """
    import msgspec

    job.created_at = to_iso(0)
    [row] = rows([job], max_params, 0)
    row.id = ""
    return msgspec.json.encode(row).decode()


def from_template(text: str, at: int, now: int) -> NewJob:
    """A new job of a template, whose times count from ``at``.

    Raises:
        InvalidJob: this version of gigq cannot read it.
    """
    import msgspec

    from gigq.newjob import NewJob

    try:
        row = msgspec.json.decode(text, type=NewJob)
    except msgspec.MsgspecError as error:
        raise InvalidJob(f"its job cannot be read: {error}. Declare the schedule again.") from error
    row.id, row.created_at, row.times = ids.job_id(), now, row.times.counted_from(at)
    return row


def as_template(job: Job) -> dict[str, Any]:
    """A job as it is inserted, in plain values: others are made of it, each with an id, params, times and limits.

    Raises:
        InvalidJob: naming the job and its field.
    """
    import copy

    import msgspec

    plain = copy.copy(job)
    plain.run_at = plain.delay = plain.expires = plain.deadline = plain.limit = None
    row = rows([plain], codec.MAX_PARAMS, 0)[0]
    if row.unique is not None:
        raise InvalidJob(
            f"job {job.name!r}: unique: jobs that are made of one cannot be unique, each would be the other"
        )
    template: dict[str, Any] = msgspec.to_builtins(row)
    return template


def check_name(name: Any) -> None:
    """InvalidJob for what cannot be the name of a workflow."""
    try:
        stored = isinstance(name, str) and bool(name) and "\x00" not in name and name.encode()
    except UnicodeEncodeError:
        stored = False
    if not stored:
        raise InvalidJob(f"name: a workflow's is text without NUL, not {name!r:.100}")


def _check(job: Job) -> None:
    if not isinstance(job, Job):
        raise InvalidJob(
            f"submit: a Job is needed, not {type(job).__name__}; a @task has .submit(queue, ...)"
        )
    job.check()


def _row(new: type[NewJob], job: Job, reference: callables.Reference, max_params: int, now: int) -> NewJob:
    """A job as the tables have it; everything that can be refused is refused here."""
    dependencies = list(dict.fromkeys(job.dependencies)) if job.dependencies else []
    row = new(
        id=job.id,
        queue=job.queue,
        priority=job.priority,
        name=job.name,
        module=reference.module,
        function=reference.name,
        script=reference.script,
        dependencies=dependencies,
        on_parent_failure=job.on_parent_failure,
        pass_parent_results=None if job.pass_parent_results is None else int(job.pass_parent_results),
        wants_parents=_wants_parents(job) if dependencies else 0,
        is_async=None if isinstance(job.function, str) else int(callables.is_async(job.function)),
        max_attempts=job.max_attempts,
        max_crashes=job.max_crashes,
        timeout=None if job.timeout is None else max(1, from_seconds(job.timeout)),
        retry_delay=from_seconds(job.retry_delay) if job.retry_delay else 0,
        description=job.description,
        created_at=moment(job.created_at, "created_at", job),
        params=_params(job, max_params),
        retry=job.retry_policy(),
        times=timing.times_of(job, now),
        limits=None if job.limit is None else limits.shares(job.limit, job.params, f"job {job.name!r}: "),
    )
    if job.unique is not None or job.unique_key is not None:
        _unique(row, job, reference, now)
    if job.tags is not None or job.metadata is not None:
        row.tags, row.metadata = labels.stored(job.tags, job.metadata)
    return row


def _params(job: Job, limit: int) -> str:
    try:
        return codec.encode(job.params, "params", limit)
    except InvalidValue as error:
        raise InvalidValue(f"job {job.name!r}: {error}") from error


def _unique(row: NewJob, job: Job, reference: callables.Reference, now: int) -> None:
    """Note what makes it unique, and when it runs if it is debounced."""
    from gigq.newjob import NewUnique

    found = unique.declared(job)
    if found is None:
        return
    key, rules = found
    period = None if rules.period is None else max(1, from_seconds(rules.period))
    if rules.on_conflict == "debounce" and period is not None:
        row.times = timing.put_off(job, row.times, now + period)
        period = None
    row.unique = NewUnique(key or _key(job, reference), rules.listed, period, rules.on_conflict)


def _key(job: Job, reference: callables.Reference) -> str:
    """The function, and a digest of the params in which the order of names does not matter."""
    from hashlib import blake2b

    digest = blake2b(codec.canonical(job.params), digest_size=16).hexdigest()
    return f"{reference.script or reference.module}.{reference.name}:{digest}"


def _wants_parents(job: Job) -> int | None:
    """Decided here where the function is at hand; None leaves it to the worker."""
    if job.pass_parent_results is not None:
        return int(job.pass_parent_results)
    if isinstance(job.function, str):
        return None
    return int(callables.accepts_parent_results(job.function))
