"""A plan as a file that a person can read, edit and give back: TOML with comments.

It is written by hand (the comments are the point, and four kinds of lines need no library) and read
by the standard library. A file is untrusted: its size, its lines and its entries are bounded, and
nothing in it is ignored. Keys with many dots are refused before they are parsed: tomllib's time
grows with their square, 25 s for 4 MiB of them. So are strings of several lines, which no plan has:
without them a line can be judged by itself.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NoReturn, TypeVar

import msgspec

from migrate.errors import MigrateError
from migrate.evacuate.errors import PlanBad
from migrate.evacuate.model import Plan, Stays, Step
from migrate.evacuate.planning.constraints import shown
from migrate.move.modes import MODES
from migrate.transfer.target import Target

SIZE_LIMIT = 4 << 20  # bytes
LINE_LIMIT = 4096  # characters
ENTRY_LIMIT = 10_000  # moves, and containers that stay
MOST_DOTS = 8  # of a line, outside of strings
TEXT_LIMIT = 1024  # characters of a reason or a note
VERSION = 1

_HEAD = """\
# A plan of 'migrate evacuate'. It is carried out from top to bottom.
#
# You may take out a whole [[move]] (the container then stays), change their order, and in each of
# them 'target' (a host of [addresses]) and 'mode' (auto, cold, stop-copy, pre-copy, hybrid,
# post-copy). 'bytes', 'seconds' and 'downtime' are predictions, and [[stay]] tells why a container
# can't go, by host, or under "" for every host: nothing is done with either.
# Before anything moves, the plan is checked against the hosts as they then are.
"""

_PLAIN = r"^[^\x00-\x1f\x7f-\x9f\ud800-\udfff]*$"  # what does no harm on a terminal
_Word = Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern=_PLAIN)]
_Text = Annotated[str, msgspec.Meta(max_length=TEXT_LIMIT, pattern=_PLAIN)]
_Size = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e12)]  # which refuses nan and inf, too
_QUOTED = re.compile(r"""(?P<long>\"{3}|'{3})|"(?:[^"\\]|\\.)*"|'[^']*'|\#.*""")
_AT_KEY = re.compile(r" - at `(?:key in )?\$\.?(?P<path>[^`]*)`$")
_Form = TypeVar("_Form", bound=msgspec.Struct)


class _Move(msgspec.Struct, forbid_unknown_fields=True):
    container: _Word
    name: _Word
    target: _Word
    mode: _Word
    bytes: _Size = 0
    seconds: _Seconds = 0.0
    downtime: _Seconds = 0.0
    note: _Text = ""


class _Stay(msgspec.Struct, forbid_unknown_fields=True):
    container: _Word
    name: _Word
    why: dict[_Text, _Text]


class _File(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    source: _Word
    source_id: _Word
    addresses: dict[_Word, _Text]
    seconds: _Seconds = 0.0
    bytes: _Size = 0
    warnings: Annotated[tuple[_Text, ...], msgspec.Meta(max_length=ENTRY_LIMIT)] = ()
    move: Annotated[list[Any], msgspec.Meta(max_length=ENTRY_LIMIT)] = []
    stay: Annotated[list[Any], msgspec.Meta(max_length=ENTRY_LIMIT)] = []


def dump(plan: Plan) -> str:
    """The plan as text that `load` reads; raises PlanBad for one that is too large for a file.

    Text from hosts becomes one line of at most TEXT_LIMIT characters. Where the reasons of those
    that stay would make the file larger than SIZE_LIMIT, each has one reason only.
    """
    for stay in (plan.stay, tuple(_shortened(entry) for entry in plan.stay)):
        text = "\n".join([
            _HEAD, *_top(plan), *(line for step in plan.steps for line in _move(step)),
            *(line for entry in stay for line in _stay(entry)), "",
        ])  # fmt: skip
        if len(text.encode(errors="replace")) <= SIZE_LIMIT:
            return text
    raise PlanBad(
        f"a plan of {len(plan.steps)} moves is too large for a file",
        mend="take fewer containers with --selector",
    )


def _top(plan: Plan) -> list[str]:
    return [
        f"version = {plan.version}",
        f"source = {_quoted(plan.source)}",
        f"source_id = {_quoted(plan.source_id)}",
        f"seconds = {plan.seconds!r}  # for all of it, predicted",
        f"bytes = {plan.bytes}",
        "warnings = [",
        *(f"    {_quoted(warning)}," for warning in plan.warnings),
        "]",
        "",
        "[addresses]",
        *(f"{_quoted(name)} = {_quoted(address)}" for name, address in plan.addresses.items()),
    ]


def _move(step: Step) -> list[str]:
    note = [f"note = {_quoted(step.note)}"] if step.note else []
    return [
        "",
        "[[move]]",
        f"container = {_quoted(step.container)}",
        f"name = {_quoted(step.name)}",
        f"target = {_quoted(step.target)}",
        f"mode = {_quoted(step.mode)}",
        f"bytes = {step.bytes}",
        f"seconds = {step.seconds!r}",
        f"downtime = {step.downtime!r}",
        *note,
    ]


def _stay(entry: Stays) -> list[str]:
    return [
        "",
        "[[stay]]",
        f"container = {_quoted(entry.container)}",
        f"name = {_quoted(entry.name)}",
        "[stay.why]",
        *(f"{_quoted(host)} = {_quoted(reason)}" for host, reason in entry.why.items()),
    ]


def _shortened(entry: Stays) -> Stays:
    if len(entry.why) < 2:
        return entry
    host, reason = next(iter(entry.why.items()))
    text = f"{host}: {reason} (and {len(entry.why) - 1} more hosts, each with its reason)"
    return msgspec.structs.replace(entry, why={"": text})


def _quoted(text: str) -> str:
    """A basic string: what JSON escapes, TOML reads; other line ends and controls are left out."""
    line = re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", " ", text)[:TEXT_LIMIT]
    return json.dumps(line, ensure_ascii=False)


def load(text: str) -> Plan:
    """The plan that a file holds; raises PlanBad, which names the place."""
    head = _convert(_parsed(text), _File, "the plan")
    if head.version != VERSION:
        raise PlanBad(
            f"the plan is of version {head.version}, not {VERSION}",
            mend="make it anew with this migrate",
        )
    for name, address in head.addresses.items():
        _check_address(name, address)
    moves, stays = _Places(text, "move", head.move), _Places(text, "stay", head.stay)
    steps = tuple(
        _step(_convert(raw, _Move, moves[index]), head.addresses, moves[index])
        for index, raw in enumerate(head.move)
    )
    stay = []
    for index, raw in enumerate(head.stay):
        entry = _convert(raw, _Stay, stays[index])
        stay.append(Stays(entry.container, entry.name, entry.why))
    _refuse_twice([
        *((step.container, moves[index]) for index, step in enumerate(steps)),
        *((entry.container, stays[index]) for index, entry in enumerate(stay)),
    ])  # fmt: skip
    return Plan(
        head.source, head.source_id, head.addresses, steps, tuple(stay), head.version,
        head.seconds, head.bytes, head.warnings,
    )  # fmt: skip


def _parsed(text: str) -> dict[str, Any]:
    if len(text) > SIZE_LIMIT or len(text.encode(errors="replace")) > SIZE_LIMIT:
        raise PlanBad(f"the plan is larger than {SIZE_LIMIT >> 20} MiB")
    for number, line in enumerate(text.split("\n"), 1):
        if why := _unlike_a_plan(line):
            raise PlanBad(f"line {number} of the plan {why}")
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise PlanBad("the plan is no TOML that can be read", cause="nested too deeply") from error
    except ValueError as error:  # TOMLDecodeError is one, and so is a number of 5,000 digits
        raise PlanBad("the plan is no TOML", cause=_short(str(error))) from error


def _unlike_a_plan(line: str) -> str:
    """What of a line no plan has, "" when it may be parsed."""
    if len(line) > LINE_LIMIT:
        return f"is longer than {LINE_LIMIT} characters"
    if any(match["long"] for match in _QUOTED.finditer(line)):
        return "begins a string of several lines"
    if _QUOTED.sub("", line).count(".") > MOST_DOTS:
        return "has more dots than a key of a plan"
    return ""


def _convert(raw: Any, form: type[_Form], where: str) -> _Form:
    try:
        return msgspec.convert(raw, form)
    except msgspec.ValidationError as error:
        _refuse(where, str(error))


def _refuse(where: str, complaint: str) -> NoReturn:
    """`complaint` is msgspec's: its path into the value becomes the name of the key."""
    match = _AT_KEY.search(complaint)
    if match and match["path"]:
        where, complaint = f"{where}, '{_short(match['path'])}'", complaint[: match.start()]
    raise PlanBad(f"{where}: {_short(complaint)}")


def _short(text: str) -> str:
    """Text that may quote the file, fit for a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:300])


def _check_address(name: str, address: str) -> None:
    if not address:
        return  # this host
    try:
        Target.parse(address)
    except MigrateError as error:
        raise PlanBad(f"[addresses], '{_short(name)}': {error.what}", mend=error.mend) from error


class _Places:
    """What to call an entry: its number, its name, and its line if that is certain."""

    def __init__(self, text: str, kind: str, entries: Sequence[Any]) -> None:
        header = re.compile(rf"[ \t]*\[\[[ \t]*{kind}[ \t]*\]\]")
        found = [n for n, line in enumerate(text.split("\n"), 1) if header.match(line)]
        # A quoted key or a long string can hide or feign a header: then no line is told.
        self._lines = found if len(found) == len(entries) else []
        self._kind, self._entries = kind, entries

    def __getitem__(self, index: int) -> str:
        entry = self._entries[index]
        name = entry.get("name") if isinstance(entry, dict) else None
        named = f" ('{shown(name)}')" if isinstance(name, str) and name else ""
        line = f", line {self._lines[index]}" if self._lines else ""
        return f"[[{self._kind}]] number {index + 1}{named}{line}"


def _step(move: _Move, addresses: Mapping[str, str], where: str) -> Step:
    if move.mode not in MODES:
        raise PlanBad(f"{where}: '{shown(move.mode)}' is none of {', '.join(MODES)}")
    if move.target not in addresses:
        raise PlanBad(
            f"{where}: the target '{shown(move.target)}' is no host of [addresses]",
            mend="name one of these, or add it there with its USER@HOST",
        )
    return Step(
        move.container, move.name, move.target, move.mode, move.bytes, move.seconds, move.downtime,
        move.note,
    )  # fmt: skip


def _refuse_twice(entries: Sequence[tuple[str, str]]) -> None:
    seen: dict[str, str] = {}
    for container, where in entries:
        if container in seen:
            raise PlanBad(
                f"{where}: the container '{shown(container)}' is in the plan twice",
                cause=f"{seen[container]} has it, too", mend="take one of the two out",
            )  # fmt: skip
        seen[container] = where
