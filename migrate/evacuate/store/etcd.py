"""The store in an etcd cluster (version 3.4 or later), beneath /migrate/.

A change is one transaction that compares the modification revision of all that was read, ranges
included (etcd's API reference, message Compare); reads are linearizable. etcd counts a lease's time
from when its leader heard of it, so a holder that counts from its own question is never behind; a
restarted cluster lets leases live longer, never shorter.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from migrate.evacuate.store.errors import LeaseLost, StoreUnreadable
from migrate.evacuate.store.gateway import NOT_FOUND, Address, Answer, Gateway, Refused
from migrate.evacuate.store.keyvalues import CALL_SECONDS, Snapshot

PREFIX = "/migrate/"


class _Header(msgspec.Struct, frozen=True):
    revision: int
    cluster_id: str = ""


class _KeyValue(msgspec.Struct, frozen=True):
    key: bytes
    value: bytes = b""


class _Range(msgspec.Struct, frozen=True):
    kvs: tuple[_KeyValue, ...] = ()


class _Response(msgspec.Struct, frozen=True):
    response_range: _Range | None = None


class _Transaction(msgspec.Struct, frozen=True):
    header: _Header
    succeeded: bool = False  # left out where false, as all defaults are
    responses: tuple[_Response, ...] = ()


class _Lease(msgspec.Struct, frozen=True, rename={"identifier": "ID", "seconds": "TTL"}):
    identifier: str
    seconds: int = 0


class _Renewal(msgspec.Struct, frozen=True):
    """One message of the stream that a renewal answers."""

    result: _Lease


class EtcdKeyValues:
    """Key-values in etcd, by its JSON gateway."""

    def __init__(self, address: Address) -> None:
        self._gateway = Gateway(address)
        self.place = self._gateway.place

    def read(self, reads: Collection[str], *, within: float = CALL_SECONDS) -> Snapshot:
        """See `KeyValues`: one transaction of ranges, so at one revision."""
        body = {"success": [{"request_range": _span(read)} for read in reads]}
        told = self._call("/v3/kv/txn", body, _Transaction, within)
        found = {}
        for response in told.responses:
            for pair in response.response_range.kvs if response.response_range else ():
                found[self._key(pair.key)] = pair.value
        return Snapshot(tuple(reads), found, told.header.revision, told.header.cluster_id)

    def commit(
        self, read: Snapshot, writes: Mapping[str, bytes], *, removes: Collection[str] = (),
        lease: str = "",
    ) -> bool:  # fmt: skip
        """See `KeyValues`."""
        unchanged = {"result": "LESS", "target": "MOD", "mod_revision": str(read.revision + 1)}
        owner = {"lease": lease} if lease else {}
        body = {
            "compare": [_span(key) | unchanged for key in read.reads],
            "success": [
                *({"request_put": {"key": _coded(key), "value": _base64(value)} | owner}
                  for key, value in writes.items()),
                *({"request_delete_range": {"key": _coded(key)}} for key in removes),
            ],
        }  # fmt: skip
        try:
            return self._gateway.call("/v3/kv/txn", body, _Transaction).succeeded
        except Refused as refusal:
            if lease and refusal.code == NOT_FOUND:
                raise LeaseLost(
                    "the store has ended our claim",
                    cause=f"{self.place} was too slow, or was reset",
                ) from None
            raise self._gateway.unusable(refusal) from None

    def grant(self, seconds: float) -> tuple[str, float]:
        """See `KeyValues`; etcd may give a longer one than was asked for."""
        body = {"TTL": str(math.ceil(seconds))}
        lease = self._call("/v3/lease/grant", body, _Lease, CALL_SECONDS)
        if lease.seconds <= 0:
            raise StoreUnreadable(f"{self.place} gave a lease of {lease.seconds} s")
        return lease.identifier, float(lease.seconds)

    def renew(self, lease: str, *, within: float = CALL_SECONDS) -> float:
        """See `KeyValues`."""
        told = self._call("/v3/lease/keepalive", {"ID": lease}, _Renewal, within)
        return float(max(0, told.result.seconds))

    def revoke(self, lease: str) -> None:
        """See `KeyValues`; one that is gone is none the less revoked."""
        try:
            self._gateway.call("/v3/lease/revoke", {"ID": lease}, dict[str, Any])
        except Refused as refusal:
            if refusal.code != NOT_FOUND:
                raise self._gateway.unusable(refusal) from None

    def _call(self, path: str, body: object, answer: type[Answer], within: float) -> Answer:
        try:
            return self._gateway.call(path, body, answer, within)
        except Refused as refusal:
            raise self._gateway.unusable(refusal) from None

    def _key(self, raw: bytes) -> str:
        text = raw.decode(errors="replace")
        if not text.startswith(PREFIX) or text.encode() != raw:
            raise StoreUnreadable(
                f"{self.place} has a key that migrate does not write", cause=repr(raw[:200]),
                mend="remove that key from etcd",
            )  # fmt: skip
        return text.removeprefix(PREFIX)


def _span(read: str) -> dict[str, str]:
    """A key, or the range of all that begin with a prefix: up to the prefix with its "/" raised."""
    if not read.endswith("/"):
        return {"key": _coded(read)}
    return {"key": _coded(read), "range_end": _coded(read[:-1] + "0")}  # "0" follows "/"


def _coded(key: str) -> str:
    return _base64((PREFIX + key).encode())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
