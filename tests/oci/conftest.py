"""The fixture `oci`: the command on a directory of its own; nothing may be left behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.oci.runtime import Runtime


@pytest.fixture
def oci(tmp_path: Path, busybox: Path) -> Iterator[Runtime]:
    made = Runtime(tmp_path, busybox)
    yield made
    made.clear()
    assert made.leftovers() == []
