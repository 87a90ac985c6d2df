"""The option parser: no root, no containers."""

from __future__ import annotations

import pytest

from migrate.oci.commands import COMMANDS, options_of
from migrate.oci.errors import BadUsage
from migrate.oci.kill import signal_number
from migrate.oci.options import FLAG, LIST, NUMBER, TEXT, option, parse
from migrate.oci.update import _size

OPTIONS = (
    option("force f", FLAG, ""), option("pid-file", TEXT, ""), option("env e", LIST, ""),
    option("number n", NUMBER, "", 0),
)  # fmt: skip


def test_options_with_one_dash_or_two_and_both_ways_of_a_value():
    values, rest = parse(
        ["-force", "--pid-file=a", "id", "-e", "A=1", "--env=B=2", "-number", "3"],
        OPTIONS, to_first=False,
    )  # fmt: skip
    assert values == {"force": True, "pid_file": "a", "env": ["A=1", "B=2"], "number": 3}
    assert rest == ["id"]


def test_options_end_at_the_first_word_or_at_two_dashes():
    values, rest = parse(["-f", "id", "ls", "-e"], OPTIONS, to_first=True)
    assert values["force"]
    assert rest == ["id", "ls", "-e"]
    assert parse(["a", "--", "-f"], OPTIONS, to_first=False)[1] == ["a", "-f"]


def test_flags_take_false():
    assert parse(["--force=false"], OPTIONS, to_first=False)[0]["force"] is False


@pytest.mark.parametrize("words", [["--nope"], ["--pid-file"], ["-n", "x"], ["--force=maybe"]])
def test_what_can_not_be_read_is_refused(words: list[str]):
    with pytest.raises(BadUsage):
        parse(words, OPTIONS, to_first=False)


def test_every_command_has_options_of_different_names():
    for name, command in COMMANDS.items():
        names = [word for entry in options_of(command) for word in entry.names]
        assert len(set(names)) == len(names), name


def test_signals_by_name_and_number():
    found = [signal_number(name) for name in ("9", "kill", "SIGKILL", "RTMIN+1", "SIGRTMAX")]
    assert found == [9, 9, 9, 35, 64]
    for name in ("", "SIG", "NOPE", "65", "SIG0", "_X"):
        with pytest.raises(BadUsage):
            signal_number(name)


def test_sizes():
    assert [_size(text) for text in ("1000", "64m", "1g", "-1", "2KiB")] == [
        1000, 64 << 20, 1 << 30, -1, 2048,
    ]  # fmt: skip
