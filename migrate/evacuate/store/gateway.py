"""etcd's JSON gateway over HTTP: endpoints, TLS, passwords, time limits, bounded answers.

The gateway is part of every etcd since 3.4 and documented ("Why gRPC gateway" in etcd's developer
guide): POST of JSON to /v3/..., bytes in base64, int64 as strings. migrate speaks it with the
standard library. etcd3gw 2.7, the one Python client that is kept up (OpenStack's), is the same
gateway with requests, pbr and futurist beneath it; it knows one endpoint, no password, and no
bounds of an answer. etcd3's last release, 0.12 of 2020, wants code generated for old versions of
grpcio and protobuf; grpcio itself is some 10 MB for five calls.

Nothing of an endpoint's password is ever shown.
"""

from __future__ import annotations

import http.client
import os
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote

import msgspec

from migrate.errors import UsageError
from migrate.evacuate.store.errors import StoreUnreachable, StoreUnreadable
from migrate.evacuate.store.keyvalues import CALL_SECONDS

if TYPE_CHECKING:
    import socket
    import ssl

ANSWER_LIMIT = 64 << 20  # bytes of one answer, base64 and all
DEFAULT_PORT = 2379
ENDPOINT_LIMIT = 16
_HOST_AND_PORT = re.compile(
    r"(?:\[(?P<six>[0-9a-fA-F:.]+(?:%\w+)?)\]|(?P<host>[\w.-]+))(?::(?P<port>[0-9]{1,6}))?",
    re.ASCII,
)
_PIECE = 64 << 10
_LEAST_SECONDS = 0.05  # for one endpoint

# google.golang.org/grpc/codes
NOT_FOUND, _PERMISSION_DENIED, _UNAUTHENTICATED = 5, 7, 16
_USERS_CHANGED = "auth store is old"  # code 3: what the token was given for
_ELSEWHERE = {1, 4, 14}  # cancelled, deadline exceeded, unavailable: another member may do it


class _Refusal(msgspec.Struct, frozen=True):
    """The body of an answer that is not 200."""

    message: str = ""
    error: str = ""
    code: int = 0


class _Token(msgspec.Struct, frozen=True):
    token: str


