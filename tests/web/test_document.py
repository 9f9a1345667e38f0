import json

from keeper.web.document import document
from tests.web.fakes import chain, hostile, status


def test_integers_of_the_chain_are_strings_and_unknown_is_null() -> None:
    answer = json.loads(json.dumps(document(status())))

    unknown, lowest, main = answer["chains"][0]["positions"]
    assert unknown["health_factor_wad"] is None
    assert unknown["reason"].startswith("USDC/USD: last answer 90314 s old")
    assert lowest["health_factor_wad"] == "999999999999999999"
    assert main["health_factor_wad"] == "1061060494595665214"
    assert main["collateral_base"] == "2500000000000"


def test_the_document_says_whether_it_watches() -> None:
    fresh = document(status())
    late = document(status(chains=(chain(head_age_s=95.2),)))

    assert (fresh["ok"], fresh["reasons"]) == (True, [])
    assert (late["ok"], late["reasons"]) == (
        False,
        ["ethereum: the last head is 95 s old, the limit is 60 s"],
    )


def test_plans_and_actions_carry_intent_and_transaction() -> None:
    answer = json.loads(json.dumps(document(status())))

    assert answer["chains"][0]["plans"][0]["tx"] == ["0x" + "12" * 32]
    assert answer["actions"][0]["intent"] == "9bc9c47d79c7aa24"
    assert "secret bytes" not in json.dumps(answer)


def test_hostile_words_are_plain() -> None:
    written = json.dumps(document(hostile()), ensure_ascii=False)

    assert "\u202e" not in written
    assert "\x1b" not in written


def test_liquidations_are_there_with_every_digit() -> None:
    said = document(status())["liquidations"]

    assert isinstance(said, list)
    [one] = said
    assert isinstance(one, dict)
    assert (one["taken"], one["covered"], one["profit_base"]) == (
        "refused",
        "1234567890",
        "6173000000",
    )
