"""How a registry is approached: credentials and trust, handed to skopeo in files of our own.

A password on a command line can be read by everybody on the host (proc_pid_cmdline(5)).
"""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from migrate.errors import UsageError


@dataclass(frozen=True)
class Access:
    """`credentials` are USER:PASSWORD for `host`; `authority` a file of certificates, PEM."""

    host: str
    credentials: str = ""
    auth_file: Path | None = None
    tls_verify: bool = True
    authority: Path | None = None

    @contextlib.contextmanager
    def options(self, scratch: Path, prefix: str) -> Iterator[list[str]]:
        """Options of skopeo, named for its `prefix` (src-, dest-, or none); raises UsageError."""
        if self.credentials and self.auth_file:
            raise UsageError("--creds and --authfile exclude each other")
        with tempfile.TemporaryDirectory(dir=scratch, prefix="access-") as place:
            found = [f"--{prefix}tls-verify={'true' if self.tls_verify else 'false'}"]
            if self.credentials:
                given = Path(place, "auth.json")
                encoded = base64.b64encode(self.credentials.encode()).decode()
                given.write_text(json.dumps({"auths": {self.host: {"auth": encoded}}}))
                given.chmod(0o600)
                found += [f"--{prefix}authfile", str(given)]
            elif self.auth_file:
                found += [f"--{prefix}authfile", str(self.auth_file)]
            if self.authority:
                certificates = Path(place, "certificates")
                certificates.mkdir()
                shutil.copyfile(self.authority, certificates / "authority.crt")
                found += [f"--{prefix}cert-dir", str(certificates)]
            yield found
