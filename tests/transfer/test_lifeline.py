import pytest

from migrate.transfer import lifeline
from migrate.transfer.lifeline import CUT_AFTER, Lifeline


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(lifeline, "time", clock)
    return clock


def looks(clock: Clock, line: Lifeline, seconds: float) -> list[bool]:
    found = []
    end = clock.now + seconds
    while clock.now < end:
        clock.now += 1
        found.append(line.is_cut())
    return found


def test_what_is_sent_again_for_long_is_cut(clock: Clock) -> None:
    sent = iter(range(1, 1000))
    line = Lifeline(lambda: next(sent))
    assert not any(looks(clock, line, CUT_AFTER + 1))
    assert line.is_waiting
    assert line.is_cut() is False
    clock.now += 1
    assert line.is_cut()


def test_what_is_acknowledged_now_and_then_is_not(clock: Clock) -> None:
    """On a bad link every look may find something that is just being sent again."""
    sent = iter([1, 2, 3, 1, 2, 4, 1] * 20)
    assert not any(looks(clock, Lifeline(lambda: next(sent)), 100))


def test_a_link_that_is_mended_counts_from_anew(clock: Clock) -> None:
    repeated = [3]
    line = Lifeline(lambda: repeated[0])
    assert not any(looks(clock, line, CUT_AFTER - 1))
    repeated[0] = 0
    assert not any(looks(clock, line, 1))
    assert not line.is_waiting
    repeated[0] = 3
    assert not any(looks(clock, line, CUT_AFTER))
    assert any(looks(clock, line, 3))


def test_what_the_kernel_does_not_tell_is_no_cut(clock: Clock) -> None:
    def refuse() -> int:
        raise OSError("no such connection")

    assert not any(looks(clock, Lifeline(refuse), 100))
    assert not any(looks(clock, Lifeline(None), 100))


@pytest.mark.parametrize("told", ["", "10.0.0.1 50022 10.0.0.2", "a b c d", "UNKNOWN 65535 x y"])
def test_without_a_connection_nothing_is_asked(
    told: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_CONNECTION", told)
    line = Lifeline.of_ssh()
    assert not any(looks(clock, line, 2))


def test_the_connection_is_sshds(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def look(connection: object) -> int:
        asked.append(connection)
        return 1

    monkeypatch.setattr(lifeline, "repetitions", look)
    monkeypatch.setenv("SSH_CONNECTION", "fe80::1 50022 fe80::2 22")
    looks(clock, Lifeline.of_ssh(), 1)
    assert asked == [lifeline.Connection("fe80::2", 22, "fe80::1", 50022)]
