"""The options of a container's user namespace, named as Docker and Podman name them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from migrate.runtime.records import UserNamespace

_AUTO = re.compile(r"auto(?::size=([1-9][0-9]{0,8}))?")
_RANGE = re.compile(r"([0-9]{1,10}):([0-9]{1,10}):([0-9]{1,10})")
OPTIONS = (
    click.option("--userns", default="", metavar="host|auto[:size=N]",
                 help="Its user namespace: the host's (host), or one with ids of its own."),
    click.option("--uidmap", multiple=True, metavar="INSIDE:HOST:COUNT",
                 help="Its user ids from INSIDE on are the host's from HOST on."),
    click.option("--gidmap", multiple=True, metavar="INSIDE:HOST:COUNT",
                 help="The same of group ids (as --uidmap)."),
)  # fmt: skip


def take(given: dict[str, Any]) -> tuple[UserNamespace, int]:
    """The maps that the options say, and how many ids are to be chosen; they are taken out.

    Raises UsageError.
    """
    from migrate.runtime.records import UserNamespace
    from migrate.runtime.usernamespaces import SIZE

    word = given.pop("userns")
    uids, gids = (_ranges(name, given.pop(name)) for name in ("uidmap", "gidmap"))
    if word and (uids or gids):
        raise click.UsageError("--userns chooses ids, or none: it excludes --uidmap and --gidmap")
    if matched := _AUTO.fullmatch(word):
        return UserNamespace(), int(matched[1] or SIZE)
    if word not in {"", "host"}:
        raise click.UsageError(f"--userns is host, auto or auto:size=N, not '{word}'")
    return UserNamespace(uids or gids, gids or uids), 0


def _ranges(name: str, values: tuple[str, ...]) -> Any:
    import msgspec

    from migrate.runtime.records import IdRange

    found = []
    for value in values:
        matched = _RANGE.fullmatch(value)
        try:
            if not matched:
                raise ValueError("it is no INSIDE:HOST:COUNT")
            fields = dict(zip(("inside", "outside", "size"), map(int, matched.groups()),
                              strict=True))  # fmt: skip
            found.append(msgspec.convert(fields, type=IdRange))
        except ValueError as error:  # msgspec's errors are ValueErrors
            raise click.UsageError(f"--{name} '{value}': {error}") from error
    return tuple(found)
