"""Plans as files: what is written is read again, and what is no plan is refused by its place."""

from __future__ import annotations

import random
import time
import tomllib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from migrate.evacuate.errors import PlanBad
from migrate.evacuate.model import Plan, Stays, Step
from migrate.evacuate.planning import planfile
from migrate.evacuate.planning.plan import make_plan
from migrate.evacuate.planning.planfile import LINE_LIMIT, SIZE_LIMIT, dump, load
from migrate.evacuate.planning.wish import Wish
from migrate.move.modes import MODES
from tests.evacuate.planning.examples import GIB, guest, host

PLAN = Plan(
    "alpha", "host-alpha", {"beta": "root@10.0.0.2:2222", "gamma.example.org": "gamma", "here": ""},
    (
        Step("4f00aa", "redis", "beta", "auto", 1234, 2.5, 0.1),
        Step("4f00bb", "web", "gamma.example.org", "cold", 0, 1e-05, 0.0, 'cold: "so" \\ é 🐘'),
    ),
    (
        Stays("4f00cc", "db", {"beta": "too little memory", "gamma.example.org": "it's '''odd'''"}),
        Stays("4f00dd", "kept", {"": "its label keeps it here"}),
    ),
    1, 17.25, 1234, ("one thing", "and another"),
)  # fmt: skip
TEXT = dump(PLAN)

lines = st.text(
    st.characters(exclude_categories=["Cc", "Cs"]), max_size=80,
)  # fmt: skip
words = lines.filter(bool)
seconds = st.floats(0, 1e12)
sizes = st.integers(0, 1 << 62)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    addresses = draw(
        st.dictionaries(words, st.sampled_from(["", "root@h", "[::1]:22", "a@b:1"]), min_size=1)
    )
    steps = st.builds(
        Step, words, words, st.sampled_from(sorted(addresses)), st.sampled_from(MODES), sizes,
        seconds, seconds, lines,
    )  # fmt: skip
    stay = st.builds(Stays, words, words, st.dictionaries(lines, lines, max_size=3))
    every = draw(
        st.lists(st.one_of(steps, stay), max_size=6, unique_by=lambda entry: entry.container)
    )
    return Plan(
        draw(words), draw(words), addresses,
        tuple(entry for entry in every if isinstance(entry, Step)),
        tuple(entry for entry in every if isinstance(entry, Stays)),
        1, draw(seconds), draw(sizes), tuple(draw(st.lists(lines, max_size=3))),
    )  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(plans())
@example(PLAN)
def test_what_is_written_is_read_again(plan: Plan) -> None:
    assert load(dump(plan)) == plan


def test_it_is_toml_that_a_person_can_read() -> None:
    assert tomllib.loads(TEXT)["move"][0]["name"] == "redis"
    assert TEXT.startswith("# A plan of 'migrate evacuate'.")
    assert all(mode in planfile._HEAD for mode in MODES)
    assert max(map(len, planfile._HEAD.splitlines())) <= 100


def test_a_person_edits_it() -> None:
    blocks = TEXT.split("[[move]]\n")
    text = blocks[0] + "# beta is too full\n[[move]]\n" + blocks[1].replace("beta", "here", 1)
    text += "\n[[move]]  # last\n" + blocks[2].split("[[stay]]")[0].replace('"cold"', "'auto'", 1)
    steps = load(text).steps
    assert [(step.name, step.target, step.mode) for step in steps] == [
        ("redis", "here", "auto"), ("web", "gamma.example.org", "auto"),
    ]  # fmt: skip
    assert load(text.replace("\n", "\r\n")).steps == steps
    assert load(text.replace("seconds = 2.5\n", "seconds = 2\n")).steps[0].seconds == 2.0
    assert load(text.replace("bytes = 1234\nseconds = 2.5\n", "")).steps[0].bytes == 0


def edited(old: str, new: str) -> str:
    assert old in TEXT
    return TEXT.replace(old, new, 1)


NOTE = next(n for n, line in enumerate(TEXT.split("\n"), 1) if line.startswith("note"))


