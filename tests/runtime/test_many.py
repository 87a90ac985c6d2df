"""Many containers at once, as many as CI has time for; the long form is `tests.runtime.many`."""

from __future__ import annotations

import pytest

from tests.engine import Engine
from tests.runtime.many import go_through

COUNT = 40


@pytest.mark.root
@pytest.mark.timeout(180)
def test_many_at_once(engine: Engine):
    go_through(engine, COUNT, lambda _text: None)
