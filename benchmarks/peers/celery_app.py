"""The module that Celery's processes import, under its own interpreter only."""

from __future__ import annotations

import os

from celery import Celery

from benchmarks import jobs

app = Celery("benchmark", broker=os.environ["BENCHMARK_BROKER"])
app.conf.update(
    task_ignore_result=True, worker_prefetch_multiplier=64, broker_connection_retry_on_startup=True
)
tick = app.task(name="tick")(jobs.note)
