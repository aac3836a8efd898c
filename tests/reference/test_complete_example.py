"""The complete usage example of the reference, run as a script with its functions in an unguarded __main__."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from processes import run, start, wait_until

from gigq import JobQueue

SCRIPT = """\
import time
from gigq import Job, JobQueue, Worker, Workflow, JobStatus

# Define job functions
def download_data(url):
    print(f"Downloading data from {url}")
    time.sleep(1)  # Simulate work
    return {"downloaded": True, "url": url, "bytes": 1024}

def process_data(downloaded_info):
    print(f"Processing data from {downloaded_info['url']}")
    time.sleep(2)  # Simulate work
    return {"processed": True, "records": 42}

def generate_report(processing_result):
    print(f"Generating report for {processing_result['records']} records")
    time.sleep(1)  # Simulate work
    return {"report_generated": True, "pages": 5}

# Create a job queue
queue = JobQueue("example.db")

# Create a workflow
workflow = Workflow("data_pipeline")

# Define jobs
download_job = Job(
    name="download_data",
    function=download_data,
    params={"url": "https://example.com/data.csv"}
)

process_job = Job(
    name="process_data",
    function=process_data,
    params={"downloaded_info": {"url": "https://example.com/data.csv", "bytes": 1024}}
)

report_job = Job(
    name="generate_report",
    function=generate_report,
    params={"processing_result": {"records": 42}}
)

# Add jobs to workflow with dependencies
workflow.add_job(download_job)
workflow.add_job(process_job, depends_on=[download_job])
workflow.add_job(report_job, depends_on=[process_job])

# Submit all jobs
job_ids = workflow.submit_all(queue)
print(f"Submitted {len(job_ids)} jobs")

# Create a worker and process jobs
worker = Worker("example.db")

# Process jobs one at a time
for _ in range(3):
    if worker.process_one():
        print("Processed one job")
    else:
        print("No jobs available")

    # Check status of all jobs
    for job_id in job_ids:
        status = queue.get_status(job_id)
        print(f"Job {status['name']}: {status['status']}")
"""

PRINTED = """\
Submitted 3 jobs
Downloading data from https://example.com/data.csv
Processed one job
Job download_data: completed
Job process_data: pending
Job generate_report: pending
Processing data from https://example.com/data.csv
Processed one job
Job download_data: completed
Job process_data: completed
Job generate_report: pending
Generating report for 42 records
Processed one job
Job download_data: completed
Job process_data: completed
Job generate_report: completed
"""

DONE_BY_ANOTHER = """\
Downloading data from https://example.com/data.csv
Processing data from https://example.com/data.csv
Generating report for 42 records
"""

RESULTS = [
    {"downloaded": True, "url": "https://example.com/data.csv", "bytes": 1024},
    {"processed": True, "records": 42},
    {"report_generated": True, "pages": 5},
]

QUICK = SCRIPT.replace("time.sleep(", "time.sleep(0 * ")
SUBMITS, WORKS = QUICK.split("# Create a worker and process jobs\n")


def results(folder: Path) -> list[object]:
    queue = JobQueue(folder / "example.db", initialize=False)
    return [queue.get_result(row["id"]) for row in reversed(queue.list_jobs())]


def submit_as_script(folder: Path, text: str = SUBMITS) -> str:
    """Run the example in its folder, up to the submission unless told."""
    folder.mkdir(exist_ok=True)
    (folder / "example.py").write_text(text)
    return run("example.py", cwd=folder)


def test_it_prints_what_the_reference_implementation_prints(tmp_path: Path) -> None:
    assert submit_as_script(tmp_path, SCRIPT) == PRINTED
    assert results(tmp_path) == RESULTS


def test_it_can_be_run_again(tmp_path: Path) -> None:
    assert submit_as_script(tmp_path, QUICK) == PRINTED
    assert submit_as_script(tmp_path, QUICK) == PRINTED
    assert results(tmp_path) == RESULTS * 2


ONE = "import sys; from gigq import Worker; print(Worker(sys.argv[1]).process_one())"
ALL = "import sys; from gigq import Worker; w = Worker(sys.argv[1])\nwhile w.process_one(): pass"


@pytest.mark.parametrize(
    "text", [SUBMITS, QUICK.replace("range(3)", "range(0)")], ids=["submits", "and works"]
)
def test_a_worker_in_another_process_and_another_folder_does_the_work(tmp_path: Path, text: str) -> None:
    """It loads the script up to its submission: nothing is submitted, worked or created again."""
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert submit_as_script(home, text) == "Submitted 3 jobs\n"
    assert run("-c", ALL, str(home / "example.db"), cwd=elsewhere) == DONE_BY_ANOTHER
    assert results(home) == RESULTS
    assert list(elsewhere.iterdir()) == []
    assert JobQueue(home / "example.db").stats() == {
        "pending": 0,
        "running": 0,
        "completed": 3,
        "failed": 0,
        "cancelled": 0,
        "timeout": 0,
        "total": 3,
    }


def test_each_job_may_be_done_by_a_process_of_its_own(tmp_path: Path) -> None:
    submit_as_script(tmp_path)
    printed = [run("-c", ONE, "example.db", cwd=tmp_path) for _ in range(4)]
    assert printed == [f"{line}\nTrue\n" for line in DONE_BY_ANOTHER.splitlines()] + ["False\n"]
    assert results(tmp_path) == RESULTS


def test_a_worker_that_runs_beside_the_script_shares_the_work(tmp_path: Path) -> None:
    connection = JobQueue(tmp_path / "example.db")._get_connection()
    beside = start("from gigq import Worker; Worker('example.db').start()", cwd=tmp_path)
    wait_until(lambda: connection.execute("SELECT * FROM worker").fetchall(), "the worker has its place")
    submit_as_script(tmp_path, QUICK)
    wait_until(lambda: results(tmp_path) == RESULTS, "all jobs are done")
    beside.terminate()
    _, err = beside.communicate(timeout=60)
    assert (beside.returncode, err) == (0, "")
    assert JobQueue(tmp_path / "example.db").stats()["total"] == 3


@pytest.mark.skipif(find_spec("gigq.cli") is None, reason="there is no command line yet")
def test_gigq_worker_once_does_the_work(tmp_path: Path) -> None:
    submit_as_script(tmp_path)
    for line in DONE_BY_ANOTHER.splitlines():
        out = run("-m", "gigq", "worker", "--db", "example.db", "--once", cwd=tmp_path)
        assert line in out
        assert "Processed one job." in out
    out = run("-m", "gigq", "worker", "--db", "example.db", "--once", cwd=tmp_path)
    assert "No jobs available to process." in out
    assert results(tmp_path) == RESULTS


@pytest.mark.skipif(find_spec("gigq.cli") is None, reason="there is no command line yet")
def test_gigq_worker_does_the_work_until_it_is_told_to_stop(tmp_path: Path) -> None:
    submit_as_script(tmp_path)
    worker = subprocess.Popen(
        [sys.executable, "-m", "gigq", "worker", "--db", "example.db"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    wait_until(lambda: results(tmp_path) == RESULTS, "all jobs are done")
    worker.terminate()
    out, _ = worker.communicate(timeout=60)
    assert worker.returncode == 0
    assert out.startswith("Starting worker worker-")
