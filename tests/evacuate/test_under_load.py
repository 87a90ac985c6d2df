"""One of each kind of workload, evacuated and brought back while its clients watch.

The bounded part of `python -m tests.evacuate.soak`; of kills, test_evacuate.py has a bounded part.
"""

from __future__ import annotations

import pytest

from tests.evacuate.fleet import Fleet
from tests.evacuate.underload import UnderLoad
from tests.evacuate.workloads.assortment import make_images, one_of_each
from tests.evacuate.workloads.spanned import networks
from tests.hosts import Lan


@pytest.mark.root
@pytest.mark.criu
@pytest.mark.hosts
@pytest.mark.alone
@pytest.mark.timeout(240)
def test_nothing_is_lost_and_nobody_is_cut_off(lan: Lan) -> None:
    fleet = Fleet(lan, "alpha", "beta", "gamma")
    make_images(lan, fleet.hosts["alpha"], fleet.desk)
    with (
        networks(fleet) as spanned,
        UnderLoad(fleet, lan.client(), [*one_of_each(lan.shared), *spanned]) as load,
    ):
        load.evacuate()
        load.bring_back()
        assert load.finish() == {}
        for passage in load.passages:
            print(passage.line())
            assert passage.gaps.keys() == {
                "redis-0", "postgres", "nginx", *(workload.name for workload in spanned)
            }  # fmt: skip
