"""Functions: found again by other processes where that is possible, and held where it is not."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import Any

import pytest
from processes import PATIENCE, run, run_code, start, wait_until

from gigq import JobQueue, Worker

WORK = "import sys; from gigq import Worker; w = Worker(sys.argv[1])\nwhile w.process_one(): pass"


def script(folder: Path, text: str, name: str = "script.py") -> str:
    """Write a script and run it there."""
    (folder / name).write_text(textwrap.dedent(text))
    return run(name, cwd=folder)


def work(folder: Path, cwd: Path | None = None) -> str:
    """A worker in a process of its own."""
    return run_code(WORK, str(folder / "jobs.db"), cwd=cwd or folder)


def records(folder: Path) -> list[dict[str, Any]]:
    """All jobs, oldest first."""
    return JobQueue(folder / "jobs.db").list_jobs()[::-1]


# -- functions of the script itself ----------------------------------------------------------------------------


def test_a_function_of_the_script_is_stored_with_its_path(tmp_path: Path) -> None:
    script(
        tmp_path,
        """
        from gigq import Job, JobQueue
        def f():
            return __name__
        JobQueue("jobs.db").submit(Job("one", f))
        """,
    )
    (record,) = records(tmp_path)
    assert (record["function_module"], record["function_name"]) == ("__main__", "f")
    work(tmp_path)
    assert records(tmp_path)[0]["result"] == "__gigq_main__"


def test_in_the_process_of_the_script_itself_it_is_not_loaded_again(tmp_path: Path) -> None:
    out = script(
        tmp_path,
        """
        from gigq import Job, JobQueue, Worker
        print("loaded")
        def f():
            return __name__
        queue = JobQueue("jobs.db")
        job_id = queue.submit(Job("one", f))
        Worker("jobs.db").process_one()
        print(queue.get_result(job_id))
        """,
    )
    assert out == "loaded\n__main__\n"


@pytest.mark.parametrize(
    "line",
    [
        "f.submit(queue)",
        'queue.submit(Job("one", f))',
        'queue.submit_many([Job("one", f)])',
        'w = Workflow("w"); w.add_task(f); w.submit_all(queue)',
        'Worker("jobs.db").process_one()',
        'Worker("jobs.db").start()',
    ],
)
def test_whatever_submits_or_works_ends_the_load(tmp_path: Path, line: str) -> None:
    (tmp_path / "script.py").write_text(
        textwrap.dedent(
            f"""
            from gigq import Job, JobQueue, Worker, Workflow, task
            queue = JobQueue("other.db")
            @task
            def f():
                return "done"
            {line}
            raise SystemExit("the load went on")
            """
        )
    )
    queue = JobQueue(tmp_path / "jobs.db")
    run_code(
        """
        import __main__
        from gigq import Job, JobQueue
        def f(): pass
        __main__.__file__ = "script.py"
        JobQueue("jobs.db").submit(Job("one", f))
        """,
        cwd=tmp_path,
    )
    assert work(tmp_path) == ""
    assert queue.list_jobs()[0]["result"] == "done"
    assert not (tmp_path / "other.db").exists()


def test_a_guarded_script_is_loaded_without_its_guarded_part(tmp_path: Path) -> None:
    script(
        tmp_path,
        """
        from dataclasses import dataclass
        from gigq import JobQueue, task
        @dataclass
        class Point:
            x: int
        class Tools:
            @staticmethod
            def f(x):
                return Point(x)
        if __name__ == "__main__":
            from gigq import Job
            JobQueue("jobs.db").submit(Job("one", Tools.f, {"x": 3}))
        """,
    )
    assert work(tmp_path) == ""
    assert records(tmp_path)[0]["result"] == {"x": 3}


def test_modules_beside_the_script_are_found_from_any_folder(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    (home / "beside.py").write_text("def double(x): return 2 * x")
    script(
        home,
        """
        from gigq import JobQueue, task
        import beside
        @task
        def f(x):
            return beside.double(x)
        f.submit(JobQueue("jobs.db"), x=4)
        """,
    )
    work(home, cwd=elsewhere)
    assert records(home)[0]["result"] == 8


def test_two_scripts_with_the_same_names_do_not_mix(tmp_path: Path) -> None:
    text = """
        from gigq import JobQueue, task
        @task
        def f():
            return {word!r}
        f.submit(JobQueue("jobs.db"))
        """
    script(tmp_path, text.format(word="one"), "one.py")
    script(tmp_path, text.format(word="two"), "two.py")
    work(tmp_path)
    assert [record["result"] for record in records(tmp_path)] == ["one", "two"]


def test_a_script_that_raises_while_it_is_loaded_fails_the_attempt(tmp_path: Path) -> None:
    script(
        tmp_path,
        """
        from gigq import JobQueue, Job
        if __name__ != "__main__":
            raise RuntimeError("not without my arguments")
        def f(): pass
        JobQueue("jobs.db").submit(Job("one", f, max_attempts=1))
        """,
    )
    work(tmp_path)
    (record,) = records(tmp_path)
    assert (record["status"], record["attempts"]) == ("failed", 1)
    assert record["error"].startswith("RuntimeError: not without my arguments")


def test_a_script_that_is_gone_holds_its_jobs_until_it_is_back(tmp_path: Path) -> None:
    script(
        tmp_path,
        """
        from gigq import JobQueue, task
        @task
        def f():
            return "done"
        f.submit(JobQueue("jobs.db"))
        """,
    )
    (tmp_path / "script.py").rename(tmp_path / "gone.py")
    work(tmp_path)
    (record,) = records(tmp_path)
    assert (record["status"], record["held_by"], record["attempts"]) == ("pending", "import:__main__", 0)
    (tmp_path / "gone.py").rename(tmp_path / "script.py")
    work(tmp_path)
    assert records(tmp_path)[0]["result"] == "done"


# -- python -m -------------------------------------------------------------------------------------------------


def test_python_m_stores_the_real_name_of_the_module(tmp_path: Path) -> None:
    package = tmp_path / "pkg"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "mod.py").write_text(
        textwrap.dedent(
            """
            from gigq import JobQueue, task
            @task
            def f():
                return __name__
            if __name__ == "__main__":
                f.submit(JobQueue("jobs.db"))
            """
        )
    )
    run("-m", "pkg.mod", cwd=tmp_path)
    (record,) = records(tmp_path)
    assert (record["function_module"], record["function_name"]) == ("pkg.mod", "f")
    work(tmp_path)
    assert records(tmp_path)[0]["result"] == "pkg.mod"


# -- functions that only one process has -----------------------------------------------------------------------

TYPED = """
from gigq import Job, JobQueue, Worker
def f():
    return "typed"
