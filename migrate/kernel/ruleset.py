"""All nf_tables of a network namespace: told by the kernel, and put in elsewhere as it told them.

The messages that the kernel dumps are those that it takes, but for what it alone decides (handles,
counts of use): so everything goes along, counters, elements of sets with the time that is left to
them, and the matches and targets of iptables-nft. Numbers: Linux, include/uapi/linux/netfilter/
nf_tables.h and nf_tables_compat.h.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from migrate.kernel.netlinkwire import (
    ACKNOWLEDGE,
    APPEND,
    CREATE,
    NESTED,
    Attribute,
    Channel,
    Message,
    number,
    pack,
    text,
    unpack,
)

_SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_DELETE_TABLE = 2
_HEADER = struct.Struct(">BBH")  # struct nfgenmsg
_FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
_TABLE_OWNED, _CHAIN_BOUND = 0x2, 0x4  # NFT_TABLE_F_OWNER, NFT_CHAIN_BINDING
_PROTOCOL_AT = {2: 9, 10: 6}  # where IPv4 and IPv6 say which protocol follows
_REMEMBERING = {"recent", "hashlimit", "quota", "set", "SET", "connlimit", "statistic", "cluster"}
"""Extensions of iptables that hold more than their rule says, or lean on ipset."""
OWN_TABLES = frozenset({"migrate-closed", "migrate-gate"})
"""Of kernel/closednetns.py and syngate.py: ours, and no part of the container's."""


@dataclass(frozen=True)
class Part:
    """How tables, chains and so on are asked for and made, and which of their attributes are."""

    name: str
    new: int
    get: int
    kept: frozenset[int]


TABLE = Part("table", 0, 1, frozenset({1, 2, 6}))
CHAIN = Part("chain", 3, 4, frozenset({1, 3, 4, 5, 7, 8, 10, 12}))
RULE = Part("rule", 6, 7, frozenset({1, 2, 4, 7}))
SET = Part("set", 9, 10, frozenset({1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 17, 18}))
ELEMENTS = Part("set's elements", 12, 13, frozenset({1, 2, 3}))
OBJECT = Part("object", 18, 19, frozenset({1, 2, 3, 4, 8}))
FLOWTABLE = Part("flowtable", 22, 23, frozenset({1, 2, 3, 7}))
PARTS = {part.new: part for part in (TABLE, CHAIN, OBJECT, SET, FLOWTABLE, ELEMENTS, RULE)}
_SET_ID, _SET_FLAGS = 10, 3
_RULE_EXPRESSIONS, _RULE_COMPAT = 4, 5


@dataclass(frozen=True)
class Entry:
    """One part of a ruleset: which (`Part.new`), the family, and its attributes, packed."""

    part: int
    family: int
    attributes: bytes


def look(channel: Channel) -> list[Entry]:
    """All of a namespace, in the order in which it can be put in.

    Raises OSError: EPROTONOSUPPORT and the like where the kernel has no nf_tables. One question
    and no more where there are none.
    """
    tables = _ask(channel, TABLE)
    if all(text(message.get(1)) in OWN_TABLES for message in tables):
        return []
    sets = _ask(channel, SET)
    found = [(TABLE, tables), (CHAIN, _ask(channel, CHAIN)), (OBJECT, _ask(channel, OBJECT)),
             (SET, sets), (FLOWTABLE, _ask(channel, FLOWTABLE)),
             (ELEMENTS, [m for each in sets for m in _elements(channel, each)]),
             (RULE, _ask(channel, RULE))]  # fmt: skip
    return [
        Entry(part.new, message.header[0], pack(p for p in message.attributes if p[0] in part.kept))
        for part, messages in found
        for message in messages
        if text(message.get(1)) not in OWN_TABLES
    ]


def _ask(channel: Channel, part: Part, attributes: Iterable[Attribute] = ()) -> list[Message]:
    kind = _SUBSYSTEM << 8 | part.get
    return channel.dump(kind, _HEADER.pack(socket.AF_UNSPEC, 0, 0), attributes)


def _elements(channel: Channel, told: Message) -> list[Message]:
    kind = _SUBSYSTEM << 8 | ELEMENTS.get
    which = [(1, told.get(1) or b""), (2, told.get(2) or b"")]
    found = channel.dump(kind, _HEADER.pack(told.header[0], 0, 0), which)
    return [message for message in found if message.get(3)]


def complaints(entries: Iterable[Entry]) -> Iterator[str]:
    """What of a ruleset can't be put in elsewhere, in words."""
    for entry in entries:
        attributes = dict(unpack(entry.attributes))
        name = f"{_FAMILIES.get(entry.family, '?')} {text(attributes.get(1))}"
        if entry.part == TABLE.new and _big(attributes.get(2)) & _TABLE_OWNED:
            yield f"the nftables table '{name}' belongs to a process (flag owner)"
        if entry.part == CHAIN.new and _big(attributes.get(10)) & _CHAIN_BOUND:
            yield f"the nftables table '{name}' has a chain without a name"
        if entry.part == RULE.new:
            for expression, content in _expressions(attributes):
                extension = text(dict(unpack(content)).get(1))
                if expression in {"match", "target"} and extension in _REMEMBERING:
                    yield f"the table '{name}' uses iptables' extension '{extension}'"


