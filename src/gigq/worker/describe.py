"""Words for what went wrong in a job: errors and values, however hostile they are when looked at."""

from __future__ import annotations

import traceback
from collections.abc import Callable

_LONGEST_ERROR = 64 * 1024
_LONGEST_REPR = 100 * 1024
_OURS = __file__.replace("describe.py", "")


def error(raised: BaseException) -> str:
    """``ValueError: text``, then the traceback, without the frames of this package; capped, and safe to store.

    Whatever a hostile exception does when it is looked at, this returns.
    """
    text = f"{_first_line(raised)}\n\n{_told(lambda: _traceback(raised), 'its traceback')}"
    return storable(text[:_LONGEST_ERROR])[:_LONGEST_ERROR]


def value(shown: object) -> str:
    """The ``repr`` of a value, capped, and safe to store."""
    return storable(_told(lambda: repr(shown), "it")[:_LONGEST_REPR])[:_LONGEST_REPR]


def name(kind: type) -> str:
    """That of a class, without asking its metaclass."""
    found: str = type.__dict__["__qualname__"].__get__(kind)
    return found


def storable(text: str) -> str:
    """Text that every engine stores: no lone surrogates, no NUL."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


def _first_line(raised: BaseException) -> str:
    kind = type(raised)
    named = _told(lambda: f"{kind.__module__}.{name(kind)}", "its name").removeprefix("builtins.")
    text = _told(lambda: str(raised), "it")
    return f"{named}: {text}" if text else named


def _traceback(raised: BaseException) -> str:
    frame = raised.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename.startswith(_OURS):
        frame = frame.tb_next
    return "".join(traceback.format_exception(type(raised), raised, frame))


def _told(tell: Callable[[], str], what: str) -> str:
    try:
        return str.__str__(tell())  # a subclass of str would go on being hostile
    except BaseException as worse:  # noqa: BLE001 - it must not end the worker
        return f"({what} cannot be shown: {name(type(worse))})"
