"""What a child's interpreter has of its worker's: the options, and the packages without which it cannot begin."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from processes import PATIENCE

import gigq

pytestmark = pytest.mark.skipif(os.name != "posix", reason="child processes need a POSIX system")

SEEN = """
import sys

def seen():
    import gigq, msgspec
    flags = {name: getattr(sys.flags, name) for name in dir(sys.flags) if not name.startswith("_")}
    for name in ("count", "index", "safe_path"):  # methods of the tuple; -P is the child's own
        flags.pop(name)
    return {
        "debug": __debug__, "flags": flags, "warnings": sys.warnoptions, "extended": sys._xoptions,
        "homes": [gigq.__file__, msgspec.__file__],
    }
"""
WORKS = """
import json, sys, threading, time
{first}
import seen
from gigq import Job, JobQueue, Worker

if __name__ == "__main__":
    queue = JobQueue("jobs.db")
    job = queue.submit(Job("seen", seen.seen, max_attempts=1))
    worker = Worker(queue, executor="process", polling_interval=0.01)
    thread = threading.Thread(target=worker.start)
    thread.start()
    while thread.is_alive() and queue.get_status(job)["status"] in ("pending", "running"):
        time.sleep(0.01)
    worker.stop()
    thread.join()
    print(json.dumps([seen.seen(), queue.get_result(job)]))
"""


def here_and_in_a_child(
    folder: Path, *options: str, first: str = ""
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a program sees that is started with these options, and what a job of its worker does."""
    (folder / "seen.py").write_text(SEEN)
    (folder / "works.py").write_text(textwrap.dedent(WORKS).format(first=first))
    words = [sys.executable, *options, "works.py"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    here, there = json.loads(done.stdout)
    assert there is not None, done.stderr
    return here, there


def test_a_child_has_the_options_of_its_workers_interpreter(tmp_path: Path) -> None:
    letters = ["-OO", "-B", "-b", "-s", "-W", "error::UserWarning:seen", "-W", "ignore::ImportWarning"]
    extended = ["-X", "dev", "-X", "utf8=1", "-X", "int_max_str_digits=5000"]
    here, there = here_and_in_a_child(tmp_path, *letters, *extended)
    # Those that an option brings along by itself are there twice.
    here["warnings"], there["warnings"] = (list(dict.fromkeys(seen["warnings"])) for seen in (here, there))
    assert there == here
    assert not here["debug"]
    assert set(here["extended"]) == {"dev", "utf8", "int_max_str_digits"}


def test_a_child_finds_what_only_the_path_of_a_script_leads_to(tmp_path: Path) -> None:
    """Without site-packages and PYTHONPATH; what else lies there does not stand in for the standard library."""
    vendor = tmp_path / "vendor"
    vendor.mkdir()
    for package in ("msgspec", "uuid_utils"):
        (vendor / package).symlink_to(Path(importlib.import_module(package).__path__[0]))
    (vendor / "gigq").symlink_to(Path(gigq.__file__).parent)
    for name in ("queue", "selectors", "socket"):
        (vendor / f"{name}.py").write_text("raise RuntimeError('the wrong one')\n")
    first = f"sys.path.append({str(vendor)!r})"
    here, there = here_and_in_a_child(tmp_path, "-S", "-E", first=first)
    assert there == here
    assert all(home.startswith(str(vendor)) for home in there["homes"])