class Refused(Exception):
    """etcd understood and refused; `code` is gRPC's. Callers turn it into an error for users."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Address:
    """What a URL and the environment say of a cluster."""

    endpoints: tuple[tuple[str, int], ...]
    secure: bool = False
    user: str = ""
    password: str = field(default="", repr=False)
    authority: str = ""  # files in PEM: who signs the servers' certificates, our own and its key
    certificate: str = ""
    key: str = field(default="", repr=False)

    @classmethod
    def parse(cls, url: str, environment: Mapping[str, str] = os.environ) -> Address:
        """etcd[s]://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]...]; raises UsageError.

        TLS (etcds) reads MIGRATE_ETCD_CA, _CERT and _KEY; a password that is not in the URL is
        MIGRATE_ETCD_PASSWORD, which other users of the machine can't see in a list of processes.
        """
        scheme, _, rest = url.partition("://")
        credentials, at, hosts = rest.rpartition("@")
        user, colon, password = credentials.partition(":")
        try:
            if scheme not in {"etcd", "etcds"}:
                raise ValueError("it begins with etcd:// or etcds://")
            endpoints = tuple(_endpoint(text) for text in hosts.rstrip("/").split(","))
            if len(endpoints) > ENDPOINT_LIMIT:
                raise ValueError(f"it has more than {ENDPOINT_LIMIT} hosts")
            if at and not user:
                raise ValueError("it has a password without a user")
        except ValueError as error:
            raise UsageError(
                "that is no address of an etcd", cause=str(error),
                mend="give it as etcd://HOST:PORT[,HOST:PORT...], etcds:// for TLS",
            ) from None  # fmt: skip
        if not colon:
            password = environment.get("MIGRATE_ETCD_PASSWORD", "")
        names = ("CA", "CERT", "KEY") if scheme == "etcds" else ()
        files = [environment.get(f"MIGRATE_ETCD_{name}", "") for name in names]
        return cls(endpoints, scheme == "etcds", unquote(user), unquote(password), *files)

    def __str__(self) -> str:
        return "etcd at " + ",".join(_shown(*endpoint) for endpoint in self.endpoints)


def _endpoint(text: str) -> tuple[str, int]:
    match = _HOST_AND_PORT.fullmatch(text)
    if match is None:
        raise ValueError(f"'{_printable(text)[:80]}' is no HOST or HOST:PORT")
    port = int(match["port"] or DEFAULT_PORT)
    if not 0 < port < 65536:
        raise ValueError(f"port {port} is not from 1 to 65535")
    return match["six"] or match["host"], port


def _printable(text: str) -> str:
    return "".join(c for c in text if c.isprintable())


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


Answer = TypeVar("Answer")


class Gateway:
    """Calls to a cluster, one connection each; safe for several threads."""

    def __init__(self, address: Address) -> None:
        self.place = str(address)
        self._address = address
        self._order = list(address.endpoints)  # the one that answered last is asked first
        self._lock = threading.Lock()
        self._token = ""
        self._tls = _tls_context(address) if address.secure else None

    def call(
        self, path: str, body: object, answer: type[Answer], within: float = CALL_SECONDS
    ) -> Answer:
        """POST `body` to `path`; endpoints in turn, `within` seconds in all.

        Raises Refused for what etcd itself says no to, StoreUnreachable, and StoreUnreadable when
        the answer is none of that type.
        """
        deadline = time.monotonic() + within
        if self._address.user and not self._token:
            self._authenticate(deadline)
        try:
            data = self._post(path, msgspec.json.encode(body), deadline)
        except Refused as refusal:
            ended = refusal.code == _UNAUTHENTICATED or _USERS_CHANGED in str(refusal)
            if not self._address.user or not ended:
                raise
            self._authenticate(deadline)
            data = self._post(path, msgspec.json.encode(body), deadline)
        return self._decoded(data, answer)

    def unusable(self, refusal: Refused) -> StoreUnreachable:
        """The error for a refusal that no caller expects."""
        mend = "see etcd's own log for the cause"
        if refusal.code in {3, _PERMISSION_DENIED, _UNAUTHENTICATED}:
            mend = "check user, password and the rights on keys beneath /migrate/"
        return StoreUnreachable(f"{self.place} refused", cause=str(refusal)[:1000], mend=mend)

    def _authenticate(self, deadline: float) -> None:
        body = {"name": self._address.user, "password": self._address.password}
        self._token = ""
        try:
            data = self._post("/v3/auth/authenticate", msgspec.json.encode(body), deadline)
        except Refused as refusal:
            raise self.unusable(refusal) from None
        self._token = self._decoded(data, _Token).token

    def _post(self, path: str, body: bytes, deadline: float) -> bytes:
        failures = []
        with self._lock:
            order = list(self._order)
        for index, endpoint in enumerate(order):
            left = deadline - time.monotonic()
            seconds = max(_LEAST_SECONDS, left / (len(order) - index))
            try:
                data = self._ask(endpoint, path, body, seconds)
            except (OSError, http.client.HTTPException) as error:
                failures.append(f"{_shown(*endpoint)}: {_told(error)}")
                continue
            except Refused as refusal:
                if refusal.code not in _ELSEWHERE:
                    raise
                failures.append(f"{_shown(*endpoint)}: {refusal}")
                continue
            if index:
                with self._lock:
                    self._order = [endpoint, *(other for other in order if other != endpoint)]
            return data
        raise StoreUnreachable(
            f"{self.place} can't be reached", cause="; ".join(failures)[:2000],
            mend="check that etcd runs and this machine reaches it; nothing is started without it",
        )  # fmt: skip

    def _ask(self, endpoint: tuple[str, int], path: str, body: bytes, seconds: float) -> bytes:
        """One POST to one member; raises OSError, HTTPException, Refused, StoreUnreadable."""
        deadline = time.monotonic() + seconds
        connection = self._connection(*endpoint, seconds)
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = self._token
        try:
            connection.connect()
            connected = connection.sock
            _limit(connected, deadline)
            connection.request("POST", path, body, headers)
            response = connection.getresponse()
            data = bytearray()
            while piece := response.read1(_PIECE):
                data += piece
                if len(data) > ANSWER_LIMIT:
                    raise self._unreadable(f"its answer has more than {ANSWER_LIMIT >> 20} MiB")
                _limit(connected, deadline)
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise self._refused(response.status, bytes(data))
        return bytes(data)

    def _connection(self, host: str, port: int, seconds: float) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(host, port, timeout=seconds)
        return http.client.HTTPSConnection(host, port, timeout=seconds, context=self._tls)

    def _refused(self, status: int, data: bytes) -> Exception:
        try:
            said = msgspec.json.decode(data, type=_Refusal)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._unreadable(f"it answers HTTP status {status}")
        text = _printable(said.message or said.error)[:500]
        return Refused(said.code, text or f"HTTP status {status}")

    def _decoded(self, data: bytes, answer: type[Answer]) -> Answer:
        try:
            return msgspec.json.decode(data, type=answer, strict=False)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._unreadable(str(error)) from error

    def _unreadable(self, cause: str) -> StoreUnreadable:
        return StoreUnreadable(
            f"{self.place} does not answer as etcd does", cause=cause,
            mend="check host and port: they must be those for clients of an etcd from 3.4 on",
        )  # fmt: skip


def _limit(connected: socket.socket, deadline: float) -> None:
    """Let the next wait end at the deadline; raises TimeoutError after it."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    connected.settimeout(left)


def _told(error: Exception) -> str:
    """A failed attempt in words."""
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}; see MIGRATE_ETCD_CA)"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__


def _tls_context(address: Address) -> ssl.SSLContext:
    """The usual checks of a server's certificate; raises UsageError for files that are no good."""
    import ssl

    try:
        context = ssl.create_default_context(cafile=address.authority or None)
        if address.certificate:
            context.load_cert_chain(address.certificate, address.key or None)
    except (OSError, ValueError) as error:
        raise UsageError(
            "the certificates for etcd can't be used", cause=str(error),
            mend="check the files that MIGRATE_ETCD_CA, _CERT and _KEY name",
        ) from error  # fmt: skip
    return context
