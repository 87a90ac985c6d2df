"""Rules of nf_tables through pyroute2: tables of ours, their chains and rules.

All that one call changes comes into force at once, or not at all: a batch is a transaction. A rule
is a row of expressions, made by the functions below, and has a comment, by which it is found again.
Names, keys and flags: Linux, include/uapi/linux/netfilter/nf_tables.h. All is of the network
namespace of the calling thread. Errors are OSError: EOPNOTSUPP or EPROTONOSUPPORT where the kernel
has no nf_tables.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

IPV4, IPV6 = 2, 10  # NFPROTO_*
_NLM_F_NONREC = 0x100  # include/uapi/linux/netlink.h: a chain or table that is empty
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
_HOOKS = {"prerouting": 0, "input": 1, "forward": 2, "output": 3, "postrouting": 4}
_R1, _R2 = 1, 2  # NFT_REG_1, NFT_REG_2: 16 bytes each
_EQUAL, _UNEQUAL = 0, 1
Expression = dict[str, Any]


@dataclass(frozen=True)
class Chain:
    """A base chain: `kind` is nat or filter."""

    name: str
    kind: str
    hook: str
    priority: int


@dataclass(frozen=True)
class Rule:
    """A rule in a chain, with the comment that names its owner."""

    chain: str
    comment: str
    expressions: tuple[Expression, ...]


# -- changes


def add(family: int, table: str, chains: Iterable[Chain], rules: Iterable[Rule]) -> None:
    """Add rules, and the table and chains where they are not there yet."""
    from pyroute2.netlink import NLM_F_APPEND, NLM_F_CREATE
    from pyroute2.netlink.nfnetlink import nftsocket

    wanted = [_message(nftsocket.nft_table_msg, nftsocket.NFT_MSG_NEWTABLE, family, NLM_F_CREATE,
                       NAME=table)]  # fmt: skip
    for chain in chains:
        hook = {"attrs": [("NFTA_HOOK_HOOKNUM", _HOOKS[chain.hook]),
                          ("NFTA_HOOK_PRIORITY", chain.priority)]}  # fmt: skip
        wanted.append(
            _message(nftsocket.nft_chain_msg, nftsocket.NFT_MSG_NEWCHAIN, family, NLM_F_CREATE,
                     TABLE=table, NAME=chain.name, HOOK=hook, TYPE=chain.kind)
        )  # fmt: skip
    for rule in rules:
        wanted.append(
            _message(nftsocket.nft_rule_msg, nftsocket.NFT_MSG_NEWRULE, family,
                     NLM_F_CREATE | NLM_F_APPEND, TABLE=table, CHAIN=rule.chain,
                     EXPRESSIONS=list(rule.expressions), USERDATA={"value": rule.comment})
        )  # fmt: skip
    _carry_out(wanted)


def remove(family: int, table: str, chains: Iterable[Chain], comment: str) -> None:
    """Remove the rules with that comment, and the table when it has no rules any more."""
    from pyroute2.netlink.nfnetlink import nftsocket

    doomed = [
        _message(nftsocket.nft_rule_msg, nftsocket.NFT_MSG_DELRULE, family, 0, TABLE=table,
                 CHAIN=chain, HANDLE=handle)
        for chain, handle, text in _rules(family, table)
        if text == comment
    ]  # fmt: skip
    if doomed:
        # Another command may have removed one of them: then they are looked for again.
        with contextlib.suppress(FileNotFoundError):
            _carry_out(doomed)
            doomed = []
        if doomed:
            remove(family, table, chains, comment)
            return
    _remove_empty(family, table, chains)


def _remove_empty(family: int, table: str, chains: Iterable[Chain]) -> None:
    """Remove the table, unless there is a rule in it: nothing is lost that comes meanwhile."""
    from pyroute2.netlink.nfnetlink import nftsocket

    doomed = [
        _message(nftsocket.nft_chain_msg, nftsocket.NFT_MSG_DELCHAIN, family,
                 _NLM_F_NONREC, TABLE=table, NAME=chain.name)
        for chain in chains
    ]  # fmt: skip
    doomed.append(
        _message(nftsocket.nft_table_msg, nftsocket.NFT_MSG_DELTABLE, family,
                 _NLM_F_NONREC, NAME=table)
    )  # fmt: skip
    try:
        _carry_out(doomed)
    except OSError as error:
        if error.errno not in {errno.EBUSY, errno.ENOENT}:
            raise


def tables(family: int) -> list[str]:
    """The names of all tables of a family, whoever has made them."""
    from pyroute2.netlink.nfnetlink import nfgen_msg, nftsocket

    with _socket(family) as handle:
        answers = handle.request_get(nfgen_msg(), nftsocket.NFT_MSG_GETTABLE)
    return [answer.get_attr("NFTA_TABLE_NAME") for answer in answers]


def comments(family: int, table: str) -> list[str]:
    """The comments of a table's rules, in their order; none where there is no table."""
    return [text for _chain, _handle, text in _rules(family, table)]


