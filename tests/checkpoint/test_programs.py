"""Every kind of state, each in a C program of its own: two checkpoints, and a look after each."""

from __future__ import annotations

from pathlib import Path

import pytest

from migrate.checkpoint.bring_back import bring_back
from migrate.checkpoint.save import save
from migrate.errors import MigrateError
from tests.states import under_migrate, under_runc
from tests.states.building import ALL, BY_CRIU, KINDS, REFUSED, build
from tests.states.running import check, run

NAME = 15  # of a program, in letters (Linux, TASK_COMM_LEN)
pytestmark = [pytest.mark.root, pytest.mark.criu]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("programs")
    directory.chmod(0o755)
    build(directory, ALL)
    return directory


def test_all_is_kept_over_two_checkpoints(place, programs: Path):
    """Where one fails, `python -m tests.states` tells which it is."""
    record = run(place, programs, KINDS)
    check(place, record, KINDS)
    for turn in range(2):
        output = place.directory / f"checkpoint{turn}"
        save(place.paths, record, str(output))
        bring_back(place.paths, output)
        check(place, record, KINDS)


def test_what_can_not_be_dumped_is_named_and_runs_on(place, programs: Path):
    """All at once: each process is told of."""
    kinds = [kind for kind in REFUSED if kind not in BY_CRIU]
    record = run(place, programs, kinds)
    with pytest.raises(MigrateError) as caught:
        save(place.paths, record, str(place.directory / "checkpoint"))
    words = f"{caught.value.what} {caught.value.cause}"
    assert [kind for kind in kinds if kind[:NAME] not in words] == []
    check(place, record, kinds)


@pytest.mark.parametrize("kind", ["net_udp_corked", "process_shared_memory"])
def test_what_criu_refuses_is_told_in_words_and_runs_on(place, programs: Path, kind: str):
    record = run(place, programs, [kind])
    with pytest.raises(MigrateError) as caught:
        save(place.paths, record, str(place.directory / "checkpoint"))
    assert "its log" not in caught.value.cause  # where no line is known, only the log is named
    check(place, record, [kind])


@pytest.mark.skipif(not Path(under_runc.PROGRAM).exists(), reason="no runc on this machine")
@pytest.mark.parametrize("kind", ["cgroup_inner", "net_tcp_queues", "process_tree"])
def test_what_runc_keeps_is_kept(programs: Path, kind: str):
    """`python -m tests.states --runc` compares all of them."""
    assert under_runc.outcome(programs, kind, turns=1) == ("kept", "")
    assert under_migrate.outcome(programs, kind, turns=1) == ("kept", "")
