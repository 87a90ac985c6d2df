"""migrate fleet: who works on which host and container, as the fleet's store has it."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import click

from migrate.cli.output import print_json, print_table

if TYPE_CHECKING:
    from migrate.evacuate.store.fleet import Overview

_SHORT_ID = 12
_HOST_ID = re.compile("[0-9a-f]{32}")
_MIB = 1 << 20


@click.command(epilog="Example: migrate fleet --store etcd://10.0.0.5:2379,10.0.0.6:2379")
@click.option(
    "--store", metavar="URL", envvar="MIGRATE_STORE",
    help="etcd://[USER@]HOST:PORT[,HOST:PORT...], etcds:// for TLS; without it this machine's own."
    " [env: MIGRATE_STORE]",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def fleet(store: str | None, as_json: bool) -> None:
    """Show which hosts are being emptied, which containers moved, and by whom.

    Claims and reservations end with their owner; hosts are as an operator last saw them. With TLS,
    MIGRATE_ETCD_CA, MIGRATE_ETCD_CERT and MIGRATE_ETCD_KEY name files in PEM; a password is read
    from MIGRATE_ETCD_PASSWORD.
    """
    from migrate.evacuate.store.opening import open_store
    from migrate.runtime.paths import Paths

    opened = open_store(store, Paths.from_environment())
    found = opened.overview()
    if as_json:
        print_json(_as_dict(opened.place, found))
        return
    names = {host.host_id: host.name for host in found.hosts}
    sections = [
        (("HOST", "ADDRESS", "CORDONED", "SEEN BY", "SEEN"), _host_rows(found)),
        (("CLAIMED", "NAME", "BY", "SINCE", "DOES"), _claim_rows(found, names)),
        (("TARGET", "RESERVED MIB", "BY", "SINCE", "FOR"), _reservation_rows(found, names)),
    ]
    shown = [(head, rows) for head, rows in sections if rows]
    for index, (head, rows) in enumerate(shown):
        if index:
            click.echo()
        print_table(head, rows)
    if not shown:
        click.echo(f"{opened.place} has no claims", err=True)


def _host_rows(found: Overview) -> list[tuple[str, ...]]:
    return [
        (host.name, host.address or "-", (host.why or "yes") if host.cordoned else "no",
         host.by, _moment(host.since))
        for host in found.hosts
    ]  # fmt: skip


def _claim_rows(found: Overview, names: dict[str, str]) -> list[tuple[str, ...]]:
    return [
        (claim.kind, _name(claim.name, names), claim.owner, _moment(claim.since), claim.what)
        for claim in found.claims
    ]


def _reservation_rows(found: Overview, names: dict[str, str]) -> list[tuple[str, ...]]:
    return [
        (_name(part.target, names), str(-(-part.memory // _MIB)), part.owner,
         _moment(part.since), part.what)
        for part in found.reservations
    ]  # fmt: skip


def _name(identifier: str, names: dict[str, str]) -> str:
    """A host's name in some inventory, or the beginning of its id."""
    short = identifier[:_SHORT_ID] if _HOST_ID.fullmatch(identifier) else identifier
    return names.get(identifier) or short


def _moment(since: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(since))


def _as_dict(place: str, found: Overview) -> dict[str, Any]:
    import msgspec

    return {
        "store": place,
        "claims": msgspec.to_builtins(found.claims),
        "reservations": msgspec.to_builtins(found.reservations),
        "generations": msgspec.to_builtins(found.generations),
        "hosts": msgspec.to_builtins(found.hosts),
    }
