"""A new process in place of this one: the only way to be rid of threads that hang."""

from __future__ import annotations

import contextlib
import os
import sys

from gigq.cli import exits, output


class Wanted(Exception):
    """The message says why."""

    def __init__(self, reason: str, directory: str | None) -> None:
        super().__init__(reason)
        self.directory = directory
        """Where this process was started; a job may have gone elsewhere since."""


def working_directory() -> str | None:
    """None if it was deleted."""
    try:
        return os.getcwd()  # noqa: PTH109 - as text
    except OSError:
        return None


def in_place(wanted: Wanted, *, is_own_process: bool) -> int:
    """Run the same command anew, under the same process id; an exit code if that cannot be."""
    output.complain(f"Error: {output.one_line(wanted)}")
    if not is_own_process or os.name != "posix":  # elsewhere exec ends the process for whoever waits for it
        return exits.REFUSED
    output.complain("The worker starts anew in place, as it was started.")
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    try:
        if wanted.directory is not None:
            os.chdir(wanted.directory)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - what we were started with
    except OSError as error:
        output.complain(f"It could not: {output.one_line(error)}")
        return exits.REFUSED
