"""Functions that declare their schedules; beside jobs.py, which programs of gigq 0.5.1 import too."""

from __future__ import annotations

from gigq import task


@task(cron="0 5 * * *", timezone="Europe/Berlin", overlap="queue", priority=3)
def every_morning(cups: int = 1) -> int:
    return cups
