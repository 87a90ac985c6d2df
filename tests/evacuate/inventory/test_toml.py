"""The inventory in TOML: what it says, faults told with their place, changes that keep the rest."""

from __future__ import annotations

import multiprocessing
import os
import stat
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.errors import MigrateError, UsageError
from migrate.evacuate.errors import HostUnknown, InventoryBad, InventoryReadOnly
from migrate.evacuate.inventory import tomlfile
from migrate.evacuate.inventory.hosts import HOSTS_LIMIT, SIZE_LIMIT, Host
from migrate.evacuate.inventory.reading import DEFAULT, Place, load, locate

COMMENTED = """\
# The hosts of the first floor.

[hosts.web1]  # the old one
address = "root@10.0.0.3:22"
labels = {zone = "a", rack = "7"}  # see the plan

# beside the door
[hosts."db.example"]
address = "admin@[2001:db8::1]:2222"
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "hosts.toml").write_text(COMMENTED)
    return Place(tmp_path / "hosts.toml", named=True)


def hosts(place: Place) -> dict[str, Host]:
    return load(place).hosts


def test_what_it_says(place):
    assert list(hosts(place).values()) == [
        Host("web1", "root@10.0.0.3:22", {"zone": "a", "rack": "7"}),
        Host("db.example", "admin@[2001:db8::1]:2222", {}),
    ]


def test_where_it_is(monkeypatch, tmp_path):
    monkeypatch.delenv("MIGRATE_INVENTORY", raising=False)
    assert locate() == Place(DEFAULT, named=False)
    monkeypatch.setenv("MIGRATE_INVENTORY", "/srv/hosts.yml")
    assert locate() == Place(Path("/srv/hosts.yml"), named=True)
    assert locate(tmp_path) == Place(tmp_path, named=True)


def test_only_a_file_that_was_named_must_be_there(tmp_path):
    missing = tmp_path / "none.toml"
    assert load(Place(missing, named=False)).hosts == {}
    with pytest.raises(InventoryBad, match=r"none\.toml"):
        load(Place(missing, named=True))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[hosts.a\naddress = 1", "line 1"),
        ("hosts = 3", "'hosts'"),
        ("[host.a]\naddress = 'root@a'", "'host'"),
        ("[hosts]\na = 'root@a'", "hosts.a"),
        ("[hosts.a]", "hosts.a.address"),
        ("[hosts.a]\naddress = 22", "hosts.a.address"),
        ("[hosts.a]\naddress = ''", "hosts.a.address"),
        ("[hosts.a]\naddress = 'root@-oProxyCommand=x'", "hosts.a, address"),
        ("[hosts.a]\naddress = 'root@a:99999'", "hosts.a, address"),
        ("[hosts.a]\naddress = 'root@a'\nuser = 'x'", "hosts.a.user"),
        ("[hosts.a]\naddress = 'root@a'\nlabels = ['x']", "hosts.a.labels"),
        ("[hosts.a]\naddress = 'root@a'\nlabels = {x = 1}", "hosts.a.labels"),
        ("[hosts.a]\naddress = 'root@a'\nlabels = {'x y' = ''}", "hosts.a"),
        ("[hosts.a]\naddress = 'root@a'\nlabels = {'' = ''}", "hosts.a"),
        ("[hosts.a]\naddress = 'root@a'\nlabels = {'x=y' = ''}", "hosts.a"),
        ('[hosts.a]\naddress = "root@a"\nlabels = {x = "\\u001b[2J"}', "hosts.a"),
        ("[hosts.'a b']\naddress = 'root@a'", "hosts.a b"),
        (f"[hosts.{'a' * 64}]\naddress = 'root@a'", "hosts.aaa"),
        ("[hosts.a]\naddress = 'root@a'\nlabels = {" + ", ".join(
            f"l{n} = ''" for n in range(101)) + "}", "hosts.a"),
        ("".join(f"[hosts.h{n}]\naddress = 'a{n}'\n" for n in range(HOSTS_LIMIT + 1)), "'hosts'"),
        ("#" * (SIZE_LIMIT + 1), "too large"),
        ("x = " + "[" * 4000, "recursion"),
        ("x = [\n" + "[" * 4000, "recursion"),
        ("\n" + "a." * 300_000 + "a = 1", "line 2"),
        ('"\\u001b[2J" = 1', "\ufffd[2J"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_file_and_place(tmp_path, text, place):
    path = tmp_path / "hosts.toml"
    path.write_text(text)
    with pytest.raises(InventoryBad) as caught:
        load(Place(path, named=True))
    assert str(path) in caught.value.what
    assert place in str(caught.value)
    with pytest.raises(InventoryBad):
        tomlfile.add(Place(path, named=True), Host("new", "root@new"))
    assert path.read_text() == text


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo.toml")
    (tmp_path / "directory.toml").mkdir()
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\0")
    for name in ("fifo.toml", "directory.toml", "binary.toml"):
        with pytest.raises(InventoryBad, match=name):
            load(Place(tmp_path / name, named=True))


def test_a_new_one_is_only_its_owners(tmp_path):
    place = Place(tmp_path / "etc" / "hosts.toml", named=False)
    tomlfile.add(place, tomlfile.new_host("a", "root@10.0.0.1", {"zone": "a b", "x": ""}))
    assert hosts(place) == {"a": Host("a", "root@10.0.0.1", {"zone": "a b", "x": ""})}
    assert stat.S_IMODE(place.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.path.parent.stat().st_mode) == 0o700
    assert os.listdir(place.path.parent) == ["hosts.toml"]


def test_comments_survive_every_change(place):
    tomlfile.add(place, Host("new.one", "root@10.0.0.9", {"zone": "b"}))
    tomlfile.relabel(place, "web1", {"zone": "c", "disk": "ssd"}, {"rack"})
    tomlfile.relabel(place, "db.example", {"role": "db"}, set())
    assert hosts(place) == {
        "web1": Host("web1", "root@10.0.0.3:22", {"zone": "c", "disk": "ssd"}),
        "db.example": Host("db.example", "admin@[2001:db8::1]:2222", {"role": "db"}),
        "new.one": Host("new.one", "root@10.0.0.9", {"zone": "b"}),
    }
    tomlfile.remove(place, ("new.one",))
    text = place.path.read_text()
    for comment in ("# The hosts of the first floor.", "# the old one", "# beside the door"):
        assert comment in text
    tomlfile.remove(place, ("web1", "db.example"))
    assert hosts(place) == {}


def test_a_file_that_was_there_keeps_its_mode_and_a_link_stays_one(place, tmp_path):
    place.path.chmod(0o644)
    (tmp_path / "link.toml").symlink_to("hosts.toml")
    link = Place(tmp_path / "link.toml", named=True)
    before = os.umask(0o077)
    try:
        tomlfile.add(link, Host("a", "root@a"))
    finally:
        os.umask(before)
    assert link.path.is_symlink()
    assert "a" in hosts(place)
    assert stat.S_IMODE(place.path.stat().st_mode) == 0o644


def test_changes_that_do_not_fit_change_nothing(place):
    with pytest.raises(UsageError, match="web1"):
        tomlfile.add(place, Host("web1", "root@10.0.0.77"))
    with pytest.raises(UsageError, match="web1"):
        tomlfile.add(place, Host("twin", "root@10.0.0.3:22"))
    with pytest.raises(HostUnknown, match="nobody"):
        tomlfile.remove(place, ("web1", "nobody"))
    with pytest.raises(HostUnknown, match="nobody"):
        tomlfile.relabel(place, "nobody", {"a": "b"}, set())
    for name in ("a b", "", "x" * 64, "a/b", "a\n"):
        with pytest.raises(UsageError):
            tomlfile.new_host(name, "root@x", {})
    with pytest.raises(MigrateError):
        tomlfile.new_host("a", "root@", {})
    with pytest.raises(UsageError):
        tomlfile.new_host("a", "root@a", {"x": "\n"})
    assert place.path.read_text() == COMMENTED


def test_unusual_toml_is_changed_rightly_or_not_at_all(tmp_path):
    for text in (
        'hosts = {a = {address = "root@a"}}\n',
        'hosts.a.address = "root@a"\n',
        '[hosts]\na.address = "root@a"\na.labels.x = "1"\n',
        '[hosts]\n[hosts.a]\naddress = "root@a"\n[hosts.a.labels]\nx = "1"\n',
        "[hosts]\n",
        "# nothing\r\n\r\n",
    ):
        path = tmp_path / "hosts.toml"
        path.write_bytes(text.encode())
        place = Place(path, named=True)
        before = hosts(place)
        try:
            tomlfile.add(place, Host("b", "root@b", {"y": "2"}))
        except InventoryBad:
            assert path.read_bytes() == text.encode()
        else:
            assert hosts(place) == before | {"b": Host("b", "root@b", {"y": "2"})}


def test_it_can_become_no_larger_than_can_be_read(tmp_path):
    place = Place(tmp_path / "hosts.toml", named=True)
    full = "".join(f"[hosts.h{n}]\naddress = 'a{n}'\n" for n in range(HOSTS_LIMIT))
    place.path.write_text(full)
    with pytest.raises(InventoryBad, match="too large"):
        tomlfile.add(place, Host("one-more", "root@x"))
    assert place.path.read_text() == full


def test_an_inventory_of_ansible_is_not_changed(tmp_path):
    path = tmp_path / "hosts.ini"
    path.write_text("a\n")
    for change in (
        lambda place: tomlfile.add(place, Host("b", "root@b")),
        lambda place: tomlfile.remove(place, ("a",)),
        lambda place: tomlfile.relabel(place, "a", {"x": "y"}, set()),
    ):
        with pytest.raises(InventoryReadOnly):
            change(Place(path, named=True))
    assert path.read_text() == "a\n"


def _add_many(path: str, first: int) -> None:
    for number in range(first, first + 5):
        tomlfile.add(Place(Path(path), named=True), Host(f"h{number}", f"root@h{number}"))


def test_two_writers_lose_nothing(tmp_path):
    path = tmp_path / "hosts.toml"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_add_many, args=(str(path), 5 * n)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    assert set(hosts(Place(path, named=True))) == {f"h{n}" for n in range(20)}
    assert os.listdir(tmp_path) == ["hosts.toml"]


_WORDS = st.sampled_from(
    ["hosts", "address", "labels", "a", '"a.b"', "=", ".", "[", "]", "[[", "{", "}", ",", "\n", " ",
     '"root@x"', "'x'", '"', "#", "1", "true", "1979-05-27", '"""', "\\", "é", "\0", "[hosts.a]\n",
     'address = "root@h"\n', "labels = {zone = 'a'}\n", "[hosts.b.labels]\n"]
)  # fmt: skip


