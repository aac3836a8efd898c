"""An exception that comes between two instructions of gigq's own code leaves nothing locked."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from jobs import environment, nothing, submit_until_stopped
from processes import wait_until

from gigq import Job, JobQueue, Worker, shield

CTRL_C = """
import random, signal, sys, time
from gigq import Job, JobQueue
from jobs import nothing

queue = JobQueue(sys.argv[1])
random.seed(7)

def interrupt(*_):
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, interrupt)
interrupted = 0
while interrupted < 150:
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0002, 0.004))
        while True:
            queue.submit(Job("nothing", nothing))
    except KeyboardInterrupt:
        interrupted += 1
queue.submit(Job("the last", nothing))
print(queue.stats()["pending"], flush=True)
sys.stdin.read()  # lives on, while another process writes
"""


def test_ctrl_c_in_submit_locks_nobody_out(db: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", CTRL_C, db],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        before = int(process.stdout.readline())
        queue = JobQueue(db)
        queue.submit(Job("from outside", nothing))
        assert queue.stats()["pending"] == before + 1
        process.communicate("")
    assert process.returncode == 0


def test_soft_timeouts_of_jobs_that_submit_lock_nobody_out(db: str, tmp_path: Path) -> None:
    queue = JobQueue(db)
    for _ in range(16):
        queue.submit(Job("submits", submit_until_stopped, params={"db": db}, timeout=0.15, max_attempts=1))
    worker = Worker(db, concurrency=4)
    thread = threading.Thread(target=worker.start)
    thread.start()
    try:
        wait_until(lambda: queue.stats()["timeout"] == 16, "it comes to pass")
        queue.submit(Job("still served", nothing))
    finally:
        worker.stop()
        thread.join(60)
    assert not thread.is_alive()


def test_a_shielded_thread_is_asked_when_it_comes_out() -> None:
    inside, asked = threading.Event(), threading.Event()
    seen: list[str] = []

    def work() -> None:
        shield.register()
        try:
            shield.enter()
            inside.set()
            assert asked.wait(30)
            seen.append("not interrupted inside")
            shield.leave()
            seen.append("went on")
        except shield.Asked:
            seen.append("asked at the door")
        finally:
            shield.unregister()

    thread = threading.Thread(target=work)
    thread.start()
    assert inside.wait(30)
    assert thread.ident is not None
    shield.ask_to_stop(thread.ident)
    asked.set()
    thread.join(30)
    assert seen == ["not interrupted inside", "asked at the door"]
