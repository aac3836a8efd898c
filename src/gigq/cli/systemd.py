"""What systemd wants to hear of a service with ``Type=notify``; see sd_notify(3). Without it nothing is said."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping


class Supervisor:
    """Told of each turn of a worker, from which it knows that the worker is at work, stops, or hangs."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.is_there = address[:1] in ("/", "@")
        self._every = _watchdog_seconds(environment) / 2
        self._alive_at = 0.0
        self._is_ready = self._is_stopping = False

    def turn(self, stopping: bool) -> None:
        """The worker's loop has turned. Neither waits nor raises."""
        if not self._is_ready:
            self._is_ready = self._tell("READY=1")
        if stopping and not self._is_stopping:
            self._is_stopping = self._tell("STOPPING=1")
        now = time.monotonic()
        if self._every and now >= self._alive_at and self._tell("WATCHDOG=1"):
            self._alive_at = now + self._every

    def _tell(self, word: str) -> bool:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.setblocking(False)
                channel.sendto(word.encode(), self._address)
        except OSError:  # it is said again at the next turn
            return False
        return True


def _watchdog_seconds(environment: Mapping[str, str]) -> float:
    """After how many without a word systemd takes this process for dead; 0 for never."""
    meant_for = environment.get("WATCHDOG_PID", str(os.getpid()))
    try:
        return int(environment["WATCHDOG_USEC"]) / 1e6 if meant_for == str(os.getpid()) else 0.0
    except (KeyError, ValueError):
        return 0.0
