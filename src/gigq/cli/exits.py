"""What the exit codes of ``gigq`` mean."""

OK = 0
REFUSED = 1
"""Refused, or not found."""
USAGE = 2
ENDED_BADLY = 3
"""The awaited job failed, timed out or was cancelled."""
TIMED_OUT = 4
"""Waiting took too long; the job may still end well."""
UNREACHABLE = 5
"""The database cannot be used."""
INTERRUPTED = 130
