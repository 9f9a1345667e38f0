from keeper.model import Failed, Round
from keeper.oracles.rounds import read_rounds
from tests.oracles.fakes import NOW, Chain, address, feed, feed_of, round_data, word

ONE = feed_of(address=address(1))
TWO = feed_of(address=address(2))


def test_two_calls_a_feed_in_one_batch() -> None:
    chain = Chain({address(1): feed(), address(2): feed()})

    readings = chain.drive(read_rounds((ONE, TWO)))

    assert [len(batch) for batch in chain.batches] == [4]
    assert readings[0] == Round(
        feed=address(1), round_id=3, answer=99_987_001, updated_at=NOW - 41, decimals=8
    )
    assert isinstance(readings[1], Round)


def test_no_feeds_ask_nothing() -> None:
    chain = Chain({})

    assert chain.drive(read_rounds(())) == ()
    assert chain.batches == []


def test_a_broken_feed_costs_itself_only() -> None:
    broken = feed(latestRoundData=Failed("out of gas\x00\u202e"))
    chain = Chain({address(1): broken, address(2): feed()})

    first, second = chain.drive(read_rounds((ONE, TWO)))

    assert first == Failed("latestRoundData() did not answer: out of gas")
    assert isinstance(second, Round)


def test_a_feed_whose_decimals_fail_has_no_round() -> None:
    chain = Chain({address(1): feed(decimals=word(77))})

    (reading,) = chain.drive(read_rounds((ONE,)))

    assert isinstance(reading, Failed)
    assert "77" in reading.reason


def test_a_feed_that_was_destroyed_has_no_round() -> None:
    (reading,) = Chain({}).drive(read_rounds((ONE,)))

    assert reading == Failed("latestRoundData() answered 0 bytes, 160 were expected")


def test_changed_decimals_are_passed_on_as_they_are_now() -> None:
    chain = Chain({address(1): feed(decimals=word(18), latestRoundData=round_data())})

    (reading,) = chain.drive(read_rounds((ONE,)))

    assert isinstance(reading, Round)
    assert reading.decimals == 18
