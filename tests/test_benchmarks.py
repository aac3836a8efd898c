"""The benchmarks run, and notice when a job is lost. How fast anything is, is not asked here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parent.parent


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)


def sample(function: str, folder: Path, **arguments: Any) -> dict[str, Any]:
    """What one contender measured."""
    process = run("benchmarks.child", function, json.dumps({"folder": str(folder), **arguments}))
    assert process.returncode == 0, process.stderr
    found: dict[str, Any] = json.loads(process.stdout.rpartition("sample: ")[2])
    return found


def test_the_workloads_that_the_plan_names_are_listed() -> None:
    listed = run("benchmarks", "--list")
    assert listed.returncode == 0, listed.stderr
    for name in (
        "drain",
        "submit-full",
        "submit-bulk",
        "depth",
        "graph",
        "reads",
        "contention",
        "idle",
        "import",
    ):
        assert name in listed.stdout


def test_an_unknown_workload_is_refused_by_name() -> None:
    refused = run("benchmarks", "nonsense")
    assert refused.returncode == 1
    assert "nonsense" in refused.stderr


def test_every_contender_names_a_function_that_exists() -> None:
    code = (
        "import importlib\n"
        "from benchmarks.workloads import all_of_them\n"
        "for quick in (True, False):\n"
        "    for workload in all_of_them(quick=quick):\n"
        "        for contender in workload.contenders:\n"
        "            module, _, name = contender.function.partition(':')\n"
        "            assert callable(getattr(importlib.import_module(module), name)), contender\n"
    )
    checked = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("drain:plain", {"count": 300, "threads": 2}),
        ("drain:beside_a_spinning_job", {"count": 50}),
        ("drain:bare", {"count": 300}),
        ("submit:one_by_one", {"count": 20, "durability": "normal"}),
        ("submit:bare_one_by_one", {"count": 20, "durability": "normal"}),
        ("submit:bulk", {"count": 300}),
        ("submit:bare_bulk", {"count": 300, "array": True}),
        ("graph:through_api", {"branches": 2, "width": 20}),
        ("graph:bare", {"branches": 2, "width": 20}),
    ],
)
def test_a_small_sample_delivers_every_job_once(
    function: str, arguments: dict[str, Any], tmp_path: Path
) -> None:
    found = sample(f"benchmarks.workloads.{function}", tmp_path, **arguments)
    assert all(value > 0 for value in found["values"].values())
    assert "jobs" in found["exact"]


def test_the_backlogs_of_the_depth_workload_are_as_they_are_called(tmp_path: Path) -> None:
    (tmp_path / "sample").mkdir()
    found = sample(
        "benchmarks.workloads.depth:claims", tmp_path / "sample", backlog=2000, claims=20, batches=2
    )
    assert "220 claims in each" in found["exact"]


def test_a_lost_job_is_noticed(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from benchmarks import api, exact\n"
        "api.submit(api.open_queue(sys.argv[1]), api.make_jobs(3))\n"
        "exact.check(sys.argv[1], 3)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "jobs.db")]
    checked = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert checked.returncode == 1
    assert "NotExact: 3 submitted: 3 jobs, 0 completed" in checked.stderr
