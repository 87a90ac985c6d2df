import threading
import time

from migrate.transfer.workers import Workers


def test_all_is_done_by_whoever_is_free() -> None:
    done: list[int] = []
    workers = Workers([done.append, done.append], lambda error: None, "adders")
    assert all(workers.put(number) for number in range(100))
    assert workers.wait(20)
    assert sorted(done) == list(range(100))
    assert not workers.died
    workers.stop()
    workers.stop()


def test_the_wait_for_them_has_a_limit() -> None:
    free = threading.Event()
    workers = Workers([lambda item: bool(free.wait(60))], lambda error: None, "slow")
    assert workers.put(1)
    begun = time.monotonic()
    assert not workers.wait(0.05)
    assert time.monotonic() - begun < 30
    free.set()
    assert workers.wait(20)
    workers.stop()


def test_nobody_waits_for_one_that_has_died() -> None:
    told: list[Exception] = []

    def work(item: int) -> None:
        raise MemoryError

    workers = Workers([work], told.append, "doomed")
    assert workers.put(1)
    workers.wait(20)
    assert workers.died
    assert isinstance(told[0], MemoryError)
    assert not workers.put(2)
    workers.stop()