@settings(deadline=None, max_examples=400)
@given(st.lists(_WORDS, max_size=30).map("".join) | st.text(max_size=200))
def test_whatever_stands_there_it_is_read_or_refused(text):
    found: dict[str, Host] | InventoryBad
    try:
        found = tomlfile.parse(Path("/srv/hosts.toml"), text.encode(errors="surrogatepass"))
    except InventoryBad as error:
        found = error
    if isinstance(found, InventoryBad):
        assert "/srv/hosts.toml" in found.what
    else:
        assert set(found) == set(tomllib.loads(text).get("hosts", {}))


@settings(deadline=None, max_examples=100)
@given(data=st.binary(max_size=200))
def test_bytes_are_read_or_refused(data):
    try:
        tomlfile.parse(Path("/nowhere/hosts.toml"), data)
    except InventoryBad:
        return
    assert isinstance(data.decode(), str)


@settings(deadline=None, max_examples=150)
@given(st.lists(_WORDS, max_size=30).map("".join))
def test_a_change_is_whole_or_none(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("fuzz") / "hosts.toml"
    data = text.encode()
    path.write_bytes(data)
    place = Place(path, named=True)
    try:
        before = hosts(place)
        tomlfile.add(place, Host("added", "root@added", {"zone": "a"}))
    except InventoryBad:
        assert path.read_bytes() == data
    else:
        assert hosts(place) == before | {"added": Host("added", "root@added", {"zone": "a"})}
