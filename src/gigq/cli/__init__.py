"""The command line: parses what a person or a script says, draws the answer. No rule of the queue lives here."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after ``gigq``; those of this process by default.

    Returns:
        The exit code: 0 ok, 1 refused or not found, 2 usage, 3 the awaited job ended badly, 4 waiting timed out,
        5 database unreachable, 130 interrupted.
    """
    from gigq.cli import exits, output

    code = exits.OK
    try:
        code = _run(argv)
        if sys.stdout is not None:  # as where it was closed before we came
            sys.stdout.flush()
    except (BrokenPipeError, output.NobodyReads):
        # The reader has seen enough (`gigq list | head`). What is still buffered must not fail at the exit again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _run(argv: Sequence[str] | None) -> int:
    import click

    from gigq.cli import exits, output, restart
    from gigq.cli.program import program
    from gigq.errors import GigQError, InvalidJob, StoreError
    from gigq.log import harmless

    args = None if argv is None else list(argv)
    try:
        code = program.main(args=args, prog_name="gigq", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return exits.INTERRUPTED
    except restart.Wanted as wanted:
        return restart.in_place(wanted, is_own_process=argv is None)
    except SystemExit as ended:  # click's answer to a completion request
        return ended.code if isinstance(ended.code, int) else exits.OK
    except StoreError as error:
        hint = "" if "'gigq " in str(error) else " 'gigq doctor' looks closer."
        output.complain(f"Error: {output.one_line(error)}{hint}")
        return exits.UNREACHABLE
    except InvalidJob as error:
        output.complain(f"Error: {output.one_line(error)}")
        return exits.USAGE
    except GigQError as error:
        output.complain(f"Error: {harmless(str(error))}")
        return exits.REFUSED
    return code if isinstance(code, int) else exits.OK
