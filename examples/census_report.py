"""What the census found, drawn: tables for the terminal, one self-contained page for a browser.

Nothing here knows about jobs. `Report` is plain JSON; `render` returns what rich prints, `page` returns HTML whose
chart is SVG drawn here: no script, no font, nothing fetched from anywhere.
"""

from __future__ import annotations

import re
from collections import Counter
from html import escape
from math import sqrt
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TOP = 12
SHOWN = 8
"""Rows of a ranking: on the page, and on the terminal."""


SMALLEST = 8.5
"""Letters on the map; what does not fit is told by a tooltip."""


class Longest(TypedDict):
    """The longest function of a module."""

    name: str
    line: int
    lines: int


class Facts(TypedDict):
    """What is known about one module."""

    module: str
    file: str
    lines: int
    code: int
    functions: int
    methods: int
    async_functions: int
    classes: int
    longest: Longest | None
    imports: list[str]


class Failure(TypedDict):
    """A module that could not be analysed."""

    module: str
    error: str


class Report(TypedDict):
    """The whole census."""

    title: str
    totals: dict[str, int]
    imported: dict[str, int]
    modules: list[Facts]
    failures: list[Failure]


class Row(NamedTuple):
    """One line of a ranking: a name, its number, and what stands small beneath."""

    name: str
    number: int
    note: str = ""


class Box(NamedTuple):
    """A rectangle of the map."""

    x: float
    y: float
    width: float
    height: float


LABELS = {
    "modules": "modules",
    "code": "lines of code",
    "classes": "classes",
    "functions": "functions",
    "methods": "methods",
    "async_functions": "async functions",
}


def largest(report: Report) -> list[Row]:
    """The modules with the most lines of code."""
    top = sorted(report["modules"], key=lambda facts: -facts["code"])[:TOP]
    return [Row(f["module"], f["code"], plural(f["functions"] + f["methods"], "function")) for f in top]


def longest(report: Report) -> list[Row]:
    """The longest functions, at most one of each module."""
    found = [facts["longest"] for facts in report["modules"]]
    rows = [Row(f"{fn['name']}()", fn["lines"], f"line {fn['line']}") for fn in found if fn]
    return sorted(rows, key=lambda row: -row.number)[:TOP]


def imported(report: Report) -> list[Row]:
    """The modules that most others import."""
    return [Row(name, count) for name, count in Counter(report["imported"]).most_common(TOP)]


def plural(count: int, noun: str) -> str:
    """`1 class`, `2 classes`."""
    ending = "" if count == 1 else "es" if noun.endswith("s") else "s"
    return f"{count:,} {noun}{ending}"


# --- terminal -----------------------------------------------------------------------------------------------


def render(report: Report) -> Group:
    """Everything the terminal shows."""
    totals = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for label in LABELS.values():
        totals.add_column(label)
    totals.add_row(*(f"{report['totals'][key]:,}" for key in LABELS), style="bold cyan")
    parts: list[Table | Text] = [
        Text(report["title"], style="bold"),
        totals,
        _table("Largest modules", "lines of code", largest(report)),
        _table("Longest functions", "lines", longest(report)),
        _table("Most imported", "by modules", imported(report)),
    ]
    if report["failures"]:
        table = Table(
            title="Could not be analysed",
            title_justify="left",
            title_style="bold red",
            box=None,
            padding=(0, 2, 0, 0),
        )
        table.add_column("module", overflow="fold")
        table.add_column("why", style="red", overflow="fold")
        for failure in report["failures"]:
            table.add_row(Text(failure["module"]), Text(failure["error"]))
        parts.append(table)
    return Group(*(piece for part in parts for piece in (part, Text())))


def _table(title: str, unit: str, rows: list[Row]) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=None,
        header_style="dim",
        padding=(0, 2, 0, 0),
    )
    table.add_column("", overflow="fold")
    table.add_column("", style="blue", no_wrap=True)
    table.add_column(unit, justify="right", style="cyan")
    table.add_column("", style="dim")
    most = max((row.number for row in rows), default=1)
    for row in rows[:SHOWN]:
        table.add_row(
            Text(row.name), "▇" * max(1, round(12 * row.number / most)), f"{row.number:,}", Text(row.note)
        )
    return table


# --- browser ------------------------------------------------------------------------------------------------


