"""``gigq completion``."""

from __future__ import annotations

import click

from gigq.cli import exits
from gigq.cli.options import Command

_VARIABLE = "_GIGQ_COMPLETE"
_EPILOG = """\b
Once and for all:
  bash:  gigq completion bash >> ~/.bashrc
  zsh:   gigq completion zsh >> ~/.zshrc
  fish:  gigq completion fish > ~/.config/fish/completions/gigq.fish
"""


@click.command("completion", cls=Command, json=False, epilog=_EPILOG)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print the script that completes gigq's commands in a shell."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - the choice above lists what click has
    click.echo(kind(context.find_root().command, {}, "gigq", _VARIABLE).source())
    return exits.OK
