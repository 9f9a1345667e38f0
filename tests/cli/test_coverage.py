"""History's progress where there is no terminal: a line now and then, none for a moment's work."""

import json

import pytest

from keeper import log
from keeper.cli.coverage import shown_progress
from keeper.engine.coverage import Progress
from tests.cli.calling import log_put_back
from tests.store.builders import MARKET


def progress(done: int, to_block: int) -> Progress:
    return Progress(
        market=MARKET, from_block=1, done_block=done, to_block=to_block, borrowers=7, resumed=False
    )


def test_a_long_history_says_when_it_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    with log_put_back():
        log.set_up(style="json", level="error")
        with shown_progress() as told:
            told(progress(0, 20_000))
            told(progress(10_000, 20_000))
            told(progress(20_000, 20_000))

    [line] = map(json.loads, capsys.readouterr().err.splitlines())
    assert (line["event"], line["percent"], line["borrowers"]) == ("history.read", 100, 7)


def test_a_few_blocks_are_read_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    with log_put_back():
        log.set_up(style="json", level="error")
        with shown_progress() as told:
            told(progress(0, 400))
            told(progress(400, 400))

    assert capsys.readouterr() == ("", "")


def test_a_history_that_takes_its_time_is_told_on_the_way(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keeper.cli.coverage.LOG_EVERY_S", 0.0)
    with log_put_back():
        log.set_up(style="json", level="error")
        with shown_progress() as told:
            told(progress(10, 400))
            told(progress(301, 400))

    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["percent"], line["block"]) for line in lines] == [(2, 10), (75, 301)]