def _rules(family: int, table: str) -> list[tuple[str, int, str]]:
    """Chain, handle and comment of each rule."""
    from pyroute2.netlink.nfnetlink import nftsocket

    message = nftsocket.nft_rule_msg()
    message["attrs"] = [("NFTA_RULE_TABLE", table)]
    with _socket(family) as handle:
        try:
            answers = handle.request_get(message, nftsocket.NFT_MSG_GETRULE)
        except FileNotFoundError:
            return []
    return [
        (a.get_attr("NFTA_RULE_CHAIN"), a.get_attr("NFTA_RULE_HANDLE"), _comment_of(a))
        for a in answers
        if a.get_attr("NFTA_RULE_TABLE") == table
    ]


def _comment_of(answer: Any) -> str:
    userdata = answer.get_attr("NFTA_RULE_USERDATA")
    return userdata if isinstance(userdata, str) else ""


def _message(kind: Any, number: int, family: int, flags: int, **attributes: Any) -> Any:
    from pyroute2.netlink import NLM_F_ACK, NLM_F_REQUEST

    message = kind()
    message["attrs"] = [(kind.name2nla(key.lower()), value) for key, value in attributes.items()]
    message["nfgen_family"] = family
    message["header"]["type"] = _SUBSYSTEM << 8 | number
    message["header"]["flags"] = NLM_F_REQUEST | NLM_F_ACK | flags
    return message


def _carry_out(messages: list[Any]) -> None:
    """As one transaction; raises OSError."""
    from pyroute2.netlink import NLM_F_REQUEST
    from pyroute2.netlink.nfnetlink import nfgen_msg

    bounds = []
    for number in (_BATCH_BEGIN, _BATCH_END):
        bound = nfgen_msg()
        bound["res_id"] = _SUBSYSTEM
        bound["header"]["type"] = number
        bound["header"]["flags"] = NLM_F_REQUEST
        bounds.append(bound)
    with _socket() as handle:
        handle.nlm_request_batch([bounds[0], *messages, bounds[1]])


@contextlib.contextmanager
def _socket(family: int = IPV4) -> Iterator[Any]:
    from pyroute2.netlink.exceptions import NetlinkError
    from pyroute2.netlink.nfnetlink.nftsocket import NFTSocket

    handle = NFTSocket(nfgen_family=family)
    try:
        yield handle
    except NetlinkError as error:
        raise OSError(error.code, os.strerror(error.code)) from error
    finally:
        handle.close()


# -- expressions


def _expression(name: str, **fields: Any) -> Expression:
    data = [(f"NFTA_{name.upper()}_{key.upper()}", value) for key, value in fields.items()]
    attributes = [("NFTA_EXPR_NAME", name), ("NFTA_EXPR_DATA", {"attrs": data})]
    return {"attrs": attributes}


def _value(data: bytes) -> dict[str, Any]:
    return {"attrs": [("NFTA_DATA_VALUE", data)]}


def _compare(data: bytes, operation: int = _EQUAL) -> Expression:
    return _expression("cmp", sreg=_R1, op=operation, data=_value(data))


