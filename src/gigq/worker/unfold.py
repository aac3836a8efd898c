"""The two jobs behind ``Workflow.map``: one adds a job for each item of a list, the other gathers their results.

A list may be long, so the first adds some of its items, and a copy of itself for those that follow.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from itertools import islice
from types import SimpleNamespace
from typing import Any

import msgspec

from gigq import codec, ids, limits, posting, timing
from gigq.clock import SYSTEM
from gigq.control import Fail
from gigq.errors import InvalidJob
from gigq.job import Job
from gigq.newjob import NewJob
from gigq.worker.context import ParentJob, current_job
from gigq.worker.growing import Growth

_UNFOLD = f"{__name__}.unfold"
_GATHER = f"{__name__}.gather"
_AT_ONCE = 1000
"""Jobs that are added by one run."""
_BYTES = 1024 * 1024
"""Of their params, about."""


def jobs_of(each: Job, param: str | None) -> tuple[Job, Job]:
    """The two jobs of a map.

    Args:
        each: what is run for each item, with the params that all have.
        param: the one by which an item is passed; None for the first of the function that is left.

    Raises:
        InvalidJob: there is none, or all have it already; or ``each`` cannot be accepted.
    """
    name = _param_of(each, param)
    params = {
        "item": posting.as_template(each),
        "param": name,
        "times": timing.as_json(each),
        "bounds": limits.as_json(each.limit, f"map: job {each.name!r}: "),
    }
    first = Job(
        f"{each.name}: unfold",
        _UNFOLD,
        params,
        priority=each.priority,
        queue=each.queue,
        pass_parent_results=False,
        on_parent_failure="wait" if each.on_parent_failure == "wait" else "cancel",
    )
    last = Job(
        each.name,
        _GATHER,
        priority=each.priority,
        queue=each.queue,
        pass_parent_results=True,
        on_parent_failure=each.on_parent_failure,
    )
    return first, last


def _param_of(each: Job, param: str | None) -> str:
    if param is None and callable(each.function):
        taken = {*each.params, "parent_results"}
        for name, parameter in inspect.signature(each.function).parameters.items():
            if name not in taken and parameter.kind in (
                parameter.POSITIONAL_OR_KEYWORD,
                parameter.KEYWORD_ONLY,
            ):
                return name
    if not isinstance(param, str) or not param:
        raise InvalidJob(
            f"map: param: the name of the parameter by which {each.name!r} is passed an item is needed"
        )
    if param in each.params:
        raise InvalidJob(
            f"map: params: {param!r} is the parameter by which each item is passed; it cannot be given too"
        )
    return param


def unfold(
    item: dict[str, Any], param: str, times: dict[str, Any], bounds: list[dict[str, Any]], start: int = 0
) -> dict[str, Any]:
    """Add jobs for the items of the result of this job's parent.

    Args:
        item: the job of an item as it is inserted, whose params are those that all have.
        param: by which each item is passed.
        times: what is declared of when the jobs may start and must end, counted from when they are added.
        bounds: the limits of each, whose keys may name its params.
        start: the first item.

    Returns:
        How many ``items`` were added, and whether there are ``more``, which another run of this function adds.
    """
    job = current_job()
    bodies, more = _some(job.growth, next(job.parents), item["params"], param, start)
    if more:
        params = {**job.params, "start": start + len(bodies)}
        rest = Job(
            job.name,
            _UNFOLD,
            params,
            priority=item["priority"],
            queue=item["queue"],
            pass_parent_results=False,
        )
        rest.dependencies = [parent.id for parent in islice(job.parents, 1)]
        job.add(rest)
    made = _made_of(item, times, bounds)
    for place, body in enumerate(bodies, start):
        job.growth.add_row(made(place, body))
    return {"items": len(bodies), "more": more}


def _made_of(
    item: dict[str, Any], times: dict[str, Any], bounds: list[dict[str, Any]]
) -> Callable[[int, str], NewJob]:
    """Makes the job of an item of its place and its params."""
    declared: Any = SimpleNamespace(name=item["name"], **{**dict.fromkeys(timing.FIELDS), **times})
    each = {**item, "times": timing.times_of(declared, SYSTEM.now())}
    limit = [limits.Limit(**{**one, "rate": _rate(one["rate"])}) for one in bounds]

    def make(place: int, body: str) -> NewJob:
        name = f"{item['name']}[{place}]"
        shares = _shares(limit, body, name) if limit else None
        row = {**each, "id": ids.job_id(), "name": name, "params": body, "limits": shares}
        return msgspec.convert(row, NewJob)

    return make


def _some(growth: Growth, source: ParentJob, others: str, param: str, start: int) -> tuple[list[str], bool]:
    """The params of the next items, and whether there are more; what the items are made of is never decoded."""
    items = _items(source)
    end = f",{others[1:]}" if others != "{}" else "}"
    bodies: list[str] = []
    size = 0
    for item in items[start : start + _AT_ONCE]:
        body = f"{{{json.dumps(param)}:{item}{end}"
        if len(body.encode()) > growth.max_params:
            raise Fail(
                f"item {start + len(bodies)} of the result of {source.id}: its params take more than the limit of "
                f"{growth.max_params:,} bytes of JSON"
            )
        size += len(body)
        if size > _BYTES and bodies:
            break
        bodies.append(body)
    return bodies, start + len(bodies) < len(items)


def _rate(rate: Any) -> Any:
    return tuple(rate) if isinstance(rate, list) else rate


def _shares(limit: list[limits.Limit], body: str, name: str) -> list[limits.Share] | None:
    try:
        return limits.shares(limit, codec.decode(body), f"job {name!r}: ")
    except InvalidJob as error:
        raise Fail(str(error)) from None


def _items(source: ParentJob) -> list[str]:
    """The JSON texts of the items of a list, or of the [key, value] pairs of a dict."""
    text = source.result_text or "null"
    if text.startswith("["):
        return [bytes(item).decode() for item in msgspec.json.decode(text, type=list[msgspec.Raw])]
    if text.startswith("{"):
        pairs = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        return [f"[{json.dumps(key)},{bytes(value).decode()}]" for key, value in pairs.items()]
    raise Fail(
        f"map: the result of job {source.id}, which is mapped over, is neither a list nor a dict but {text:.100}. "
        "Let that job return a list."
    )


def gather(parent_results: dict[str, Any]) -> list[Any]:
    """The results of the items, in their order; None for one that did not complete.

    In front of the items of a run of :func:`unfold` stands that of the next one, if there is one.
    """
    results = iter(parent_results.values())
    gathered: list[Any] = []
    step = next(results, None)
    while step is not None:
        following = next(results, None) if step["more"] else None
        gathered += islice(results, step["items"])
        step = following
    return gathered