def line_of(text: str, number: int) -> str:
    return text.split("\n")[number - 1]


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("", ["version"]),
        ("version = 1", ["source"]),
        ("version = x", ["line 1, column"]),
        (edited("version = 1", "version = 2"), ["version 2, not 1"]),
        (edited("version = 1", "version = true"), ["'version'"]),
        (edited("version = 1", "version = 1\nparallel = 3"), ["parallel"]),
        (edited('mode = "auto"', 'mode = "warm"'), ["[[move]] number 1 ('redis'), line", "'warm'"]),
        (edited('target = "beta"', 'target = "delta"'), ["number 1 ('redis')", "'delta'"]),
        (edited('target = "beta"', 'taget = "beta"'), ["number 1 ('redis')", "taget"]),
        (edited('target = "beta"\n', ""), ["number 1 ('redis')", "target"]),
        (edited('target = "beta"\n', 'target = "beta"\n' * 2), ["line", "column"]),
        (edited("bytes = 0", "bytes = -1"), ["[[move]] number 2 ('web')", "'bytes'"]),
        (edited("bytes = 0", "bytes = 1.5"), ["number 2", "'bytes'"]),
        (edited("bytes = 0", f"bytes = {'9' * 4000}"), ["number 2", "'bytes'"]),
        (edited("bytes = 0", f"bytes = 1{'_0' * 30}"), ["number 2", "'bytes'"]),
        (edited("seconds = 2.5", "seconds = nan"), ["number 1", "'seconds'"]),
        (edited("seconds = 2.5", "seconds = inf"), ["number 1", "'seconds'"]),
        (edited("seconds = 2.5", f"seconds = {'9' * 4000}"), ["number 1", "'seconds'"]),
        (edited("seconds = 17.25", "seconds = nan"), ["the plan, 'seconds'"]),
        (edited("seconds = 2.5", "seconds = 2026-01-01"), ["number 1", "'seconds'"]),
        (edited('name = "redis"', 'name = "\\u001b[2J"'), ["number 1", "'name'"]),
        (edited('name = "redis"', 'name = ""'), ["number 1", "'name'"]),
        (edited('name = "redis"', "name = 7"), ["number 1, line", "'name'"]),
        (edited('container = "4f00bb"', 'container = "4f00aa"'), ["number 2", "twice", "4f00aa"]),
        (edited('container = "4f00cc"', 'container = "4f00aa"'), ["[[stay]] number 1 ('db')"]),
        (edited('"" = "its label', '"" = 3 # "'), ["[[stay]] number 2 ('kept')", "why"]),
        (edited("[stay.why]", "[stay.how]"), ["[[stay]] number 1 ('db')", "how"]),
        (edited('"gamma"', '"-oProxyCommand=x"'), ["[addresses], 'gamma.example.org'"]),
        (edited('"gamma"', '"a b c"'), ["[addresses], 'gamma.example.org'"]),
        (edited("\n[addresses]", "\n[adresses]"), ["adresses"]),
        (edited("\n[[move]]", "\n[move]"), ["line", "column"]),
        ("move = [1]\n" + TEXT.split("\n[[move]]")[0], ["[[move]] number 1"]),
        (edited('note = "', 'note = """\n'), [f"line {NOTE} of the plan begins a string of"]),
        (edited('note = "', f'note = "{"x" * LINE_LIMIT}'), [f"line {NOTE} ", "longer than 4096"]),
        (edited("version", "a" + ".a" * 99 + " = 1\nversion"), ["line 9", "more dots"]),
        (edited("version", f"a = {'[' * 4000}\nversion"), ["TOML"]),
        (edited("version", "a = " + "[\n" * 5000 + "\nversion"), ["TOML"]),
        (TEXT + "#" * 4000 + "\n#é" * SIZE_LIMIT, ["larger than 4 MiB"]),
        (TEXT + "\n#" + "é\n#" * (SIZE_LIMIT // 4), ["larger than 4 MiB"]),
        (edited("\n[[stay]]", "\n[[move]]" * 10_001 + "\n[[stay]]"), ["'move'", "10000"]),
    ],
)  # fmt: skip
def test_faults_are_told_with_their_place(text: str, places: list[str]) -> None:
    begun = time.process_time()
    with pytest.raises(PlanBad) as caught:
        load(text)
    told = str(caught.value)
    assert all(place in told for place in places), told
    assert "\x1b" not in told
    assert len(told) < 1500
    assert time.process_time() - begun < 10


