"""What a target has to give."""

from __future__ import annotations

import pytest

from migrate.evacuate.planning.room import (
    BESIDE,
    MARGIN_MOST,
    RESERVE,
    disk_need,
    memory_need,
    room_of,
)
from migrate.move.preflight.source import ROOM
from tests.evacuate.planning.examples import GIB, MIB, fitting, guest, host


def test_the_margin_is_the_smaller_of_a_share_and_a_size() -> None:
    small, large = host("small", memory_free=2 * GIB), host("large", memory_free=64 * GIB)
    assert room_of(small).memory == 2 * GIB - 2 * GIB // 20 - RESERVE
    assert room_of(large).memory == 64 * GIB - MARGIN_MOST - RESERVE
    assert room_of(host("full", memory_free=RESERVE, disk_free=1)).memory == 0
    assert room_of(host("full", memory_free=RESERVE, disk_free=1)).disk == 0


def test_memory_in_use_counts_and_not_the_limit() -> None:
    assert memory_need(guest("a", memory=5 * MIB, limit=4 * GIB)) == 5 * MIB + BESIDE
    assert memory_need(guest("a", status="paused")) == 100 * MIB + BESIDE
    assert memory_need(guest("a", status="stopped")) == 0
    assert memory_need(guest("a", status="created")) == 0
    assert memory_need(guest("a", memory=-5)) == BESIDE
    assert disk_need(guest("a", disk=-1)) == 0


def test_it_fills_to_the_last_byte() -> None:
    target = fitting("beta", 100 * MIB, 300 * MIB)
    room = room_of(target)
    for size in (100 * MIB, 300 * MIB):
        one = guest("one", memory=size)
        assert room.why_not(one) == ""
        room = room.less(one)
    assert room.memory in {0, 1}
    assert "too little memory: 16 MiB needed" in room.why_not(guest("more", memory=0))
    assert "432 MiB are given to others" in room.why_not(guest("more", memory=0))


@pytest.mark.parametrize(("disk", "fits"), [(10 * GIB, True), (10 * GIB + 1, False)])
def test_disk(disk: int, fits: bool) -> None:
    room = room_of(host("beta", disk_free=10 * GIB + RESERVE))
    why = room.why_not(guest("a", disk=disk, status="stopped"))
    assert (why == "") is fits
    assert fits or why == "too little disk: 10.0 GiB needed, 10.0 GiB to give"


def test_the_last_one_placed_still_passes_the_preflight_of_its_move() -> None:
    """It wants memory and ROOM free, when the ones before it have come."""
    sizes = [100 * MIB] * 5
    target = fitting("beta", *sizes)
    free = target.memory_free - sum(size + BESIDE for size in sizes[:-1])
    assert free >= sizes[-1] + ROOM
