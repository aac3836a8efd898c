"""``python -m benchmarks.child module:function '{"folder": ...}'``: one sample in a fresh process, as JSON on stdout.

Runs under the peer's interpreter too, so it imports nothing but the standard library.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parent.parent
_MARK = "sample: "


class SampleFailed(Exception):
    """The process of a sample ended badly; what it said is the message."""


def start(function: str, arguments: dict[str, Any], python: str = sys.executable) -> subprocess.Popen[str]:
    """Begin a sample in a process of its own."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    if python != sys.executable:
        environment.pop("PYTHONPATH", None)  # it might lead another gigq there
    return subprocess.Popen(
        [python, "-m", "benchmarks.child", function, json.dumps(arguments)],
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answer(process: subprocess.Popen[str], timeout: float = 1800) -> Any:
    """What the function returned.

    Raises:
        SampleFailed: it did not return.
    """
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as late:
        process.kill()
        process.communicate()
        raise SampleFailed(f"took longer than {timeout:,.0f} s") from late
    line = out.rstrip().rpartition("\n")[2]
    if process.returncode != 0 or not line.startswith(_MARK):
        raise SampleFailed(f"ended with {process.returncode}\n{out}{err}")
    return json.loads(line.removeprefix(_MARK))


def main() -> None:
    module, _, name = sys.argv[1].partition(":")
    found = getattr(importlib.import_module(module), name)(**json.loads(sys.argv[2]))
    if dataclasses.is_dataclass(found) and not isinstance(found, type):
        found = dataclasses.asdict(found)
    print(f"{_MARK}{json.dumps(found)}", flush=True)


if __name__ == "__main__":
    main()
