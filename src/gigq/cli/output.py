"""Printing: data on stdout, talk on stderr. What comes from the database is hostile text until cleaned here."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any

import click

from gigq.log import harmless

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_ESCAPED = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_SEEN = str.maketrans({"\n": "\\n", "\t": "\\t"})
_LEAST = 16
"""Columns that a folding column gets at least."""
_UNBOUNDED = 1_000_000
"""Columns of a pipe: nothing is ever cut or folded there."""

_STYLES = {
    "pending": "yellow",
    "running": "cyan",
    "completed": "green",
    "failed": "red",
    "timeout": "red",
    "cancelled": "bright_black",
    "crashed": "red",
    "ok": "green",
    "warn": "yellow",
    "bad": "bold red",
}


def one_line(value: object) -> str:
    """Text of one line that cannot harm a terminal; newlines and tabs are spelled out."""
    return harmless(str(value)).translate(_SEEN)


class NobodyReads(Exception):
    """Stdout is a pipe that its reader has closed."""


def say(text: str = "", *, line: bool = True) -> None:
    """A line of data, or a piece of one."""
    try:
        click.echo(_spelled(text, sys.stdout), nl=line)
    except BrokenPipeError:
        raise NobodyReads from None  # which click would make an error


def complain(text: str) -> None:
    """A line that is not data: a refusal, a hint."""
    click.echo(_spelled(text, sys.stderr), err=True)


def as_json(value: Any, indent: int | None = 2) -> None:
    """Data for a program; without ``indent`` on one line.

    NaN and infinity, which old files may hold, become null: JSON has no word for them.
    """
    plain = not (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")
    try:
        text = json.dumps(value, ensure_ascii=plain, indent=indent, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=plain, indent=indent, allow_nan=False)
    say(_ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", text))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _spelled(text: str, stream: IO[str]) -> str:
    """What the stream's encoding lacks is spelled out, so that printing never fails."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def time(iso: str | None) -> str:
    """``2026-01-31 12:00:00`` in local time; ``-`` for none."""
    if not iso:
        return "-"
    from datetime import datetime

    try:
        return datetime.fromisoformat(iso).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return one_line(iso)


def size(number: int) -> str:
    """``1.2 MB``."""
    for unit, base in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= base:
            return f"{number / base:.1f} {unit}"
    return f"{number} bytes"


def console() -> Console:
    """Stdout as rich sees it: without a width in a pipe, without escapes where NO_COLOR asks for it."""
    from rich.console import Console

    plain = bool(os.environ.get("NO_COLOR"))
    return Console(
        file=sys.stdout,
        color_system=None if plain else "auto",
        width=None if is_terminal() else _UNBOUNDED,
        highlight=False,
        markup=False,
        emoji=False,
    )


def is_terminal() -> bool:
    """Whether a person sees stdout."""
    return sys.stdout.isatty()


def fields(pairs: Sequence[tuple[str, str]]) -> None:
    """``Key: value`` lines."""
    from rich.text import Text

    for key, value in pairs:
        shown = Text(f"{key}: ", style="bold")
        shown.append_text(Text(_spelled(one_line(value), sys.stdout), style=_STYLES.get(value, "")))
        _draw(console(), shown, soft_wrap=True)


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    numbers: Sequence[int] = (),
    folds: int | None = None,
    widest: int | None = None,
) -> None:
    """Aligned columns, without lines.

    Args:
        head: names of the columns; none for a table without.
        rows: their texts, cleaned already where they may hold newlines.
        numbers: columns to align at the right.
        folds: the column that gives way in a narrow terminal; no other does.
        widest: columns that it takes at most.
    """
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", show_header=bool(head))
    needed = 0
    for place in range(len(rows[0])):
        drawn.add_column(
            head[place] if head else "",
            justify="right" if place in numbers else "left",
            overflow="fold",
            no_wrap=place != folds,
            max_width=widest if place == folds else None,
        )
        cells = [row[place] for row in (head, *rows) if row]
        natural = max(cell_len(line) for cell in cells for line in cell.split("\n"))
        needed += 2 + (min(natural, widest or _LEAST) if place == folds else natural)
    for row in rows:
        cells = [_spelled(harmless(cell), sys.stdout) for cell in row]
        drawn.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in cells))
    out = console()
    # In a narrower terminal the terminal breaks the lines, which harms less than narrow columns.
    out.width = max(out.width, needed)
    _draw(out, drawn)


def _draw(out: Console, what: RenderableType, *, soft_wrap: bool = False) -> None:
    with out.capture() as captured:
        out.print(what, soft_wrap=soft_wrap)
    shown = captured.get().removesuffix("\n")
    say(shown if is_terminal() else "\n".join(line.rstrip() for line in shown.split("\n")))