def page(report: Report) -> str:
    """The report as one HTML page."""
    tiles = "".join(
        f"<div><dt>{label}</dt><dd>{report['totals'][key]:,}</dd></div>" for key, label in LABELS.items()
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(report["title"])}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{escape(report["title"])}</h1>
<p>Each module was read by a job of its own; one last job added them up.</p>
<dl class="tiles">{tiles}</dl>
</header>
<main>
<section>
<h2>Where the code is</h2>
<p class="key"><span class="package"></span> package <span class="single"></span> single file
<small>Area is lines of code.</small></p>
{_treemap(report["modules"], "wide", Box(0, 0, 960, 520))}
{_treemap(report["modules"], "tall", Box(0, 0, 400, 600))}
</section>
<div class="rankings">
{_ranking("Largest modules", "lines of code", largest(report))}
{_ranking("Longest functions", "lines, the longest of each module", longest(report))}
{_ranking("Most imported", "modules that import it", imported(report))}
</div>
{_failures(report["failures"])}
{_everything(report["modules"])}
</main>
<footer>Lines of code are neither blank nor comment nor docstring. Made with GigQ.</footer>
</body>
</html>
"""


def _treemap(modules: list[Facts], name: str, box: Box) -> str:
    sizes: Counter[str] = Counter()
    files: Counter[str] = Counter()
    for facts in modules:
        package = facts["module"].partition(".")[0]
        sizes[package] += facts["code"]
        files[package] += 1
    ranked = [(package, size) for package, size in sizes.most_common() if size]
    places = squarify([size for _, size in ranked], box)
    drawn = "".join(
        _tile(place, package, size, "package" if files[package] > 1 else "single")
        for place, (package, size) in zip(places, ranked, strict=True)
    )
    return (
        f'<svg class="map {name}" viewBox="0 0 {box.width:g} {box.height:g}" role="img" '
        f'aria-label="Map of the packages by lines of code">{drawn}</svg>'
    )


def _tile(box: Box, label: str, size: int, kind: str) -> str:
    font = min(24.0, max(11.0, sqrt(box.width * box.height) / 7), (box.width - 10) / (0.62 * len(label)))
    words = ""
    if font >= SMALLEST and font * 1.7 < box.height:
        words = f'<text x="{box.x + 6:.1f}" y="{box.y + 4 + font:.1f}" font-size="{font:.1f}">{escape(label)}</text>'
        if 1.15 * font + 20 < box.height and box.width > 48:
            words += (
                f'<text class="size" x="{box.x + 6:.1f}" y="{box.y + 17 + 1.15 * font:.1f}">{size:,}</text>'
            )
    gap = min(1.0, box.width / 6, box.height / 6)
    return (
        f'<g class="{kind}"><title>{escape(label)}: {plural(size, "line")} of code</title>'
        f'<rect x="{box.x + gap:.1f}" y="{box.y + gap:.1f}" rx="{2 * gap:.1f}" '
        f'width="{box.width - 2 * gap:.1f}" height="{box.height - 2 * gap:.1f}"/>{words}</g>'
    )


def squarify(sizes: Sequence[float], box: Box) -> list[Box]:
    """Divide a box by sizes (largest first, none zero) into rectangles as near to squares as they go.

    The squarified treemap of Bruls, Huizing and van Wijk: fill the short side with a row, and close the row when one
    more rectangle would make its worst one longer.
    """
    placed: list[Box] = []
    x, y, width, height = box
    while len(placed) < len(sizes):
        rest = sizes[len(placed) :]
        scale = width * height / sum(rest)
        side = min(width, height)
        row, worst = 1, _worst(rest[:1], scale, side)
        while row < len(rest) and (longer := _worst(rest[: row + 1], scale, side)) <= worst:
            row, worst = row + 1, longer
        depth = sum(rest[:row]) * scale / side
        along = 0.0
        for size in rest[:row]:
            length = size * scale / depth
            upright = height <= width
            placed.append(Box(x, y + along, depth, length) if upright else Box(x + along, y, length, depth))
            along += length
        if height <= width:
            x, width = x + depth, width - depth
        else:
            y, height = y + depth, height - depth
    return placed


def _worst(row: Sequence[float], scale: float, side: float) -> float:
    depth = sum(row) * scale / side
    return max(max(depth * depth / (size * scale), size * scale / (depth * depth)) for size in row)


def _ranking(title: str, unit: str, rows: Iterable[Row]) -> str:
    rows = list(rows)
    most = max((row.number for row in rows), default=1)
    items = "".join(
        f"<li><span><code>{_breakable(row.name)}</code><b>{row.number:,}</b></span>"
        f'<svg class="bar" width="100%" height="6" aria-hidden="true">'
        f'<rect width="100%" height="6" rx="3"/><rect class="of" width="{100 * row.number / most:.2f}%" height="6" rx="3"/>'
        f"</svg>{f'<small>{escape(row.note)}</small>' if row.note else ''}</li>"
        for row in rows
    )
    return f"<section><h2>{title}</h2><p><small>{unit}</small></p><ol>{items}</ol></section>"


def _breakable(name: str) -> str:
    return re.sub(r"([._]+)(?=[^\W_])", r"\1<wbr>", escape(name))


def _failures(failures: list[Failure]) -> str:
    if not failures:
        return ""
    items = "".join(
        f"<li><code>{escape(f['module'])}</code><small>{escape(f['error'])}</small></li>" for f in failures
    )
    return f'<section class="failures"><h2>Could not be analysed</h2><ul>{items}</ul></section>'


def _everything(modules: list[Facts]) -> str:
    columns = list(LABELS.items())[1:]
    head = "".join(f'<th scope="col">{label}</th>' for _, label in columns)
    rows = "".join(
        f'<tr><th scope="row"><code>{escape(facts["module"])}</code></th>'
        + "".join(f"<td>{facts[key]:,}</td>" for key, _ in columns)  # type: ignore[literal-required]
        + "</tr>"
        for facts in modules
    )
    return (
        f"<details><summary>All {plural(len(modules), 'module')}</summary><div class='scroll'><table>"
        f'<thead><tr><th scope="col">module</th>{head}</tr></thead><tbody>{rows}</tbody></table></div></details>'
    )


STYLE = """
:root { --paper: #fbfaf7; --ink: #23262b; --soft: #666b73; --line: #e5e1d8; --bar: #7d9fbe; --red: #a8433a;
  --package: #c8d8e6; --on-package: #1e3448; --single: #e8e0cf; --on-single: #4b4230; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181b; --ink: #e3e2dd; --soft: #9a9d9f; --line: #2b2e32; --bar: #5b84a8;
  --red: #e08e84; --package: #2b4257; --on-package: #d8e6f2; --single: #3d382c; --on-single: #e3dbc6; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: clamp(1rem, 4vw, 3rem) clamp(1rem, 4vw, 2rem); background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: clamp(1.5rem, 5vw, 2.25rem); font-weight: 600; letter-spacing: -.02em; line-height: 1.15; margin: 0 0 .5rem; }
h2 { font-size: 1.05rem; font-weight: 600; margin: 0; }
p { margin: 0 0 .75rem; }
header p, small, footer, dt { color: var(--soft); }
small, footer { font-size: .8125rem; }
code { font: .875rem/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
b, dd, td { font-variant-numeric: tabular-nums; }
section, details { margin-top: 2.75rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(7.5rem, 1fr)); gap: 1rem 1.5rem; margin: 1.75rem 0 0;
  padding: 1.25rem 0; border: solid var(--line); border-width: 1px 0; }
dt { font-size: .8125rem; }
dd { margin: 0; font-size: 1.5rem; font-weight: 600; line-height: 1.2; }
.tiles div { display: flex; flex-direction: column-reverse; justify-content: flex-end; }
.key { display: flex; flex-wrap: wrap; gap: .25rem .5rem; align-items: center; margin-top: .25rem; font-size: .8125rem; color: var(--soft); }
.key span { width: .8rem; height: .8rem; border-radius: 3px; }
.key span + span, .key small { margin-left: .75rem; }
.key .package { background: var(--package); } .key .single { background: var(--single); }
.map { display: block; width: 100%; height: auto; }
.map.tall { display: none; }
.map text { font-family: system-ui, sans-serif; font-weight: 500; }
.map .size { font-size: 11px; font-weight: 400; opacity: .75; }
.package rect { fill: var(--package); } .package text { fill: var(--on-package); }
.single rect { fill: var(--single); } .single text { fill: var(--on-single); }
.rankings { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(17rem, 100%), 1fr)); column-gap: 2.5rem; }
ol, ul { list-style: none; margin: 0; padding: 0; }
li { margin-top: .7rem; }
li span { display: flex; justify-content: space-between; gap: 1rem; align-items: baseline; }
li b { font-weight: 600; font-size: .875rem; }
li small { display: block; overflow-wrap: anywhere; }
.bar { display: block; margin: .2rem 0; }
.bar rect { fill: var(--line); } .bar .of { fill: var(--bar); }
.failures { border-left: 3px solid var(--red); padding-left: 1rem; }
.failures h2 { color: var(--red); }
summary { cursor: pointer; font-weight: 600; }
.scroll { overflow-x: auto; margin-top: 1rem; }
table { border-collapse: collapse; width: 100%; font-size: .8125rem; }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid var(--line); font-weight: 400; }
th:first-child { text-align: left; padding-left: 0; }
thead th { color: var(--soft); white-space: nowrap; }
footer { margin-top: 3rem; padding-top: 1rem; border-top: 1px solid var(--line); }
@media (max-width: 44rem) { .map.wide { display: none; } .map.tall { display: block; max-width: 32rem; margin: 0 auto; } }
@media print { details { display: none; } }
"""
