"""A real registry on the loopback: Debian's docker-registry, with TLS and either kind of auth."""

from __future__ import annotations

import base64
import contextlib
import datetime
import http.server
import json
import re
import ssl
import subprocess
import threading
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bcrypt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from tests.engine import eventually
from tests.evacuate.store.certificates import Authority

ADDRESS = "127.0.0.1"
USER, PASSWORD = "tester", "open sesame"
CREDENTIALS = f"{USER}:{PASSWORD}"
_READY = re.compile(r"listening on 127\.0\.0\.1:(\d+)")
SERVICE, ISSUER = "test-registry", "test-issuer"


@dataclass(frozen=True)
class Registry:
    """One that serves; `authority` has signed its certificate, if it speaks TLS."""

    host: str
    directory: Path
    log: Path
    authority: Path | None = None

    def requests(self, pattern: str) -> int:
        """How many lines of its log match; the last is written after the answer is sent."""
        return len(re.findall(pattern, self.log.read_text()))


@contextlib.contextmanager
def serving(
    directory: Path, *, tls: Authority | None = None, auth: dict | None = None
) -> Iterator[Registry]:
    """A registry that keeps its blobs in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    config: dict = {
        "version": 0.1, "log": {"level": "info", "accesslog": {"disabled": False}},
        "storage": {"filesystem": {"rootdirectory": str(directory / "blobs")}},
        "http": {"addr": f"{ADDRESS}:0"},
    }  # fmt: skip
    if tls:
        certificate, key = tls.issue("registry", ADDRESS)
        config["http"]["tls"] = {"certificate": str(certificate), "key": str(key)}
    if auth:
        config["auth"] = auth
    (directory / "config.yml").write_text(json.dumps(config))  # JSON is YAML
    log = directory / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            ["docker-registry", "serve", directory / "config.yml"], stdout=file, stderr=file,
            env={"PATH": "/usr/bin:/bin", "OTEL_TRACES_EXPORTER": "none"},
        )  # fmt: skip
    try:
        port = _port(process, log)
        yield Registry(f"{ADDRESS}:{port}", directory, log, tls.certificate if tls else None)
    finally:
        process.kill()
        process.wait()


def _port(process: subprocess.Popen, log: Path) -> int:
    def said() -> re.Match[str] | None:
        return _READY.search(log.read_text())

    eventually(lambda: said() or process.poll() is not None, 60.0)
    match = said()
    assert match, f"the registry does not serve: {log.read_text()[-2000:]}"
    return int(match[1])


def passwords(file: Path) -> dict:
    """Basic authentication by a file as htpasswd writes it."""
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4, prefix=b"2a")).decode()
    file.write_text(f"{USER}:{hashed}\n")
    return {"htpasswd": {"realm": "test", "path": str(file)}}


@contextlib.contextmanager
def token_server(directory: Path, tls: Authority) -> Iterator[dict]:
    """Bearer tokens for whoever knows the password; yields the registry's `auth`.

    The protocol is distribution's (docs/spec/auth/token.md, jwt.md): a signed JSON web token whose
    header carries the certificate that the registry trusts.
    """
    directory.mkdir(parents=True, exist_ok=True)
    signer = Signer(directory)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given = self.headers.get("Authorization", "").removeprefix("Basic ")
            if given and base64.b64decode(given).decode() != CREDENTIALS:
                self.send_error(401)
                return
            asked = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
            body = json.dumps({"token": signer.token(asked.get("scope", []), bool(given))}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer((ADDRESS, 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*tls.issue("tokens", ADDRESS))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        realm = f"https://{ADDRESS}:{server.server_address[1]}/token"
        yield {"token": {"realm": realm, "service": SERVICE, "issuer": ISSUER,
                         "rootcertbundle": str(signer.certificate)}}  # fmt: skip
    finally:
        server.shutdown()
        server.server_close()


class Signer:
    """Signs tokens (RFC 7515, ES256) by a key whose certificate is `certificate`."""

    def __init__(self, directory: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "token signer")])
        now = datetime.datetime.now(datetime.UTC)
        made = (
            x509.CertificateBuilder().subject_name(name).issuer_name(name)
            .public_key(self._key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )  # fmt: skip
        self._der = made.public_bytes(serialization.Encoding.DER)
        self.certificate = directory / "signer.pem"
        self.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))

    def token(self, scopes: list[str], known: bool) -> str:
        """What is asked for in `scopes` (`repository:NAME:ACTIONS`), to the known; else nothing."""
        now = int(datetime.datetime.now(datetime.UTC).timestamp())
        access = []
        for scope in scopes if known else []:
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        claims = {"iss": ISSUER, "sub": USER, "aud": SERVICE, "exp": now + 300, "nbf": now - 10,
                  "iat": now, "jti": "1", "access": access}  # fmt: skip
        header = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(self._der).decode()]}
        text = b".".join(_encoded(json.dumps(part).encode()) for part in (header, claims))
        r, s = utils.decode_dss_signature(self._key.sign(text, ec.ECDSA(hashes.SHA256())))
        return (text + b"." + _encoded(r.to_bytes(32, "big") + s.to_bytes(32, "big"))).decode()


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
