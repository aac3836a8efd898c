"""The user's own code: found from the working directory first, as with ``python -m``."""

from __future__ import annotations

import contextlib
import importlib
import sys
from pathlib import Path
from typing import Any

from gigq.cli import output


class CannotImport(Exception):
    """The message says why."""


def search_working_directory() -> None:
    """Put it first on sys.path; what gigq itself needs comes before, so that no ``queue.py`` in it stands in for that."""
    import uuid_utils  # noqa: F401

    import gigq.admin  # noqa: F401

    with contextlib.suppress(OSError):  # a working directory that was deleted
        here = str(Path.cwd())
        if sys.path[:1] != [here]:
            sys.path.insert(0, here)


def import_module(name: str) -> Any:
    """Import a module of the user's.

    Raises:
        CannotImport: it is not there, or raises while it is imported.
    """
    search_working_directory()
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise CannotImport(_told(error)) from error


def import_function(path: str) -> Any:
    """What ``module.function`` names.

    Raises:
        CannotImport: there is no such thing.
    """
    module_name, _, name = path.rpartition(".")
    if not module_name or not name:
        raise CannotImport("A function is named module.function, such as mymodule.myfunction.")
    module = import_module(module_name)
    try:
        return getattr(module, name)
    except AttributeError:
        raise CannotImport(f"The module {module_name} has no {name}.") from None


def complain(path: str, reason: CannotImport) -> None:
    """The refusal, and what to try."""
    output.complain(f"Error: Could not import {output.one_line(path)}")
    output.complain(output.one_line(reason))
    output.complain(
        "Modules are looked for in the working directory first: run gigq in your project's folder."
    )


def _told(error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, ImportError | SyntaxError):
        return text
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    if frame is None:
        return text
    return f"{text} ({frame.tb_frame.f_code.co_filename}, line {frame.tb_lineno})"