def _masked(mask: bytes) -> Expression:
    zero = _value(bytes(len(mask)))
    return _expression("bitwise", sreg=_R1, dreg=_R1, len=len(mask), mask=_value(mask), xor=zero)


def interface(name: str, *, incoming: bool, other: bool = False) -> list[Expression]:
    """The packet comes in (or goes out) by the interface; `other`: by any but that."""
    key = 6 if incoming else 7  # NFT_META_IIFNAME, NFT_META_OIFNAME
    padded = name.encode().ljust(16, b"\0")
    return [_expression("meta", dreg=_R1, key=key),
            _compare(padded, _UNEQUAL if other else _EQUAL)]  # fmt: skip


def address(subnet: str, *, source: bool, other: bool = False) -> list[Expression]:
    """Its source (or destination) is in the subnet; `other`: it is not."""
    network = ipaddress.ip_network(subnet)
    size = 4 if network.version == 4 else 16
    offset = (12 if source else 16) if network.version == 4 else (8 if source else 24)
    # NFT_PAYLOAD_NETWORK_HEADER
    found = [_expression("payload", dreg=_R1, base=1, offset=offset, len=size)]
    if network.prefixlen < size * 8:
        found.append(_masked(network.netmask.packed))
    return [*found, _compare(network.network_address.packed, _UNEQUAL if other else _EQUAL)]


def to_this_host() -> list[Expression]:
    """Its destination is an address of this host (whatever network namespace that is)."""
    # pyroute2 has NFTA_FIB_RESULT, an enumeration, as a set of bits: 1 | 2 is
    # NFT_FIB_RESULT_ADDRTYPE. NFTA_FIB_F_DADDR; RTN_LOCAL.
    result = {"NFT_FIB_RESULT_UNSPEC", "NFT_FIB_RESULT_OIF"}
    local = (2).to_bytes(4, "little" if _is_little_endian() else "big")
    return [_expression("fib", dreg=_R1, result=result, flags=2), _compare(local)]


def destination_port(protocol: str, port: int) -> list[Expression]:
    """It is a TCP or UDP packet to that port."""
    number = socket.IPPROTO_TCP if protocol == "tcp" else socket.IPPROTO_UDP
    return [
        _expression("meta", dreg=_R1, key=16), _compare(bytes([number])),  # NFT_META_L4PROTO
        # NFT_PAYLOAD_TRANSPORT_HEADER
        _expression("payload", dreg=_R1, base=2, offset=2, len=2),
        _compare(port.to_bytes(2, "big")),
    ]  # fmt: skip


def was_redirected() -> list[Expression]:
    """`redirect` has changed the connection's destination."""
    mask = (1 << 5).to_bytes(4, "little" if _is_little_endian() else "big")  # IPS_DST_NAT
    # NFT_CT_STATUS
    return [_expression("ct", dreg=_R1, key=2), _masked(mask), _compare(bytes(4), _UNEQUAL)]


def redirect(target: str, port: int) -> list[Expression]:
    """Send the connection to that address and port instead."""
    found = ipaddress.ip_address(target)
    family = IPV4 if found.version == 4 else IPV6
    return [
        _expression("immediate", dreg=_R1, data=_value(found.packed)),
        _expression("immediate", dreg=_R2, data=_value(port.to_bytes(2, "big"))),
        # NFT_NAT_DNAT
        _expression("nat", type=1, family=family, reg_addr_min=_R1, reg_proto_min=_R2),
    ]  # fmt: skip


def masquerade() -> list[Expression]:
    """Let the connection come from this host's own address."""
    return [_expression("masq")]


def drop() -> list[Expression]:
    """The packet is lost."""
    code = {"attrs": [("NFTA_DATA_VERDICT", {"attrs": [("NFTA_VERDICT_CODE", 0)]})]}
    return [_expression("immediate", dreg=0, data=code)]


def _is_little_endian() -> bool:
    import sys

    return sys.byteorder == "little"
