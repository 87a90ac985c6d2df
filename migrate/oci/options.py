"""Options of a command line as runc takes them: one dash or two, `--name value` or `--name=value`.

Not click: its import alone takes a third of the 60 ms that `state` may take.
"""

from __future__ import annotations

from migrate.oci.errors import BadUsage

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

FLAG, TEXT, NUMBER, LIST = "flag", "text", "number", "list"
_TRUE, _FALSE = {"true", "t", "1"}, {"false", "f", "0"}


class Option:
    """One option; `names` are its long and its short name, without dashes."""

    __slots__ = ("default", "help", "kind", "names")

    def __init__(self, names: tuple[str, ...], kind: str, text: str, default: Any) -> None:
        self.names = names
        self.kind = kind
        self.help = text
        self.default = default

    @property
    def key(self) -> str:
        """The name of its value."""
        return self.names[0].replace("-", "_")

    @property
    def unset(self) -> Any:
        """Its value when it is not given."""
        if self.default is not None:
            return self.default
        return {FLAG: False, TEXT: "", NUMBER: None, LIST: []}[self.kind]


def option(names: str, kind: str, text: str, default: Any = None) -> Option:
    """An option from its names, divided by spaces."""
    return Option(tuple(names.split()), kind, text, default)


def parse(
    words: Sequence[str], options: Sequence[Option], *, to_first: bool
) -> tuple[dict[str, Any], list[str]]:
    """Values by key, and the words that are no options; raises BadUsage.

    With `to_first` options end at the first word that is none, else they may stand anywhere.
    """
    by_name = {name: entry for entry in options for name in entry.names}
    values = {entry.key: entry.unset for entry in options}
    rest: list[str] = []
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if word == "--":
            return values, rest + waiting
        if not word.startswith("-") or word == "-" or _is_number(word):
            rest.append(word)
            if to_first:
                return values, rest + waiting
            continue
        name, equals, given = word.lstrip("-").partition("=")
        entry = by_name.get(name)
        if entry is None:
            raise BadUsage(f"flag provided but not defined: {word.partition('=')[0]}")
        text = given if equals else None
        if text is None and entry.kind != FLAG:
            if not waiting:
                raise BadUsage(f"flag needs an argument: {word}")
            text = waiting.pop(0)
        _take(values, entry, text)
    return values, rest


def _is_number(word: str) -> bool:
    return word[1:].isdigit()


def _take(values: dict[str, Any], entry: Option, text: str | None) -> None:
    if entry.kind == LIST:
        values[entry.key] = [*values[entry.key], text]
    elif entry.kind == TEXT:
        values[entry.key] = text
    elif entry.kind == NUMBER:
        try:
            values[entry.key] = int(text or "")
        except ValueError:
            raise BadUsage(f"invalid value {text!r} for flag -{entry.names[0]}") from None
    else:
        word = "true" if text is None else text.lower()
        if word not in _TRUE | _FALSE:
            raise BadUsage(f"invalid boolean value {text!r} for flag -{entry.names[0]}")
        values[entry.key] = word in _TRUE


def describe(options: Sequence[Option]) -> str:
    """The options as --help shows them, a line each."""
    rows = []
    for entry in options:
        names = ", ".join(f"--{n}" if len(n) > 1 else f"-{n}" for n in entry.names)
        rows.append((names + ("" if entry.kind == FLAG else " value"), entry.help))
    width = max((len(names) for names, _text in rows), default=0)
    return "".join(f"   {names:<{width}}  {text}\n" for names, text in rows)
