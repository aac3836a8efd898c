"""Functions of workflows, of graphs that grow, and of maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jobs

from gigq import Job, current_job, task


@task
def numbers(n: int) -> list[int]:
    return list(range(n))


@task
def repeated(text: str, times: int) -> list[str]:
    return ["short", text * times]


@task
def value(of: Any) -> Any:
    return of


@task
def double(item: int, plus: int = 0) -> int:
    return 2 * item + plus


@task
def total(parent_results: dict[str, Any]) -> Any:
    return list(parent_results.values())


@task(max_attempts=1)
def broken() -> None:
    raise ValueError("it broke")


@task(max_attempts=1)
def broken_until(path: str) -> str:
    """Fail until there is a file."""
    if not Path(path).exists():
        raise ValueError("no file")
    return "mended"


@task(max_attempts=1)
def all_but_three(item: int) -> int:
    if item == 3:
        raise ValueError("three")
    return item


@task(max_attempts=1, on_parent_failure="run")
def all_but_three_kept(item: int) -> int:
    if item == 3:
        raise ValueError("three")
    return item


@task
def how_all_ended() -> dict[str, int]:
    ends: dict[str, int] = {}
    for parent in current_job().parents:
        ends[str(parent.status)] = ends.get(str(parent.status), 0) + 1
    return ends


def grow(values: list[Any]) -> str:
    """Add a job for each, each waiting for the one before."""
    before: list[Job] = []
    for one in values:
        before = [current_job().add_task(value, {"of": one}, depends_on=before)]
    return "grown"


async def grow_async(values: list[Any]) -> str:
    return grow(values)


def grow_and_fail(path: str, times: int = 10) -> str:
    """Add a job, and fail so many times, counted in a file."""
    current_job().add_task(value, {"of": "added"})
    jobs.append(path, "run")
    if len(Path(path).read_text().splitlines()) <= times:
        raise ValueError("after it was added")
    return "grown"


def grow_a_bad_one() -> None:
    current_job().add_task(broken)


def visit(item: dict[str, str], cost: int) -> str:
    return item["host"] * cost


def grow_unique(key: str) -> str:
    current_job().add(Job("unique", jobs.nothing, unique_key=key))
    return "grown"


def grow_below(parents: list[str]) -> list[str]:
    """Add a job below some ids; what was refused, and how."""
    job = Job("below", jobs.nothing, dependencies=parents)
    try:
        current_job().add(job)
    except ValueError as error:
        return [type(error).__name__, str(error)]
    return [job.id]


def grow_below_me() -> None:
    current_job().add(Job("below", jobs.merge, dependencies=[current_job().id]))


def grow_many(n: int) -> list[str]:
    """Add so many; how that was refused."""
    for number in range(n):
        try:
            current_job().add(Job(f"{number}", jobs.nothing))
        except ValueError as error:
            return [str(number), type(error).__name__, str(error)]
    return []


def grow_large(n: int, size: int) -> list[str]:
    for number in range(n):
        try:
            current_job().add(Job(f"{number}", jobs.echo, {"value": "x" * size}))
        except ValueError as error:
            return [str(number), str(error)]
    return []


def grow_wrongly() -> list[str]:
    """What is refused, in its order; nothing is added."""
    told = []
    twice = Job("twice", jobs.nothing)
    unstorable = Job("unstorable", jobs.echo, {"value": object()})
    nested = Job("nested", lambda: None)
    add, add_task = current_job().add, current_job().add_task
    wrong: Any = (
        lambda: [add(twice), add(twice)],
        lambda: add(unstorable),
        lambda: add(nested),
        lambda: add(value),  # type: ignore[arg-type]
        lambda: add_task(jobs.nothing),  # type: ignore[arg-type]
        lambda: add(Job("below", jobs.nothing), depends_on=twice),  # type: ignore[arg-type]
    )
    for attempt in wrong:
        try:
            attempt()
        except (TypeError, ValueError) as error:
            told.append(f"{type(error).__name__}: {error}")
    return told


def grow_in_generations(left: int) -> int:
    """Add itself, with one less."""
    if left:
        current_job().add(Job(f"generation {left - 1}", grow_in_generations, {"left": left - 1}))
    return left
