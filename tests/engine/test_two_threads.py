"""Work is shared by two threads, and nobody can tell from the answer."""

import contextlib
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from keeper.engine import two_threads
from keeper.engine.two_threads import each


def slowly(_: int) -> int:
    """Return the thread, having left another one time to take the next piece."""
    time.sleep(0.001)
    return threading.get_ident()


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two_threads, "_cores", lambda: 2)


def test_answers_are_in_the_order_of_the_pieces() -> None:
    assert each(lambda n: n * n, range(1_000)) == [n * n for n in range(1_000)]


def test_two_pieces_are_worked_at_at_once() -> None:
    both = threading.Barrier(2, timeout=10)  # lets nobody pass before the other is there

    places = each(lambda _: both.wait(), (0, 1))

    assert sorted(places) == [0, 1]


def test_one_core_has_no_second_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two_threads, "_cores", lambda: 1)

    assert set(each(slowly, range(50))) == {threading.get_ident()}


def test_what_goes_wrong_with_a_piece_is_raised_whoever_had_it() -> None:
    def work(number: int) -> int:
        time.sleep(0.001)
        if number == 7:
            raise ArithmeticError("of this piece")
        return number

    for _ in range(10):
        with pytest.raises(ArithmeticError, match="of this piece"):
            each(work, range(9))
        assert each(abs, (-1, -2)) == [1, 2]


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_at_work_any_more_when_it_has_returned(fails: bool) -> None:
    here, begun = threading.get_ident(), threading.Event()
    at_work: list[int] = []
    asked: list[int] = []

    def work(number: int) -> int:
        asked.append(number)
        if threading.get_ident() == here:
            begun.wait(10)  # until the other has one
            if fails:
                raise ArithmeticError("of this piece")
            return number
        at_work.append(number)
        begun.set()
        time.sleep(0.05)  # the book would be edited meanwhile
        at_work.remove(number)
        return number

    if fails:
        with pytest.raises(ArithmeticError, match="of this piece"):
            each(work, range(50))
        assert len(asked) < 5
    else:
        assert each(work, range(50)) == list(range(50))
    assert at_work == []


def test_where_no_thread_can_be_started_one_does_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed = ThreadPoolExecutor(1)
    closed.shutdown()  # it says the same as a system without a thread to spare
    monkeypatch.setattr(two_threads, "_other_thread", lambda _: closed)

    assert each(abs, (-1, -2, -3)) == [1, 2, 3]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_fork_has_a_second_thread_of_its_own() -> None:
    each(abs, (-1, -2))  # the parent has one now, and a fork has none of its threads

    child = os.fork()
    if child == 0:
        signal.alarm(10)
        both = threading.Barrier(2, timeout=5)
        met: list[int] = []
        with contextlib.suppress(threading.BrokenBarrierError):
            met = each(lambda _: both.wait(), (0, 1))
        os._exit(0 if sorted(met) == [0, 1] else 1)
    _, status = os.waitpid(child, 0)

    assert status == 0
