"""migrate host ls: the hosts of the inventory, and how they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from migrate.cli.hostnames import inventory_option
from migrate.cli.output import print_json, print_table

if TYPE_CHECKING:
    from migrate.errors import MigrateError
    from migrate.evacuate.inventory.hosts import Host, Inventory
    from migrate.evacuate.model import HostState

    Answer = HostState | MigrateError | None

_HEAD = ("NAME", "ADDRESS", "STATUS", "CRIU", "KERNEL", "FREE MEMORY", "FREE DISK", "CONTAINERS",
         "LABELS")  # fmt: skip


@click.command(epilog="Example: migrate host ls --json")
@click.option("--offline", is_flag=True, help="Ask nobody: only what the inventory says.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@inventory_option
def ls(offline: bool, as_json: bool, inventory: Path | None) -> None:
    """List the hosts of the inventory, and how they are.

    All are asked at once. A host that can't be asked is listed with what is wrong; the exit code
    is 0 all the same.
    """
    from migrate.evacuate.inventory.reading import load, locate

    known = load(locate(inventory))
    hosts = list(known.hosts.values())
    answers: dict[str, Any] = {}
    if not offline:
        from migrate.evacuate.inventory.asking import ask_all

        answers = dict(ask_all(hosts))
    if as_json:
        print_json([_as_dict(host, answers.get(host.name)) for host in hosts])
        return
    if offline:
        print_table(
            (_HEAD[0], _HEAD[1], _HEAD[-1]),
            [(h.name, _address(h), _labels(h)) for h in hosts],
        )
    else:
        print_table(_HEAD, [_row(host, answers[host.name]) for host in hosts])
    _tell_more(known, answers)


def _address(host: Host) -> str:
    return host.address or "(this host)"


def _labels(host: Host) -> str:
    return ",".join(f"{key}={value}" if value else key for key, value in host.labels.items())


def _status(answer: Answer) -> str:
    from migrate.errors import MigrateError

    if answer is None:
        return ""
    if isinstance(answer, MigrateError):
        return answer.name
    if answer.cordoned:
        return "cordoned"
    return "ready" if answer.criu else "no criu"


def _row(host: Host, answer: Answer) -> tuple[str, ...]:
    from migrate.cli.sizes import human_size
    from migrate.errors import MigrateError

    known = (host.name, _address(host), _status(answer))
    if answer is None or isinstance(answer, MigrateError):
        return (*known, "", "", "", "", "", _labels(host))
    running = sum(guest.status == "running" for guest in answer.guests)
    count = str(len(answer.guests))
    return (
        *known, answer.criu, answer.kernel, human_size(answer.memory_free),
        human_size(answer.disk_free), count if running == len(answer.guests) else
        f"{count} ({running} running)", _labels(host),
    )  # fmt: skip


def _as_dict(host: Host, answer: Answer) -> dict[str, Any]:
    import msgspec

    from migrate.errors import MigrateError

    entry: dict[str, Any] = {
        "name": host.name, "address": host.address, "labels": host.labels,
        "status": _status(answer), "state": None, "error": None,
    }  # fmt: skip
    if isinstance(answer, MigrateError):
        entry["error"] = answer.to_wire()
    elif answer is not None:
        # With its defaults, too: a reader need not know them.
        entry["state"] = {f: getattr(answer, f) for f in answer.__struct_fields__} | {
            "guests": [
                {f: getattr(guest, f) for f in guest.__struct_fields__} for guest in answer.guests
            ]
        }
        entry["state"] = msgspec.to_builtins(entry["state"])
    return entry


def _tell_more(known: Inventory, answers: dict[str, Answer]) -> None:
    """On standard error: what is wrong where, and whom the inventory names in vain."""
    from migrate.errors import MigrateError

    for name, answer in answers.items():
        if isinstance(answer, MigrateError):
            click.echo(f"\n{name}: {answer}", err=True)
    for name, why in known.left_out.items():
        click.echo(f"{name} is left out: {why}", err=True)
    if not known.hosts:
        click.echo(f"no hosts in {known.path}; 'migrate host add' adds one", err=True)
