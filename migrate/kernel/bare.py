"""`contextlib`, `json`, `signal`, `socket` of the standard library, as far as their C halves reach.

What stands around those (`enum`, `re`, `collections`, `functools`) takes longer to load than all
else of a command that starts a container or tells its state. Modules on those ways take the names
from here; they mean the same. Where there are no such C halves they are the library's own.

`signal`: numbers are plain integers. `socket`: its objects have neither `accept` (see below) nor
`with`. `json`: `dumps` knows no options.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    import contextlib
    import json
    import signal
    import socket
    from typing import Any

    _json: Any
    _scan: Any
else:
    try:
        import _json
        import _signal as signal
    except ImportError:
        import signal

        _json = None

__all__ = ["accept", "contextlib", "json", "signal", "socket"]
_SPACE = " \t\n\r"  # RFC 8259, section 2


class _Suppress:
    def __init__(self, *kinds: type[BaseException]) -> None:
        self._kinds = kinds

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_more: object) -> bool:
        return kind is not None and issubclass(kind, self._kinds)


class _Closing:
    def __init__(self, thing: Any) -> None:
        self._thing = thing

    def __enter__(self) -> Any:
        return self._thing

    def __exit__(self, *_raised: object) -> None:
        self._thing.close()


class _Generated:
    """A `with` block in the middle of a generator."""

    def __init__(self, generator: Any) -> None:
        self._generator = generator

    def __enter__(self) -> Any:
        return next(self._generator)

    def __exit__(self, kind: object, error: BaseException | None, trace: Any) -> bool:
        if error is None:
            for _more in self._generator:
                raise RuntimeError("generator didn't stop")
            return False
        try:
            self._generator.throw(error)
        except StopIteration:
            return True
        except BaseException as raised:
            if raised is not error:
                raise
            error.__traceback__ = trace
            return False
        raise RuntimeError("generator didn't stop after throw()")


def _context_manager(function: Any) -> Any:
    def make(*arguments: Any, **named: Any) -> _Generated:
        return _Generated(function(*arguments, **named))

    make.__doc__ = function.__doc__
    return make


class _Reading:
    """What the scanner wants to be told: `json.JSONDecoder` by default."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float, parse_int = float, int
    parse_constant = {"-Infinity": float("-inf"), "Infinity": float("inf"), "NaN": float("nan")}.get


def _unknown(value: object) -> None:
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _loads(text: str | bytes) -> Any:
    """As `json.loads` of UTF-8; raises ValueError."""
    if not isinstance(text, str):
        text = str(text, "utf-8")
    text = text.strip(_SPACE)
    try:
        value, end = _scan(text, 0)
    except StopIteration as stopped:
        raise ValueError(f"no JSON value at {stopped.value}") from None
    if end != len(text):
        raise ValueError(f"more than one JSON value: {text[end : end + 20]!r}")
    return value


def _dumps(value: object) -> str:
    """As `json.dumps` without options; raises TypeError, ValueError."""
    return "".join(_encoder()(value, 0))


def _encoder() -> Any:
    return _json.make_encoder(
        {}, _unknown, _json.encode_basestring_ascii, None, ": ", ", ", False, False, True
    )


if not TYPE_CHECKING:
    if _json is None:
        import contextlib
        import json
    else:
        _Names = type(sys.implementation)  # types.SimpleNamespace
        _scan = _json.make_scanner(_Reading)
        json = _Names(loads=_loads, dumps=_dumps)
        contextlib = _Names(suppress=_Suppress, closing=_Closing, contextmanager=_context_manager)

    def __getattr__(name: str) -> object:
        """`socket`, when it is asked for: a library that not everybody needs."""
        if name != "socket":
            raise AttributeError(name)
        try:
            import _socket as found
        except ImportError:
            import socket as found
        globals()["socket"] = found
        return found


def accept(listener: socket.socket) -> socket.socket:
    """The next connection, close-on-exec; raises OSError."""
    descriptor, _address = listener._accept()  # type: ignore[attr-defined]
    return type(listener)(fileno=descriptor)
