"""How many runs the ledger of a torture saw at once."""

from __future__ import annotations

from rig import Rig


def most_at_once(rig: Rig) -> int:
    """How many runs were under way together; one that was killed ended when its process was seen to be gone."""
    changes = []
    ends = {line.execution: line.at for what in ("end", "stopped") for line in rig.lines(what)}
    for line in rig.lines("start"):
        killed = min(
            (kill.before for kill in rig.kills if kill.pid == line.pid and kill.after > line.at), default=0
        )
        changes += [(line.at, 1), (ends.get(line.execution, killed), -1)]
    most = running = 0
    for _, change in sorted(changes):
        running += change
        most = max(most, running)
    return most
