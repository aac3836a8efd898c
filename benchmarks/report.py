"""The figures as a table on the terminal, and as JSON."""

from __future__ import annotations

import dataclasses
import statistics
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.plan import Quantity
from benchmarks.runner import Measured, Series


def number(value: float) -> str:
    """Three digits that mean something, no more."""
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    digits = 1 if size >= 10 else 2 if size >= 0.1 or value == 0 else 4
    return f"{value:.{digits}f}"


def table(measured: Measured, console: Console) -> None:
    """One workload; beneath it, what each figure promises and what was to be reached."""
    shown = Table(title=measured.workload.about, title_justify="left", title_style="bold")
    for heading in ("figure", "who"):
        shown.add_column(heading)
    for heading in ("median", "range", "of the bare loop"):
        shown.add_column(heading, justify="right")
    shown.add_column("unit")
    shown.add_column("to reach")
    for quantity in measured.workload.quantities:
        for series in measured.series:
            if values := series.values(quantity.key):
                shown.add_row(*_row(measured, quantity, series, values))
        shown.add_section()
    console.print(shown)
    for series in measured.series:
        _say_more(series, console)


def _row(measured: Measured, quantity: Quantity, series: Series, values: list[float]) -> list[str]:
    ratios = measured.ratios(series, quantity)
    return [
        quantity.title,
        series.contender.who,
        number(statistics.median(values)),
        f"{number(min(values))} - {number(max(values))}",
        f"{number(statistics.median(ratios))} ({number(min(ratios))} - {number(max(ratios))})"
        if ratios
        else "",
        quantity.unit,
        _verdict(measured, quantity) if series is measured.series[0] else "",
    ]


def _verdict(measured: Measured, quantity: Quantity) -> str:
    told = verdict(measured, quantity)
    return told.replace("reached", "[green]reached[/]").replace("missed", "[red]missed[/]")


def verdict(measured: Measured, quantity: Quantity) -> str:
    """What was to be reached, and whether it was."""
    wanted = []
    if quantity.reach is not None:
        wanted.append(f"{'>=' if quantity.higher_is_better else '<='} {number(quantity.reach)}")
    if quantity.of_floor is not None:
        wanted.append(f">= {quantity.of_floor:.2f} of the bare loop")
    reached = measured.reached(quantity)
    if reached is None:
        return ", ".join(wanted)
    return f"{'reached' if reached else 'missed'}: {', '.join(wanted)}"


def _say_more(series: Series, console: Console) -> None:
    who, promise = series.contender.who, series.contender.promise
    exact = next((sample.exact for sample in reversed(series.samples) if sample.exact), None)
    told = [f"{who}: {promise}"] if promise else [f"{who}:"]
    if exact:
        told.append(f"[dim]exact: {exact}[/]")
    console.print("  " + "; ".join(told), highlight=False)
    if series.skipped:
        console.print(f"  [yellow]{who}: {series.skipped}[/] {series.detail}", highlight=False)
    if series.trouble:
        console.print(f"  [red]{who}: no (more) samples: {series.trouble[-1500:]}[/]", highlight=False)


def as_json(machine: dict[str, Any], form: str, everything: list[Measured]) -> dict[str, Any]:
    """Every sample, so that others can compute what they like."""
    return {
        "machine": machine,
        "form": form,
        "workloads": [
            {
                "name": measured.workload.name,
                "about": measured.workload.about,
                "quantities": [
                    {**dataclasses.asdict(quantity), "reached": measured.reached(quantity)}
                    for quantity in measured.workload.quantities
                ],
                "series": [_series_as_json(measured, series) for series in measured.series],
            }
            for measured in everything
        ],
    }


def _series_as_json(measured: Measured, series: Series) -> dict[str, Any]:
    figures = {}
    for quantity in measured.workload.quantities:
        if values := series.values(quantity.key):
            ratios = measured.ratios(series, quantity)
            figures[quantity.key] = {
                "median": statistics.median(values),
                "least": min(values),
                "most": max(values),
                "of_floor": statistics.median(ratios) if ratios else None,
            }
    return {
        "who": series.contender.who,
        "promise": series.contender.promise,
        "arguments": series.contender.arguments,
        "skipped": series.skipped,
        "trouble": _last_line(series.trouble),
        "figures": figures,
        "samples": [dataclasses.asdict(sample) for sample in series.samples],
    }


def _last_line(trouble: str | None) -> str | None:
    """The error itself: what stands above it names paths."""
    return trouble.strip().rpartition("\n")[2] if trouble else None
