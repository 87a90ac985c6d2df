"""Values of options that several commands take: sizes, variables, volumes, labels."""

from __future__ import annotations

import math
import os
import re
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from migrate.runtime.records import Bind, Port

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)([bkmgt]?)(?:i?b)?", re.IGNORECASE)
_POWERS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)([kmg]?)(?:bit|bps)?", re.IGNORECASE)
LEAST_RATE = 64_000  # bits a second
_PAIR = re.compile(r"[^=\s]+=.*", re.DOTALL)


class Size(click.ParamType[int]):
    """Bytes, with a unit: 512m, 1g (powers of 1024)."""

    name = "size"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """The number of bytes."""
        if isinstance(value, int):
            return value
        match = _SIZE.fullmatch(str(value))
        if match is None:
            self.fail(f"'{value}' is no size; give it as 512m or 1g", param, ctx)
        return math.ceil(float(match[1]) * _UNITS[match[2].lower()])


class Rate(click.ParamType[int]):
    """Bits a second, with a unit: 500k, 100m, 1g (powers of 1000)."""

    name = "rate"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """The number of bits."""
        if isinstance(value, int):
            return value
        match = _RATE.fullmatch(str(value))
        rate = int(float(match[1]) * _POWERS[match[2].lower()]) if match else 0
        if not LEAST_RATE <= rate < 1 << 44:
            self.fail(f"'{value}' is no rate of 64k or more; give it as 500k or 100m", param, ctx)
        return rate


def port_value(
    _ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]
) -> tuple[Port, ...]:
    """Published ports."""
    from migrate.runtime.networks.ports import parse

    found = []
    for value in values:
        try:
            found.append(parse(value))
        except ValueError as error:
            raise click.BadParameter(f"'{value}' is no port to publish: {error}") from error
    return tuple(found)


def environment_value(
    _ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    """KEY=VALUE as it is, KEY with the caller's value; KEY that the caller lacks is left out."""
    found = [
        value if "=" in value else f"{value}={os.environ[value]}"
        for value in values
        if "=" in value or value in os.environ
    ]
    if any(entry.startswith("=") or "\0" in entry for entry in found):
        raise click.BadParameter("a variable is KEY=VALUE")
    return tuple(found)


def restart_value(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    """A restart policy as the record has it; "" for "no"."""
    kind, colon, most = value.partition(":")
    counted = kind == "on-failure" and most.isascii() and most.isdigit() and int(most) > 0
    if kind not in {"no", "always", "on-failure"} or (colon and not counted):
        raise click.BadParameter(f"'{value}' is not no, always, on-failure or on-failure:N")
    return "" if kind == "no" else value


def label_value(
    _ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    """KEY=VALUE pairs."""
    for value in values:
        if not _PAIR.fullmatch(value):
            raise click.BadParameter(f"'{value}' is no KEY=VALUE")
    return dict(value.split("=", 1) for value in values)


def volume_value(
    _ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]
) -> tuple[Bind, ...]:
    """SRC:DST[:ro][,idmap]: an absolute SRC is a path of the host, any other a volume's name."""
    from migrate.runtime.errors import SpecInvalid
    from migrate.runtime.records import Bind, check_name

    found: dict[str, Bind] = {}
    for value in values:
        source, _, rest = value.partition(":")
        target, _, words = rest.partition(":")
        options = set(filter(None, words.split(",")))
        if not source or not target.startswith("/") or options - {"ro", "rw", "idmap"}:
            raise click.BadParameter(f"'{value}' is no SRC:DST or SRC:DST:ro with absolute DST")
        target = os.path.normpath(target)
        if target in {"/", "//"} or target in found:
            raise click.BadParameter(f"'{value}': nothing else can be mounted at {target}")
        volume = not source.startswith("/")
        if volume:
            try:
                check_name(source)
            except SpecInvalid as error:
                raise click.BadParameter(
                    f"'{source}' is neither an absolute path nor a volume's name"
                ) from error
        found[target] = Bind(
            source, target, read_only="ro" in options, volume=volume,
            mapped="idmap" in options and not volume,
        )  # fmt: skip
    return tuple(found.values())
