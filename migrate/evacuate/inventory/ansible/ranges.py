"""Host patterns of an Ansible inventory: `web[01:20].example`, `db-[a:f]`, `x[1:9:2]`, `host:22`.

Source: docs.ansible.com, "How to build your inventory", "Adding ranges of hosts"; ansible/ansible,
lib/ansible/plugins/inventory/__init__.py (expand_hostname_range).
"""

from __future__ import annotations

import itertools
import re
import string

from migrate.evacuate.inventory.hosts import HOSTS_LIMIT

_RANGE = re.compile(r"\[([^\[\]]*)\]")
_PORT = re.compile(r"(.+?):([0-9]{1,5})")
_LETTERS = string.ascii_letters
_DIGITS = 9
"""Of a number in a range."""


def expand(pattern: str) -> tuple[list[str], str]:
    """The names that the pattern stands for, at most 1,000, and the port behind it, "" for none.

    Raises ValueError, which says what is wrong.
    """
    port = ""
    if match := _PORT.fullmatch(pattern):
        pattern, port = match.groups()
    pieces = _RANGE.split(pattern)
    if any("[" in text or "]" in text for text in pieces[::2]):
        raise ValueError(f"a bracket in '{pattern[:80]}' has no other half")
    choices = [
        _members(piece) if index % 2 else [piece] for index, piece in enumerate(pieces)
    ]  # fmt: skip
    count = 1
    for members in choices:
        count *= len(members)
        if count > HOSTS_LIMIT:
            raise ValueError(f"'{pattern[:80]}' stands for more than {HOSTS_LIMIT} hosts")
    return ["".join(parts) for parts in itertools.product(*choices)], port


def _members(bounds: str) -> list[str]:
    parts = bounds.split(":")
    if len(parts) not in {2, 3} or not parts[1]:
        raise ValueError(f"[{bounds[:80]}] is no range; write it as [01:20], [a:f] or [1:9:2]")
    first, last = parts[0] or "0", parts[1]
    step = _number(parts[2], bounds) if len(parts) == 3 else 1
    if step < 1:
        raise ValueError(f"the step of [{bounds[:80]}] is not above 0")
    if len(first) == 1 and len(last) == 1 and first in _LETTERS and last in _LETTERS:
        begin, end = _LETTERS.index(first), _LETTERS.index(last)
        found = list(_LETTERS[begin : end + 1 : step])
    else:
        begin, end = _number(first, bounds), _number(last, bounds)
        padded = len(first) if len(first) > 1 and first[0] == "0" else 0
        if padded and len(last) != padded:
            raise ValueError(f"both ends of [{bounds[:80]}] must have as many digits")
        if (end - begin) // step >= HOSTS_LIMIT:
            raise ValueError(f"[{bounds[:80]}] stands for more than {HOSTS_LIMIT} hosts")
        found = [str(number).zfill(padded) for number in range(begin, end + 1, step)]
    if not found:
        raise ValueError(f"the range [{bounds[:80]}] is empty: its end is before its begin")
    return found


def _number(text: str, bounds: str) -> int:
    if not (text.isdecimal() and text.isascii() and len(text) <= _DIGITS):
        raise ValueError(f"'{text[:40]}' in [{bounds[:80]}] is no number")
    return int(text)
