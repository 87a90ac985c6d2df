"""`linux.resources` and annotations as properties of a systemd unit (systemd.resource-control(5)).

What has a property must be one: systemd writes all of a unit's files again when it reloads. The
values that the kernel gets in the end are written by `resources`, exactly. Signatures are those of
org.freedesktop.systemd1(5).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

from migrate.kernel.scheduling import numbers_of
from migrate.runtime.cgroups import resources
from migrate.runtime.cgroups.layout import Layout
from migrate.runtime.errors import SpecInvalid

Property = tuple[str, tuple[str, Any]]
ANNOTATION = "org.systemd.property."  # runc's docs/systemd.md
_INFINITY = (1 << 64) - 1
_SECOND = 1_000_000  # microseconds
_STEP = 10_000  # systemd rounds CPUQuotaPerSecUSec to 10 ms, runc and crun upwards
_DEFAULT_PERIOD = 100_000  # microseconds
_TYPED = re.compile(r"(u?int(?:32|64)|byte) (\d+)")
_SIGNATURES = {"int32": "i", "uint32": "u", "int64": "x", "uint64": "t", "byte": "y"}


def of_resources(wanted: dict[str, Any], layout: Layout) -> list[Property]:
    """Those that systemd has a property for, on this host's hierarchies; raises SpecInvalid."""
    try:
        return [
            *_memory(wanted.get("memory") or {}, "memory" in layout.v1),
            *_cpu(wanted.get("cpu") or {}, layout),
            *_others(wanted, layout),
        ]
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise SpecInvalid("linux.resources is not valid", cause=repr(error)) from error


def accounting(layout: Layout) -> list[Property]:
    """So that systemd keeps the unit in each hierarchy: it prunes what no property asks for."""
    block = "BlockIOAccounting" if "blkio" in layout.v1 else "IOAccounting"
    names = ("CPUAccounting", "MemoryAccounting", "TasksAccounting", block)
    return [(name, ("b", True)) for name in names]


def _memory(memory: dict[str, Any], first: bool) -> Iterator[Property]:
    limit, swap = memory.get("limit"), memory.get("swap")
    if limit:
        yield "MemoryLimit" if first else "MemoryMax", ("t", _amount(limit))
    if swap and not first:
        yield "MemorySwapMax", ("t", _amount(swap - (limit or 0) if swap > 0 else -1))
    if (low := memory.get("reservation")) and not first:
        yield "MemoryLow", ("t", _amount(low))


def _cpu(cpu: dict[str, Any], layout: Layout) -> Iterator[Property]:
    if shares := cpu.get("shares"):
        if "cpu" in layout.v1:
            yield "CPUShares", ("t", shares)
        else:
            yield "CPUWeight", ("t", resources.weight_of_shares(shares))
    if cpu.get("quota") or cpu.get("period"):
        yield from _quota(cpu.get("quota") or -1, cpu.get("period") or _DEFAULT_PERIOD)
    if "cpuset" not in layout.v1:
        for key, name in (("cpus", "AllowedCPUs"), ("mems", "AllowedMemoryNodes")):
            if cpu.get(key):
                yield name, ("ay", bits_of(cpu[key]))


def _others(wanted: dict[str, Any], layout: Layout) -> Iterator[Property]:
    if limit := (wanted.get("pids") or {}).get("limit"):
        yield "TasksMax", ("t", _amount(limit))
    if weight := (wanted.get("blockIO") or {}).get("weight"):
        if "blkio" in layout.v1:
            yield "BlockIOWeight", ("t", weight)
        else:
            yield "IOWeight", ("t", resources.weight_of_block(weight))


def _amount(value: int) -> int:
    return value if value >= 0 else _INFINITY


def _quota(quota: int, period: int) -> Iterator[Property]:
    share = _INFINITY
    if quota > 0:
        share = -(-quota * _SECOND // period // _STEP) * _STEP
    yield "CPUQuotaPerSecUSec", ("t", share)
    yield "CPUQuotaPeriodUSec", ("t", period)


def bits_of(numbers: str) -> bytes:
    """A list as "0-3,8" as a bit mask, the lowest byte first."""
    mask = sum(1 << number for number in numbers_of(numbers))
    return mask.to_bytes((mask.bit_length() + 7) // 8 or 1, "little")


def of_annotations(annotations: dict[str, str]) -> list[Property]:
    """`org.systemd.property.NAME`: a value in GVariant's text form; raises SpecInvalid.

    A name in -Sec is given in seconds, and becomes the one in -USec that D-Bus has.
    """
    return [
        _of_annotation(key.removeprefix(ANNOTATION), text)
        for key, text in annotations.items() if key.startswith(ANNOTATION)
    ]  # fmt: skip


def _of_annotation(name: str, text: str) -> Property:
    if not re.fullmatch(r"[A-Z][A-Za-z]+", name):
        raise SpecInvalid(f"annotation {ANNOTATION}{name}: no name of a property")
    signature, value = _variant(name, text.strip())
    if name.endswith("Sec") and not name.endswith("USec"):
        if signature not in {"i", "u", "x", "t"}:
            raise SpecInvalid(f"annotation {ANNOTATION}{name}: {text} is no number of seconds")
        return name.removesuffix("Sec") + "USec", ("t", value * _SECOND)
    return name, (signature, value)


def _variant(name: str, text: str) -> tuple[str, Any]:
    if text in {"true", "false"}:
        return "b", text == "true"
    if typed := _TYPED.fullmatch(text):
        return _SIGNATURES[typed[1]], int(typed[2])
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = None
    if type(value) is int:
        return "i", value
    if type(value) is str:
        return "s", value
    if type(value) is list and all(type(entry) is str for entry in value):
        return "as", value
    raise SpecInvalid(f"annotation {ANNOTATION}{name}: {text} is no value that is known here")
