"""Who is where: news merged, refused, kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from migrate.runtime.errors import NetworkFailed
from migrate.runtime.networks import whereabouts
from migrate.runtime.networks.definition import Definition
from migrate.runtime.networks.whereabouts import Located, News
from migrate.runtime.paths import Paths

NET = Definition(
    "blue", "overlay", "10.99.0.0/24", gateway="10.99.0.1", vni=7, peers=("10.77.0.2", "10.77.0.3")
)


def at(host: str, name: str = "a", generation: int = 1, ip: str = "10.99.0.5") -> Located:
    return Located(name, "02:00:00:00:00:01", (ip,), host, generation=generation)


def test_a_newer_generation_wins_in_any_order() -> None:
    old, new = at("10.77.0.2"), at("10.77.0.3", generation=2)
    for first, second in ((old, new), (new, old)):
        known = whereabouts.merged((), News((first,))).known
        assert whereabouts.merged(known, News((second,))).known == (new,)


def test_what_is_here_is_nowhere_else() -> None:
    news = News((at("10.77.0.3", "b", ip="10.99.0.6"),))
    change = whereabouts.merged((at("10.77.0.2"),), news, here=("a", "b"))
    assert change.known == ()
    assert change.hidden == (at("10.77.0.2"),)


def test_a_host_that_tells_all_it_has_ends_what_it_had() -> None:
    known = (
        at("10.77.0.2"), at("10.77.0.2", "b", ip="10.99.0.6"),
        at("10.77.0.3", "c", ip="10.99.0.7"),
    )  # fmt: skip
    change = whereabouts.merged(known, News((at("10.77.0.2"),), all_of="10.77.0.2"))
    assert {found.container for found in change.known} == {"a", "c"}
    assert [found.container for found in change.hidden] == ["b"]
    assert change.shown == ()


def test_an_address_has_one_container() -> None:
    """One whose end was not told gives way to the next that has its address."""
    change = whereabouts.merged((at("10.77.0.2"),), News((at("10.77.0.3", "b"),)))
    assert (change.known, change.hidden) == ((at("10.77.0.3", "b"),), (at("10.77.0.2"),))


def test_gone_is_gone() -> None:
    change = whereabouts.merged((at("10.77.0.2"),), News(gone=("a", "unknown")))
    assert (change.known, change.hidden) == ((), (at("10.77.0.2"),))


@pytest.mark.parametrize(
    "located",
    [
        at("10.77.0.9"),  # no peer
        at("10.77.0.2", ip="10.98.0.5"),  # another subnet
        at("10.77.0.2", ip="10.99.0.1"),  # the gateway
        at("10.77.0.2", name="../x"),
        Located("a", "01:00:00:00:00:01", ("10.99.0.5",), "10.77.0.2"),  # multicast
        Located("a", "02:00:00:00:00:01", ("10.99.0.5",), "10.77.0.2", host6="; reboot"),
    ],
)
def test_what_no_honest_host_tells_is_refused(located: Located) -> None:
    with pytest.raises(NetworkFailed):
        whereabouts.check(NET, News((located,)))
    whereabouts.check(NET, News((at("10.77.0.2"),)))


def test_it_is_kept_and_found_by_address(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "state", tmp_path / "run")
    paths.make()
    whereabouts.update(paths, "blue", News((at("10.77.0.2"),)))
    assert whereabouts.holder(paths, "blue", "10.99.0.5") == at("10.77.0.2")
    assert whereabouts.holder(paths, "blue", "10.99.0.6") is None
    whereabouts.remove(paths, "blue")
    assert whereabouts.known(paths, "blue") == ()


def test_a_damaged_file_is_told_and_not_taken(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "state", tmp_path / "run")
    paths.make()
    (paths.networks / "blue.whereabouts").write_text('[{"container": 1}]')
    with pytest.raises(NetworkFailed, match="can't be read"):
        whereabouts.known(paths, "blue")