def test_the_line_is_that_of_the_entry() -> None:
    text = edited("bytes = 0", "bytes = -1")
    with pytest.raises(PlanBad) as caught:
        load(text)
    number = int(caught.value.what.split("line ")[1].split(",")[0])
    assert line_of(text, number) == "[[move]]"
    assert line_of(text, number + 2) == 'name = "web"'
    with pytest.raises(PlanBad) as caught:  # a header that could be meant is none: no line is told
        load(text.replace("[[move]]\n", "[['move']]\n", 1))
    assert "line" not in caught.value.what


@pytest.mark.parametrize("kind", ["'a'.", '"a".', "a . ", "'''.", '"\\"".', "{a.'."])
def test_keys_of_many_parts_are_refused_soon(kind: str) -> None:
    """tomllib takes 25 s for 4 MiB of such keys."""
    lines = [f"{kind * 500}k{number} = 1" for number in range(SIZE_LIMIT // (501 * len(kind)))]
    begun = time.process_time()
    with pytest.raises(PlanBad):
        load("\n".join(lines))
    assert time.process_time() - begun < 3


def is_plan(text: str) -> bool:
    """Whether it is one that can be written and read again; else it was refused as it should be."""
    try:
        plan = load(text)
    except PlanBad:
        return False
    assert load(dump(plan)) == plan
    return True


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=300).map(lambda raw: raw.decode("latin-1")), st.text()))
def test_any_text_is_a_plan_or_refused(text: str) -> None:
    assert not is_plan(text)
    is_plan(TEXT + text)


PIECES = [
    "[[move]]", "[[stay]]", "[stay.why]", "[addresses]", "=", '"', "'", '"""', "\\", "\\ud800",
    "\n", "{", "}", "[", "]", "nan", "-inf", "9" * 300, "1e999", "true", "1979-05-27", "#", "",
    "a.b", '""', "\x00", "\x7f", "\r", "\udc80", "é", "0x" + "f" * 500, "move = 1", "why = 1",
]  # fmt: skip


def test_mutated_plans_are_plans_or_refused() -> None:
    """5,000 files, each with some bytes of a good one cut out, doubled or exchanged."""
    chance = random.Random(1)
    loaded = 0
    for _ in range(5000):
        text = TEXT
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(text) + 1)
            to = min(at + chance.choice([0, 0, 1, 2, 20, 200]), len(text))
            text = text[:at] + chance.choice([*PIECES, text[at:to] * 2]) + text[to:]
        loaded += is_plan(text)
    assert 100 < loaded < 4900, "both ends are seen"


def test_what_hosts_say_does_not_break_the_file() -> None:
    nasty = 'x"\n[[move]]\r\x1b[2J\x7f\x85\ud800\\' * 90
    plan = Plan(
        "alpha", "id", {"beta": ""}, (Step("a", "n", "beta", "auto", note=nasty),),
        (Stays("b", "m", {"beta": nasty}),), warnings=(nasty,),
    )  # fmt: skip
    text = dump(plan)
    again = load(text)
    assert len(again.steps) == len(again.stay) == 1
    assert again.steps[0].note.startswith('x" [[move]]  [2J')
    assert max(map(len, text.splitlines())) <= LINE_LIMIT


def test_a_plan_of_thousands_is_read_again() -> None:
    source = host("alpha", *(guest(f"container-{i:04}", memory=GIB) for i in range(2000)))
    targets = [host(f"host-{i:03}", memory_free=9 * GIB) for i in range(100)]
    plan = make_plan(source, targets, Wish())
    assert 700 <= len(plan.steps) < 900
    text = dump(plan)
    assert len(text.encode()) <= SIZE_LIMIT
    again = load(text)
    assert again.steps == plan.steps
    assert [stays.name for stays in again.stay] == [stays.name for stays in plan.stay]
    assert "and 99 more hosts" in again.stay[0].why[""]


def test_too_large_a_plan_is_not_written() -> None:
    steps = tuple(Step(f"c{i}", "n" * 250, "beta", "auto", note="x" * 1000) for i in range(4000))
    with pytest.raises(PlanBad, match="too large"):
        dump(Plan("alpha", "id", {"beta": ""}, steps))