queue = JobQueue("jobs.db")
job_id = queue.submit(Job("one", f))
"""
AND_WORKS = """
Worker("jobs.db").process_one()
print(queue.get_result(job_id))
"""


@pytest.mark.parametrize("words", [["-c", TYPED + AND_WORKS], ["-"]], ids=["-c", "stdin"])
def test_a_typed_function_runs_in_the_process_that_has_it(tmp_path: Path, words: list[str]) -> None:
    assert run(*words, cwd=tmp_path, stdin=TYPED + AND_WORKS) == "typed\n"


@pytest.mark.parametrize("words", [["-c", TYPED], ["-"]], ids=["-c", "stdin"])
def test_elsewhere_it_is_held_and_says_so_once(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str], employ: Any
) -> None:
    run(*words, cwd=tmp_path, stdin=TYPED)
    worker = employ(Worker, tmp_path / "jobs.db")
    assert worker.process_one() is True
    assert worker.process_one() is False
    (record,) = records(tmp_path)
    assert (record["status"], record["held_by"], record["attempts"]) == ("pending", "import:__main__", 0)
    assert "interpreter" in record["error"]
    said = capsys.readouterr().err
    assert said.count(record["id"]) == 1
    assert "cannot import" in said


AND_WORKS_IN_CHILDREN = """
import os, threading, time
worker = Worker("jobs.db", executor="process")
thread = threading.Thread(target=worker.start)
thread.start()
while not queue.get_status(job_id)["held_by"]:
    time.sleep(0.01)
worker.stop()
thread.join()
print(os.getpid())
Worker("jobs.db", executor="thread").process_one()
print(queue.get_result(job_id))
"""


@pytest.mark.skipif(os.name != "posix", reason="child processes need a POSIX system")
def test_a_child_of_that_process_does_not_have_it_and_what_to_do_is_said(tmp_path: Path) -> None:
    program = start(TYPED + AND_WORKS_IN_CHILDREN, cwd=tmp_path)
    out, err = program.communicate(timeout=PATIENCE)
    assert out.split() == [str(program.pid), "typed"], err
    assert f"typed into the interpreter of process {program.pid} (python -c, a notebook, a prompt)" in err
    assert "Worker(..., executor='thread')" in err
    assert "put it into a module" in err
    assert "project's folder" not in err


def test_a_held_function_runs_once_a_worker_that_has_it_comes(tmp_path: Path, employ: Any) -> None:
    queue = JobQueue(tmp_path / "jobs.db")
    has_it = start(
        TYPED
        + 'import sys, time, pathlib\nwhile not pathlib.Path("go").exists(): time.sleep(0.01)\n'
        + AND_WORKS,
        cwd=tmp_path,
    )
    wait_until(lambda: queue.stats()["total"], "the job is submitted")
    assert employ(Worker, tmp_path / "jobs.db").process_one()
    assert queue.list_jobs()[0]["held_by"] == "import:__main__"
    (tmp_path / "go").touch()
    out, err = has_it.communicate(timeout=60)
    assert (out, err) == ("typed\n", "")


def test_a_missing_module_holds_a_job_until_a_worker_has_it(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "project_module.py").write_text("def f(): return 'found'")
    run_code(
        "from gigq import Job, JobQueue; JobQueue('jobs.db').submit(Job('one', 'project_module.f'))",
        cwd=tmp_path,
    )
    work(tmp_path)
    (record,) = records(tmp_path)
    assert (record["status"], record["held_by"]) == ("pending", "import:project_module")
    work(tmp_path, cwd=folder)  # python -c has its folder on sys.path
    assert records(tmp_path)[0]["result"] == "found"
