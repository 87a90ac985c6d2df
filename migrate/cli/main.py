"""The command `migrate`: its subcommands are loaded when they are called."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click
from click.shell_completion import CompletionItem

from migrate import __version__
from migrate.errors import InternalError, MigrateError, OutOfMemory, is_lack_of_memory

# Command -> (module of migrate.cli, its attribute, one line of help).
COMMANDS = {
    "run": ("run", "run", "Create a container and start it."),
    "create": ("run", "create", "Create a container that waits for start."),
    "start": ("lifecycle", "start", "Start a created or stopped container."),
    "stop": ("lifecycle", "stop", "Stop a container, by force after a while."),
    "wait": ("wait", "wait", "Wait until containers have ended."),
    "kill": ("lifecycle", "kill", "Send a signal to a container."),
    "pause": ("lifecycle", "pause", "Freeze a container."),
    "resume": ("lifecycle", "resume", "Let a paused container run."),
    "rm": ("lifecycle", "rm", "Remove containers."),
    "exec": ("execute", "execute", "Run one more program in a container."),
    "attach": ("attach", "attach", "See a container's output and type, at its terminal."),
    "ps": ("show", "ps", "List containers."),
    "inspect": ("show", "inspect", "Show all that is known of a container."),
    "logs": ("show", "logs", "Show a container's output."),
    "stats": ("stats", "stats", "Show what containers use of the machine."),
    "top": ("change", "top", "Show the processes in a container."),
    "events": ("events", "events", "Tell what happens to containers, as it happens."),
    "cp": ("copy", "cp", "Copy files into a container, or out of it."),
    "update": ("change", "update", "Change limits of containers."),
    "rename": ("change", "rename", "Give a container another name."),
    "commit": ("commit", "commit", "Make an image of what a container has become."),
    "image": ("image", "image", "Import, list and export images."),
    "network": ("network", "network", "Create, list and remove networks."),
    "checkpoint": ("checkpoint", "checkpoint", "Save a running container to a file or directory."),
    "restore": ("checkpoint", "restore", "Bring a checkpointed container back."),
    "check": ("check", "check", "Say what stands against a move or a checkpoint."),
    "move": ("move", "move", "Move a container to another host."),
    "recover": ("recover", "recover", "Settle moves that were cut off."),
    "evacuate": ("evacuate", "evacuate", "Empty a host, and bring back what it had."),
    "host": ("host", "host", "Keep an inventory of hosts, set them up, cordon them."),
    "fleet": ("fleet", "fleet", "Show who moves what in the fleet."),
    "doctor": ("doctor", "doctor", "Say what works on this host, and mend it."),
    "bench": ("bench", "bench", "Measure."),
    "agent": ("agent", "agent", "Serve another host over standard input and output."),
}
HIDDEN = {"agent"}


class LazyGroup(click.Group):
    """A group whose commands are imported at their first use: start-up is what users feel."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All but the hidden ones, in the order in which one needs them."""
        return [name for name in COMMANDS if name not in HIDDEN]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _help = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(f"migrate.cli.{module}"), attribute)
        assert isinstance(command, click.Command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands and options, without importing every command."""
        names = [n for n in self.list_commands(ctx) if n.startswith(incomplete)]
        found = [CompletionItem(name, help=COMMANDS[name][2]) for name in names]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list for --help, without importing every command."""
        rows = [(name, COMMANDS[name][2]) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option("--storage-driver", type=click.Choice(["overlay", "btrfs", "vfs"]),
              help="How containers that are made now share their image's files.")  # fmt: skip
def cli(storage_driver: str | None) -> None:
    """Move running containers between hosts, with their open connections alive."""
    if storage_driver:
        os.environ["MIGRATE_STORAGE_DRIVER"] = storage_driver


def main() -> None:
    """Run the command; an error is told in words, and its code is the exit status."""
    try:
        status: Any = cli(standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except MigrateError as error:
        _tell(error)
        sys.exit(error.code)
    except OSError as error:
        _tell(MigrateError("the operating system refused", cause=str(error)))
        sys.exit(MigrateError.code)
    except Exception as error:  # noqa: BLE001 -- the last net: words, not a traceback
        _fall(error)
    sys.exit(status if isinstance(status, int) else 0)


def _tell(error: MigrateError) -> None:
    """In words, or as one JSON object where the command was asked for JSON."""
    if "--json" in sys.argv:
        import json

        _say(json.dumps({"error": error.to_wire()}))
    _say(click.style("error: ", fg="red") + str(error), err=True)


def _say(text: str, *, err: bool = False) -> None:
    """Where it can't be written (a log on a full disk), the exit status has to tell it alone."""
    try:
        click.echo(text, err=err)
    except OSError:
        # What is in its buffer would be tried again at the end, and make the status 120.
        setattr(sys, "stderr" if err else "stdout", None)


def _fall(error: Exception) -> None:
    if os.environ.get("MIGRATE_DEBUG"):
        raise error
    if is_lack_of_memory(error):
        _tell(OutOfMemory("this command can get no more memory", cause=repr(error)))
        sys.exit(OutOfMemory.code)
    _tell(InternalError(f"an unforeseen {type(error).__name__}", cause=str(error)))
    sys.exit(InternalError.code)
