"""The figures as Markdown, and their place in BENCHMARKS.md."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

from benchmarks.report import number, verdict
from benchmarks.runner import Measured, Series

BEGIN = "<!-- figures: written by `make bench ARGS=--publish`, not by hand -->"
END = "<!-- end of the figures -->"


def page(machine: dict[str, Any], form: str, runs: int, everything: list[Measured]) -> str:
    """All figures, each with its range, its share of the bare loop, and what it promises."""
    told = ", ".join(
        f"{key.replace('_', ' ')} {value}" for key, value in machine.items() if value is not None
    )
    blocks = [
        f"{told}. The {form} form, {runs} runs each, or fewer of what takes long: medians, and the range of the runs."
    ]
    blocks += ["\n".join(_workload(measured)) for measured in everything]
    return "\n\n".join(blocks) + "\n"


def put_into(text: str, figures: str) -> str:
    """The text with new figures between the marks.

    Raises:
        ValueError: it has no marks.
    """
    before, found, rest = text.partition(BEGIN)
    _, found_too, after = rest.partition(END)
    if not found or not found_too:
        raise ValueError(f"the marks {BEGIN!r} and {END!r} are not there")
    return f"{before}{BEGIN}\n\n{figures}\n{END}{after}"


def _workload(measured: Measured) -> Iterable[str]:
    yield f"### {measured.workload.name}"
    yield ""
    yield f"{_escaped(measured.workload.about)}."
    if any(series.samples for series in measured.series):
        yield ""
        yield "| figure | who | median | range | of the bare loop | to reach |"
        yield "|---|---|---:|---:|---:|---|"
        yield from _rows(measured)
    yield ""
    for series in measured.series:
        yield f"- {_promise(series)}"


def _rows(measured: Measured) -> Iterable[str]:
    for quantity in measured.workload.quantities:
        first = True
        for series in measured.series:
            values = series.values(quantity.key)
            if not values:
                continue
            ratios = measured.ratios(series, quantity)
            cells = [
                quantity.title if first else "",
                series.contender.who,
                f"{number(statistics.median(values))} {quantity.unit}".rstrip(),
                f"{number(min(values))} - {number(max(values))}",
                number(statistics.median(ratios)) if ratios else "",
                verdict(measured, quantity) if series is measured.series[0] else "",
            ]
            first = False
            yield f"| {' | '.join(_escaped(cell) for cell in cells)} |"


def _promise(series: Series) -> str:
    told = f"**{series.contender.who}**: {_escaped(series.contender.promise)}"
    if series.skipped:
        return f"{told}. _{_escaped(series.skipped)}_"
    if series.trouble:
        return f"{told}. _Failed: {_escaped(series.trouble.strip().rpartition(chr(10))[2])}_"
    exact = next((sample.exact for sample in reversed(series.samples) if sample.exact), None)
    return f"{told}. Exact: {exact}" if exact else told


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