def check(entries: Iterable[Entry]) -> None:
    """Raise ValueError for what can't be such an entry, whoever has told it."""
    for entry in entries:
        part = PARTS.get(entry.part)
        if part is None or entry.family not in _FAMILIES:
            raise ValueError("a part of the nftables rules is not known")
        attributes = unpack(entry.attributes)
        if unknown := {kind for kind, _ in attributes} - part.kept:
            raise ValueError(f"an nftables {part.name} has the attribute {min(unknown)}")
        if (table := text(dict(attributes).get(1))) in OWN_TABLES:
            raise ValueError(f"the nftables table '{table}' is not a container's")


def put(channel: Channel, entries: Sequence[Entry]) -> None:
    """Put them in, all or none of them, where there are none of these tables.

    Raises OSError; its `filename` names what the kernel refused.
    """
    messages = [
        _message(entry.part, entry.family, _prepared(entry, position),
                 CREATE | (APPEND if entry.part == RULE.new else 0))
        for position, entry in enumerate(entries)
    ]  # fmt: skip
    try:
        _carry_out(channel, messages)
    except OSError as error:
        at = (error.filename or 0) - 1
        if 0 <= at < len(entries):
            entry = entries[at]
            table = text(dict(unpack(entry.attributes)).get(1))
            error.filename = (
                f"a {PARTS[entry.part].name} of the nftables table "
                f"'{_FAMILIES[entry.family]} {table}'"
            )
        raise


def remove(channel: Channel, entries: Iterable[Entry]) -> None:
    """Remove the tables among them with all that is in them; raises OSError.

    It waits for RCU where they have chains at hooks.
    """
    tables = [entry for entry in entries if entry.part == TABLE.new]
    if tables:
        _carry_out(channel, [
            _message(_DELETE_TABLE, entry.family, [(1, dict(unpack(entry.attributes))[1])], 0)
            for entry in tables
        ])  # fmt: skip


def _carry_out(channel: Channel, messages: list[tuple[int, int, bytes]]) -> None:
    *others, (kind, flags, body) = messages
    begin, end = (
        (number, 0, _HEADER.pack(0, 0, _SUBSYSTEM)) for number in (_BATCH_BEGIN, _BATCH_END)
    )
    channel.carry_out([begin, *others, (kind, flags | ACKNOWLEDGE, body), end])


def _message(
    part: int, family: int, attributes: Iterable[Attribute], flags: int
) -> tuple[int, int, bytes]:  # fmt: skip
    return _SUBSYSTEM << 8 | part, flags, _HEADER.pack(family, 0, 0) + pack(attributes)


def _prepared(entry: Entry, position: int) -> list[Attribute]:
    """With what the kernel wants besides: a set's number within the batch, a rule's protocol."""
    attributes = list(unpack(entry.attributes))
    if entry.part == SET.new:
        attributes.append((_SET_ID, struct.pack(">I", position + 1)))
    if entry.part == RULE.new and (protocol := _protocol(entry.family, dict(attributes))):
        compat = pack([(1, struct.pack(">I", protocol)), (2, bytes(4))])
        attributes.append((_RULE_COMPAT | NESTED, compat))
    return attributes


def _expressions(attributes: dict[int, bytes]) -> Iterator[tuple[str, bytes]]:
    for _kind, element in unpack(attributes.get(_RULE_EXPRESSIONS) or b""):
        fields = dict(unpack(element))
        yield text(fields.get(1)), fields.get(2) or b""


def _protocol(family: int, attributes: dict[int, bytes]) -> int:
    """Of a rule with extensions of iptables: the protocol that they are for, 0 for any.

    The kernel asks for it and does not tell it (net/netfilter/nft_compat.c, nft_parse_compat); it
    is what the rule compares the packet's protocol with.
    """
    found, loaded = 0, False
    extended = False
    for name, content in _expressions(attributes):
        fields = dict(unpack(content))
        if name in {"match", "target"}:
            extended = True
        if name == "meta":
            loaded = _big(fields.get(2)) == 16  # NFT_META_L4PROTO
        elif name == "payload":  # NFT_PAYLOAD_NETWORK_HEADER
            wanted = (1, _PROTOCOL_AT.get(family, -1), 1)
            loaded = tuple(_big(fields.get(kind)) for kind in (2, 3, 4)) == wanted
        elif name == "cmp" and loaded and not _big(fields.get(2)):  # NFT_CMP_EQ
            found = number(dict(unpack(fields.get(3) or b"")).get(1)) & 0xFF
            loaded = False
    return found if extended else 0


def _big(value: bytes | None) -> int:
    return int.from_bytes(value or b"", "big")
