"""``gigq db``: the file itself."""

from __future__ import annotations

from typing import Any

import click

from gigq.cli import exits, output
from gigq.cli.options import Group, Settings, pass_settings


@click.group("db", cls=Group)
def db() -> None:
    """Look after the database file."""


@db.command("info")
@pass_settings
def info(settings: Settings) -> int:
    """Say what is in the file, and who works on it."""
    from gigq import admin

    with settings.existing() as queue:
        if queue is None:
            raise admin.no_file(settings.path)
        found = admin.info(queue)
    if settings.json:
        output.as_json(found)
    else:
        _show(found)
    return exits.OK


def _show(found: dict[str, Any]) -> None:
    counts = ", ".join(f"{n:,} {status}" for status, n in found["jobs"].items() if n and status != "total")
    alive = [worker for worker in found["workers"] if worker["alive"] is not False]
    output.fields(
        [
            ("Database", found["path"]),
            ("Schema", f"version {found['schema_version']}"),
            ("Journal", found["journal_mode"]),
            ("Size", f"{output.size(found['size'])}, and {output.size(found['wal_size'])} of journal (WAL)"),
            *_free(found),
            *_kept(found),
            ("Jobs", f"{found['jobs']['total']:,}{f' ({counts})' if counts else ''}"),
            ("First created", output.time(found["first_created"])),
            ("Last created", output.time(found["last_created"])),
            ("Live workers", str(len(alive))),
            *(("Worker", _worker(worker)) for worker in found["workers"]),
        ]
    )


def _free(found: dict[str, Any]) -> list[tuple[str, str]]:
    if not found["free_size"]:
        return []
    how = "" if found["gives_back"] else "; 'gigq db vacuum' gives it back"
    return [("Free within", f"{output.size(found['free_size'])}{how}")]


def _kept(found: dict[str, Any]) -> list[tuple[str, str]]:
    from gigq import retention

    kept = [
        f"{status} {retention.text(age)}" for status, age in found["retention"].items() if age is not None
    ]
    return [("Kept for", ", ".join(kept))] if kept else []


def _worker(worker: dict[str, Any]) -> str:
    dead = ", dead" if worker["alive"] is False else ""
    return (
        f"{worker['worker_id']} (pid {worker['pid']} on {worker['host']} since "
        f"{output.time(worker['started_at'])}, {worker['running']} running{dead})"
    )


@db.command("check")
@pass_settings
def check(settings: Settings) -> int:
    """Look for damage and for contradictions in the file; reads all of it."""
    from gigq import admin

    with settings.existing() as queue:
        if queue is None:
            raise admin.no_file(settings.path)
        found = admin.check(queue)
    if settings.json:
        output.as_json({"ok": not found, "findings": found})
    elif not found:
        output.say(f"{output.one_line(settings.path)} is sound.")
    for finding in found if not settings.json else ():
        output.say(output.one_line(finding))
    if found:
        output.complain(f"Keep a copy before anything else: {settings.command('db', 'backup', 'copy.db')}")
    return exits.REFUSED if found else exits.OK


@db.command("backup")
@click.argument("target", metavar="PATH", type=click.Path())
@click.option("--force", is_flag=True, help="Replace a file that is there already.")
@pass_settings
def backup(settings: Settings, target: str, force: bool) -> int:
    """Copy the queue to another file, as it is at one moment, while it is in use.

    Never copy the file of a queue by other means: what is still in its WAL would be missing.
    """
    from gigq import admin

    queue = admin.open_untouched(settings.path)
    try:
        size = admin.backup(queue, target, force=force)
    finally:
        queue.close()
    if settings.json:
        output.as_json({"path": target, "size": size})
    else:
        output.say(f"Backed up to {output.one_line(target)} ({output.size(size)}).")
    return exits.OK


@db.command("vacuum")
@pass_settings
def vacuum(settings: Settings) -> int:
    """Make the file as small as it can be.

    Writes it anew, which needs room for a second copy; whoever wants to write waits meanwhile (100 MB take about two seconds).
    From then on the file gives back by itself what cleared jobs leave free.
    """
    from gigq import admin

    before, after = admin.vacuum(settings.path, settings.durability)
    if settings.json:
        output.as_json({"path": settings.path, "before": before, "after": after})
    else:
        path = output.one_line(settings.path)
        output.say(f"{path} takes {output.size(after)} now; it took {output.size(before)}.")
    return exits.OK


@db.command("migrate")
@pass_settings
def migrate(settings: Settings) -> int:
    """Bring the file of an older gigq up to date.

    Every other command does so too when it first opens the file; it is one transaction.
    """
    from gigq import admin

    done = admin.migrate(settings.path, settings.durability)
    path = output.one_line(settings.path)
    if settings.json:
        output.as_json(
            {"path": settings.path, "from": done.before, "to": done.after, "changed": done.changed}
        )
    elif done.changed:
        output.say(f"Migrated {path} from {done.before} to {done.after}.")
    else:
        output.say(f"{path} is up to date: {done.after}.")
    return exits.OK
