"""CRIU's own comparison of CPUs, with this one's description and with altered ones."""

from __future__ import annotations

import pytest

from migrate.criu import cpu
from migrate.criu.errors import CriuFailed, ImageBad

pytestmark = [pytest.mark.root, pytest.mark.criu]


def test_this_cpu_can_do_what_this_cpu_can() -> None:
    image = cpu.describe()
    assert 0 < len(image) < 4096
    cpu.check(image)


def test_a_cpu_that_could_more_is_told() -> None:
    image = cpu.describe()
    refused = 0
    for place in range(len(image) - 64, len(image)):
        more = bytearray(image)
        more[place] |= 0x7F  # within a varint of the capabilities
        if bytes(more) == image:
            continue
        try:
            cpu.check(bytes(more))
        except CriuFailed as error:
            refused += "CPU" in error.cause
    assert refused > 0


@pytest.mark.parametrize("image", [b"", b"x" * (cpu.IMAGE_LIMIT + 1)])
def test_a_description_of_no_possible_size_is_refused(image: bytes) -> None:
    with pytest.raises(ImageBad):
        cpu.check(image)


@pytest.mark.parametrize("image", [b"no image", b"\0" * 100])
def test_what_is_no_description_is_refused(image: bytes) -> None:
    with pytest.raises(CriuFailed):
        cpu.check(image)
