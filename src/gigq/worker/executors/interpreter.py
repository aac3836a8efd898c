"""The command that starts a child: the interpreter of its worker, with the options and the packages that that one has."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import msgspec

_SWITCHES = {
    "B": "dont_write_bytecode",
    "E": "ignore_environment",
    "I": "isolated",
    "O": "optimize",
    "S": "no_site",
    "b": "bytes_warning",
    "s": "no_user_site",
}
"""Those of the command line that say how code runs, and their names in ``sys.flags``."""


def command(*words: str) -> list[str]:
    """Runs :func:`gigq.worker.child.main` with these words on its command line.

    It finds gigq, and what a child of gigq needs, where this process has found them, before it hears of the rest of
    ``sys.path``: a script may have made that up itself. The standard library goes first, as what else lies beside
    them must not stand in for it; so does ``-P``, for what lies in the working directory.
    """
    run = f"import sys; sys.path[:0] = {_path()!r}; from gigq.worker.child import main; main()"
    return [sys.executable, "-P", *_options(), "-c", run, *words]


def _options() -> list[str]:
    """``-O``, ``-W``, ``-X`` and their like, as this process was given them."""
    switches = [letter * int(getattr(sys.flags, name)) for letter, name in _SWITCHES.items()]
    extended = [key if value is True else f"{key}={value}" for key, value in sys._xoptions.items()]
    return [
        *(f"-{switch}" for switch in switches if switch),
        *(f"-W{warning}" for warning in sys.warnoptions),
        *(word for option in extended for word in ("-X", option)),
    ]


def _path() -> list[str]:
    standard = [entry for entry in sys.path if _is_standard(entry)]
    needed = [str(Path(__file__).parents[3]), str(Path(msgspec.__file__).parents[1])]
    return [*standard, *dict.fromkeys(needed)]


def _is_standard(entry: str) -> bool:
    name = Path(entry).name
    zipped = f"python{sys.version_info.major}{sys.version_info.minor}.zip"
    return (
        entry in (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
        or name == "lib-dynload"
        or name == zipped
    )
