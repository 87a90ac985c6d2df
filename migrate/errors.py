"""The one exception family: what happened, its cause, and what to do next.

Every error class has a `code`: a number of `CODES`, which never changes once released. It is the
exit code of the command and the `code` of the error on the wire. By subject, as far as numbers were
left: 3-5 and 9 general, 6-8, 12, 13, 50-52, 103 and 120-124 many hosts, 10, 11 and 14 this host,
20-30, 53, 54, 61 and 62 images, 31-33 networks, 35-49, 64 and 193 runtime, 55-60 and 63 criu, 65-74
checkpoint, 75-89 transfer, 90-109 move, 110 and 111 bench, 112-119, 15 and 16 migrate-oci, 17-19 a
policy. (0, 1, 2 and 125-127 belong to the shell and to click, 128-192 to signals.)
"""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, ClassVar

CODES = frozenset({*range(3, 125), *range(193, 255)})
WIRE_TEXT_LIMIT = 4096


class MigrateError(Exception):
    """Base of all errors that a user is meant to read.

    `what` is one sentence without a full stop that says what happened; `cause` says why, `mend`
    what to do next. A class may give defaults for the last two.
    """

    code: ClassVar[int] = 3
    cause: str = ""
    mend: str = ""

    _by_code: ClassVar[dict[int, type[MigrateError]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "code" not in cls.__dict__:
            raise TypeError(f"{cls.__name__} needs a code of its own")
        if cls.code not in CODES:
            raise TypeError(f"{cls.__name__}: code {cls.code} is out of range")
        other = MigrateError._by_code.get(cls.code)
        if other is not None and other.__qualname__ != cls.__qualname__:
            raise TypeError(f"{cls.__name__} and {other.__name__} share the code {cls.code}")
        MigrateError._by_code[cls.code] = cls

    def __init__(self, what: str, *, cause: str | None = None, mend: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        if cause is not None:
            self.cause = cause
        if mend is not None:
            self.mend = mend

    @property
    def name(self) -> str:
        """The code in words, from the class's name: `LayerMissing` is `layer-missing`."""
        import re

        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", type(self).__name__).lower()

    def __str__(self) -> str:
        parts = [self.what]
        if self.cause:
            parts.append(f"cause: {self.cause}")
        if self.mend:
            parts.append(f"next: {self.mend}")
        return "\n  ".join(parts)

    @classmethod
    def together(cls, what: str, errors: Sequence[MigrateError]) -> MigrateError:
        """One error of this class for several obstacles; a single one speaks for itself."""
        if len(errors) == 1:
            return errors[0]
        lines = [f"- {e.what}" + (f" ({e.cause})" if e.cause else "") for e in errors]
        mends = dict.fromkeys(f"- {e.mend}" for e in errors if e.mend)
        return cls(
            f"{what}: {len(errors)} obstacles",
            cause="\n    ".join(["", *lines]), mend="\n    ".join(["", *mends]),
        )  # fmt: skip

    def to_wire(self) -> dict[str, Any]:
        """The form `{code, name, what, cause, mend}` that travels to the other host and to JSON."""
        return {
            "code": self.code,
            "name": self.name,
            "what": self.what[:WIRE_TEXT_LIMIT],
            "cause": self.cause[:WIRE_TEXT_LIMIT],
            "mend": self.mend[:WIRE_TEXT_LIMIT],
        }


class InternalError(MigrateError):
    """A defect of migrate itself: an exception that nobody foresaw."""

    code = 4
    mend = "this is a defect of migrate: please report it with the command and its output"


class UsageError(MigrateError):
    """The command's arguments do not fit together."""

    code = 5


class HostNotReady(MigrateError):
    """This host lacks something that the operation needs."""

    code = 10
    mend = "run 'migrate doctor' to see what is missing, and 'migrate doctor --fix' to mend it"


class DiskFull(MigrateError):
    """A file system has no room for what has to be written."""

    code = 11
    mend = "free some space there, or point the state directory at a larger file system"


class OutOfMemory(MigrateError):
    """A process of migrate can get no more memory, or no more threads."""

    code = 9
    mend = "free some memory there, or raise the limit that it was started with (ulimit -a)"


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether an exception of Python's is no defect, but says that there is no memory left."""
    no_thread = isinstance(error, RuntimeError) and "can't start new thread" in str(error)
    return no_thread or isinstance(error, MemoryError)


def from_wire(message: dict[str, Any]) -> MigrateError:
    """The error that `to_wire` described; an unknown code becomes a plain `MigrateError`.

    Every field is untrusted: anything that is not a string of bounded length is dropped.
    """

    def text(key: str) -> str:
        value = message.get(key)
        return value[:WIRE_TEXT_LIMIT] if isinstance(value, str) else ""

    code = message.get("code")
    kind = MigrateError._by_code.get(code, MigrateError) if isinstance(code, int) else MigrateError
    error = kind.__new__(kind)
    MigrateError.__init__(
        error,
        text("what") or "the other host reported an error",
        cause=text("cause"),
        mend=text("mend"),
    )
    return error
