"""``gigq doctor``."""

from __future__ import annotations

import click

from gigq.cli import exits, output
from gigq.cli.options import Command, Settings, pass_settings


@click.command("doctor", cls=Command)
@pass_settings
def doctor(settings: Settings) -> int:
    """Look for trouble, and say what to do about it.

    Looks at this machine, the database file and its workers.

    Changes nothing. The exit code is 1 if something is bad; a warning alone is none.
    """
    from gigq import checkup

    findings = checkup.examine(settings.path)
    bad = any(finding.level == "bad" for finding in findings)
    if settings.json:
        output.as_json({"ok": not bad, "findings": [finding._asdict() for finding in findings]})
    else:
        output.table([], [_row(*finding) for finding in findings], folds=2)
    return exits.REFUSED if bad else exits.OK


def _row(level: str, subject: str, text: str, remedy: str) -> list[str]:
    told = output.one_line(text)
    return [level, subject, f"{told}\n-> {output.one_line(remedy)}" if remedy else told]
