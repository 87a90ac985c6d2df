"""Ansible's inventories: read as Ansible reads them, or refused with file and place."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.evacuate.errors import InventoryBad
from migrate.evacuate.inventory.ansible import read
from migrate.evacuate.inventory.ansible.ranges import expand
from migrate.evacuate.inventory.hosts import HOSTS_LIMIT, Inventory
from migrate.evacuate.inventory.reading import Place, load

INI = """\
; the whole site
mail.example.com ansible_user=postmaster

[web]
web[01:03].example.com   # three
jump ansible_host=192.0.2.50 ansible_port=5555 migrate_label_zone="a b"

[db]
db-[a:c]:2222

[site:children]
web
db

[site:vars]
ansible_user = deploy
migrate_label_site = "north"
migrate_label_kind = any

[db:vars]
ansible_user=dba
migrate_label_kind=db
http_port={{ templates_elsewhere_are_nobody's_business }}
"""
YAML = """\
---
all:
  hosts:
    mail.example.com: {ansible_user: postmaster}
  children:
    site:
      vars: &site
        ansible_user: deploy
        migrate_label_site: north
        migrate_label_kind: any
      children:
        web:
          hosts:
            web[01:03].example.com:
            jump:
              ansible_host: 192.0.2.50
              ansible_port: 5555
              migrate_label_zone: a b
              ansible_become_password: !vault |
                $ANSIBLE_VAULT;1.1;AES256
                6162
        db:
          vars:
            <<: *site
            ansible_user: dba
            migrate_label_kind: db
            http_port: "{{ other }}"
          hosts:
            db-[a:c]:2222:
"""


def inventory(name: str, text: str) -> Inventory:
    return read(Path(f"/srv/{name}"), text.encode())


def addresses(name: str, text: str) -> dict[str, str]:
    return {host.name: host.address for host in inventory(name, text).hosts.values()}


@pytest.mark.parametrize(("name", "text"), [("hosts.ini", INI), ("hosts.yml", YAML)])
def test_a_site(name, text):
    found = inventory(name, text)
    assert {h.name: h.address for h in found.hosts.values()} == {
        "mail.example.com": "postmaster@mail.example.com",
        "web01.example.com": "deploy@web01.example.com",
        "web02.example.com": "deploy@web02.example.com",
        "web03.example.com": "deploy@web03.example.com",
        "jump": "deploy@192.0.2.50:5555",
        "db-a": "dba@db-a:2222",
        "db-b": "dba@db-b:2222",
        "db-c": "dba@db-c:2222",
    }
    assert found.hosts["mail.example.com"].labels == {}
    assert found.hosts["jump"].labels == {
        "group.web": "", "group.site": "", "zone": "a b", "site": "north", "kind": "any",
    }  # fmt: skip
    assert found.hosts["db-b"].labels == {
        "group.db": "", "group.site": "", "site": "north", "kind": "db",
    }  # fmt: skip
    assert found.left_out == {}


def test_the_kind_is_seen_by_name_and_by_content(tmp_path):
    for name, text in (
        ("hosts", "[a]\nx\n"), ("inventory", "---\na:\n  hosts:\n    x:\n"),
        ("site.cfg", "# c\nall:\n  hosts: x\n"), ("a.json", '{"all": {"hosts": {"x": null}}}'),
        ("a.yaml", "all: {hosts: x}"),
    ):  # fmt: skip
        (tmp_path / name).write_text(text)
        assert list(load(Place(tmp_path / name, named=True)).hosts) == ["x"], name


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("plain", "plain"),
        ("w[1:3]", "w1 w2 w3"),
        ("w[:2]", "w0 w1 w2"),
        ("w[08:11]x", "w08x w09x w10x w11x"),
        ("w[1:10:4]", "w1 w5 w9"),
        ("w[a:e:2]", "wa wc we"),
        ("r[1:2]n[a:b]", "r1na r1nb r2na r2nb"),
        ("w[7:7]", "w7"),
    ],
)
def test_ranges(pattern, names):
    assert expand(pattern) == (names.split(), "")
    assert expand(f"{pattern}:2222") == (names.split(), "2222")


@pytest.mark.parametrize(
    "pattern",
    ["w[1:2", "w]1:2[", "w[]", "w[1]", "w[1:]", "w[2:1]", "w[1:2:0]", "w[1:2:3:4]", "w[a:1]",
     "w[-1:2]", "w[01:002]", "w[0:999999999]", "w[0:9999]", "w[1:99]x[1:99]", "w[1:9999999999]",
     "w[1:2:-1]", "w[[1:2]]", "w[²:3]"],
)  # fmt: skip
def test_what_is_no_range(pattern):
    with pytest.raises(ValueError, match=r".+"):
        expand(pattern)


def test_the_deepest_group_wins_then_the_priority_then_the_alphabet():
    text = """
        [a]
        h
        [b]
        h
        [a:vars]
        migrate_label_x=a
        migrate_label_y=a
        ansible_group_priority=5
        [b:vars]
        migrate_label_x=b
        migrate_label_z=b
        [top:children]
        b
        [top:vars]
        migrate_label_z=top
        migrate_label_y=top
        [all:vars]
        migrate_label_z=all
        migrate_label_w=all
    """
    labels = inventory("i", text).hosts["h"].labels
    # b is below top, and so deeper than a.
    assert {k: labels[k] for k in "xyzw"} == {"x": "b", "y": "a", "z": "b", "w": "all"}
    text = "[a]\nh\n[b]\nh\n[a:vars]\nmigrate_label_x=a\n{}\n[b:vars]\nmigrate_label_x=b\n"
    assert inventory("i", text.format("")).hosts["h"].labels["x"] == "b"
    first = text.format("ansible_group_priority=2")
    assert inventory("i", first).hosts["h"].labels["x"] == "a"


def test_a_host_of_several_groups_is_one_host():
    text = "[a]\nh ansible_user=one\n[b]\nh ansible_port=22\n[c]\nh ansible_user=two\n"
    found = inventory("i", text)
    assert addresses("i", text) == {"h": "two@h:22"}
    assert set(found.hosts["h"].labels) == {"group.a", "group.b", "group.c"}


def test_older_names_of_variables_ipv6_and_values_as_they_are_written():
    text = "h ansible_ssh_host=2001:db8::7 ansible_ssh_port=23 ansible_ssh_user=u\n"
    assert addresses("i", text) == {"h": "u@[2001:db8::7]:23"}
    labels = "all: {hosts: {h: {migrate_label_ssd: yes, migrate_label_day: 2026-01-31,"
    labels += " migrate_label_n: 007, migrate_label_none: null}}}"
    found = inventory("h.yml", labels).hosts["h"].labels
    assert found == {"ssd": "yes", "day": "2026-01-31", "n": "007"}


def test_who_is_not_reached_by_ssh():
    found = inventory("i", "here ansible_connection=local\nwin ansible_connection=winrm\nlin\n")
    assert found.hosts["here"].address == ""
    assert found.hosts["lin"].address == "lin"
    assert list(found.left_out) == ["win"]
    assert "winrm" in found.left_out["win"]


DEEP = "a: " + "{children: {b: " * 100 + "}}" * 100
BOMB = "a: &a0 {x: 1}\n" + "".join(
    f"b{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 40)
)


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("i", "h ansible_host='{{ x }}'", "host h, ansible_host"),
        ("i", "[g]\nh\n[g:vars]\nansible_user = {{ x }}", "host h, ansible_user"),
        ("h.yml", "all: {hosts: {h: {ansible_host: '{{ x }}'}}}", "host h, ansible_host"),
        ("i", "h migrate_label_x={%y%}", "host h, migrate_label_x"),
        ("i", "#!/usr/bin/env python3\nprint()", "program"),
        ("a.yml", "plugin: amazon.aws.aws_ec2\nregions: [x]", "'plugin'"),
        ("i", "[a]\nh\n[a:odd]\n", "line 3"),
        ("i", "[a:children]\nb\n", "line 2"),
        ("i", "[a:vars]\nx=y\n", "line 1"),
        ("i", "[a:vars]\nx\n", "line 2"),
        ("i", "\n" + "h" * 5000, "line 2"),
        ("i", "h[1:2]\x1b[2J", "\ufffd[2J"),
        ("i", "h 'x", "line 1"),
        ("i", "h x", "line 1"),
        ("i", "h =x", "line 1"),
        ("i", "[address]\naddress = \"x\"\n", "line 2"),
        ("i", "\n[::1]\n", "line 2"),
        ("i", "a@b", "line 1"),
        ("i", "h[1:2\n", "line 1"),
        ("i", "h ansible_port=ssh", "host h, ansible_port"),
        ("i", "h ansible_port=99999", "host h, address"),
        ("i", "h ansible_host='-oProxyCommand=x'", "host h, address"),
        ("i", "h ansible_user='a b'", "host h, address"),
        ("i", "h 'migrate_label_a b=x'", "host h"),
        ("i", "[a]\nh\n[a:vars]\nansible_group_priority=high", "group a"),
        ("i", "[a:children]\nb\n[b:children]\na\n", "group a"),
        ("i", "[a:children]\na\n", "group a"),
        ("i", "[a:children]\nall\n", "group all"),
        ("i", "h[0:999]\none-more\n", "line 2"),
        ("i", "".join(f"[g{n}]\n" for n in range(1001)), "line 999"),
        ("i", "".join(f"[g{n}]\nh\n" for n in range(101)), "host h"),
        ("h.yml", "[a, b]", "the top"),
        ("h.yml", "a: {hosts: [x]}", "group a, hosts"),
        ("h.yml", "a: {vars: x}", "group a, vars"),
        ("h.yml", "a: [x]", "group a"),
        ("h.yml", "1: {hosts: x}\n[1]: {}", "line"),
        ("h.yml", "a: {hosts: {x: y}}", "group a, host x"),
        ("h.yml", "a: {hosts: {x: {ansible_host: [y]}}}", "group a, host x, ansible_host"),
        ("h.yml", "a: {hosts: {x: {ansible_host: {a: b}}}}", "group a, host x, ansible_host"),
        ("h.yml", "a: {hosts: {'x y': }}", "group a, host x y"),
        ("h.yml", "a: &a {children: *a}", "line 1"),
        ("h.yml", "a: &a\n  children: {b: &a {children: *a}}", "line 2"),
        ("h.yml", "a: *b", "line 1"),
        ("h.yml", "a: {", "line 2"),
        ("h.yml", "a: b: c", "line 1"),
        ("h.yml", "a: 1\n---\nb: 2", "line"),
        ("h.yml", "a: \0", "no YAML"),
        ("h.yml", DEEP, "deeper"),
        ("h.yml", BOMB, "nodes"),
        ("h.yml", MERGES, "nodes"),
        ("h.yml", "[" * 100_000, "line"),
        ("h.yml", "a: " + "[" * 500 + "]" * 500, "deeper"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_file_and_place(name, text, place):
    with pytest.raises(InventoryBad) as caught:
        inventory(name, text)
    assert f"/srv/{name}" in caught.value.what
    assert place in str(caught.value)


@pytest.mark.parametrize("text", [YAML, BOMB, MERGES, DEEP, "a: &a [*a]", "a: b: c", "!!int '': x"])
def test_without_libyaml_it_is_the_same(monkeypatch, text):
    import yaml

    def outcome() -> object:
        try:
            return inventory("h.yml", text)
        except InventoryBad as error:
            return error.what.split(",")[0]

    fast = outcome()
    monkeypatch.delattr(yaml, "CSafeLoader")
    assert outcome() == fast


def test_no_text():
    with pytest.raises(InventoryBad, match="no text"):
        read(Path("/srv/i"), b"\xff\xfe")


def test_a_large_site_is_read():
    text = "".join(
        f"[g{n}]\nh{n}-[000:099] ansible_host=10.0.0.{n} ansible_port=1{n}\n" for n in range(10)
    )
    assert len(inventory("i", text).hosts) == HOSTS_LIMIT


_INI_WORDS = st.sampled_from(
    ["[", "]", ":", "[g]\n", "[g:children]\n", "[g:vars]\n", "[h]\n", "\n", " ", "g", "h", "w[1:3]",
     "w[a:", "=", "ansible_host=", "ansible_port=22", "ansible_user = x", "migrate_label_z=1", "'",
     '"', "#", ";", "\\", "{{", "all", "10.0.0.1", "\0", "é", "\r", "\x1b", "-", "[all:vars]\n"]
)  # fmt: skip
_YAML_WORDS = st.sampled_from(
    ["all:", "\n", "  ", "    ", "hosts:", "children:", "vars:", "a", "b:", "w[1:3]:", "{", "}",
     "[", "]", ",", "&x ", "*x", "<<: ", "!vault ", "!!int ", "!!timestamp ", "!!python/object:os ",
     "ansible_host: ", "ansible_port: 22", "migrate_label_a: yes", "2026-13-45", "0b", "- ", "? ",
     ": ", "|", ">", "'", '"', "#", "%YAML 1.1", "---", "...", "null", "~", "1e9", "\t", "\0", "é"]
)  # fmt: skip


@settings(deadline=None, max_examples=400)
@given(st.lists(_INI_WORDS, max_size=30).map("".join) | st.text(max_size=100))
def test_whatever_stands_in_an_ini_it_is_read_or_refused(text):
    _read_or_refused("hosts.ini", text)


@settings(deadline=None, max_examples=600)
@given(st.lists(_YAML_WORDS, max_size=30).map("".join) | st.text(max_size=100))
def test_whatever_stands_in_a_yaml_it_is_read_or_refused(text):
    _read_or_refused("hosts.yml", text)


_TREES = st.recursive(
    st.none() | st.sampled_from(["x", "{{ x }}", "22", ""]) | st.integers() | st.booleans(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(
        st.sampled_from(["all", "g", "hosts", "children", "vars", "h", "w[1:2]", "ansible_host",
                         "ansible_port", "ansible_connection", "migrate_label_z"]),
        below, max_size=4,
    ),
    max_leaves=25,
)  # fmt: skip


@settings(deadline=None, max_examples=400)
@given(_TREES)
def test_whatever_shape_it_has_it_is_read_or_refused(tree):
    import yaml

    _read_or_refused("hosts.yml", yaml.safe_dump(tree))


def _read_or_refused(name: str, text: str) -> None:
    found: Inventory | InventoryBad
    try:
        found = read(Path(f"/srv/{name}"), text.encode(errors="surrogatepass"))
    except InventoryBad as error:
        found = error
    if isinstance(found, InventoryBad):
        assert f"/srv/{name}" in found.what
        return
    for host in found.hosts.values():
        assert host.address.isprintable()
        assert "{{" not in host.address
