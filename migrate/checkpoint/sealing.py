"""Checkpoints that only the holder of a key can read: age files (age-encryption.org/v1), by pyrage.

A checkpoint holds a program's memory, and so its passwords and keys. Sealed, the archive is the
content of an age file: encrypted in pieces of 64 KiB, each authenticated, to any number of
recipients: age's own keys ("age1...") or SSH public keys ("ssh-ed25519 ...", "ssh-rsa ...").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from migrate.checkpoint.errors import CannotOpen, RecipientInvalid

HEAD = b"age-encryption.org/v1\n"
KEY_LIMIT = 64 << 10  # bytes of a file with identities
Count = Callable[[int], None]
"""Hears of so many more bytes."""


def recipients_of(texts: Sequence[str]) -> list[Any]:
    """The keys to encrypt to; raises RecipientInvalid."""
    import pyrage

    found = []
    for text in texts:
        kind = pyrage.ssh if text.startswith("ssh-") else pyrage.x25519
        try:
            found.append(kind.Recipient.from_str(text.strip()))
        except (pyrage.RecipientError, ValueError) as error:
            raise RecipientInvalid(f"'{text[:80]}' is no recipient", cause=str(error)) from error
    return found


def is_sealed(source: Path) -> bool:
    """Whether the file at `source` is an age file; raises OSError."""
    if not source.is_file():
        return False
    with source.open("rb") as file:
        return file.read(len(HEAD)) == HEAD


def seal(plain: Path, sealed: BinaryIO, recipients: Sequence[Any], count: Count) -> None:
    """Encrypt the file `plain` into `sealed`; raises OSError."""
    import pyrage

    with plain.open("rb") as file:
        pyrage.encrypt_io(_Counted(file, count), sealed, list(recipients))


def unseal(source: Path, plain: Path, identity: Path, count: Count) -> None:
    """Decrypt `source` into the new file `plain`, 0600; raises CannotOpen, OSError.

    `identity`: a file with age's secret keys, or an SSH private key without a passphrase. What is
    written before a damage is found is removed.
    """
    import pyrage

    keys = _identities(identity)
    try:
        with source.open("rb") as file, plain.open("xb") as out:
            plain.chmod(0o600)
            pyrage.decrypt_io(_Counted(file, count), out, keys)
    except (pyrage.DecryptError, OSError) as error:
        plain.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise CannotOpen(
            f"{source} can't be decrypted", cause=f"{error}: it is not for a key in {identity}, "
            "or it is damaged",
        ) from error  # fmt: skip


def _identities(path: Path) -> list[Any]:
    import pyrage

    try:
        with path.open("rb") as file:
            raw = file.read(KEY_LIMIT + 1)
    except OSError as error:
        raise CannotOpen(f"the identity {path} can't be read", cause=str(error)) from error
    try:
        if raw.lstrip().startswith(b"-----BEGIN"):
            return [pyrage.ssh.Identity.from_buffer(raw)]
        lines = [line.strip() for line in raw.decode().splitlines()]
        found = [
            pyrage.x25519.Identity.from_str(line)
            for line in lines if line and not line.startswith("#")
        ]  # fmt: skip
    except (pyrage.IdentityError, ValueError) as error:
        # The error's text may quote the key.
        raise CannotOpen(f"{path} is no identity of age's or SSH's") from error
    if not found or len(raw) > KEY_LIMIT:
        raise CannotOpen(f"{path} is no identity of age's or SSH's", cause="it has no key")
    return found


class _Counted:
    """A file whose reading is told."""

    def __init__(self, file: BinaryIO, count: Count) -> None:
        self._file, self._count = file, count

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._count(len(data))
        return data
