"""The keys that end an attachment, found among what is typed."""

from __future__ import annotations

from migrate.errors import MigrateError
from migrate.runtime.errors import SpecInvalid

DEFAULT = "ctrl-p,ctrl-q"
_CONTROLS = {f"ctrl-{chr(code + 64).lower()}": code for code in range(32)}


def parse(text: str) -> bytes:
    """The bytes of "ctrl-p,ctrl-q", "ctrl-],x"; none of "". Raises SpecInvalid."""
    found = bytearray()
    for word in text.split(",") if text else []:
        if word.lower() in _CONTROLS:
            found.append(_CONTROLS[word.lower()])
        elif len(word) == 1 and word.isascii() and word.isprintable():
            found += word.encode()
        else:
            raise _unknown(word)
    return bytes(found)


def _unknown(word: str) -> MigrateError:
    return SpecInvalid(
        f"'{word}' is no key", cause="keys are characters or ctrl-X, divided by commas",
        mend="give them as --detach-keys ctrl-p,ctrl-q; '' for none",
    )  # fmt: skip


class DetachKeys:
    """Looks for `keys`; what may be their beginning is kept back until the next key."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._kept = b""

    def take(self, data: bytes) -> tuple[bytes, bool]:
        """What is to be passed on of `data` and before; whether the keys have come."""
        if not self._keys:
            return data, False
        data = self._kept + data
        at = data.find(self._keys)
        if at >= 0:
            return data[:at], True
        length = min(len(data), len(self._keys) - 1)
        while length and not self._keys.startswith(data[len(data) - length :]):
            length -= 1
        self._kept = data[len(data) - length :]
        return data[: len(data) - length], False
