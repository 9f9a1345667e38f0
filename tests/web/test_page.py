import math
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

from keeper.model import (
    AlertLevel,
    Asset,
    Cause,
    IntentKind,
    PriceVerdict,
    Quote,
    Reference,
    Silent,
    Stance,
    Suspicion,
)
from keeper.risk.spread import Spread
from keeper.units import UINT256_MAX, WAD, Base, Raw, Wad
from keeper.web.document import document
from keeper.web.page import STYLE, page, text
from keeper.web.status import ActionStatus, OracleStatus, PositionStatus
from tests.web.fakes import (
    HOSTILE,
    NOW,
    USDC,
    WETH,
    assessed,
    chain,
    hostile,
    intent,
    oracle,
    status,
)


class Reader(HTMLParser):
    """Collects what a browser would make of the document."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        if data != STYLE:
            self.words.append(data)


ALLOWED = {
    *("html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "h3", "p", "div"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}


def test_the_page_shows_what_matters_worst_first() -> None:
    words = Reader(page(status())).words

    assert "Watching 1 chain." in words
    # unknown, then 0.999..., then 1.061
    healths = [w for w in words if w in {"unknown", "0.999", "1.061"}]
    assert healths == ["unknown", "unknown", "0.999", "1.061"]
    assert "main (0x5200..0001)" in words
    assert "19,438.10 USD" in words
    assert "ETH/USD 41 s of 3600 s" in words
    assert "USDC/USD: last answer 90314 s old, heartbeat is 86400 s" in words


def test_a_health_just_below_one_is_never_shown_as_one() -> None:
    assert "1.000" not in Reader(page(status())).words


def test_hostile_words_stay_words() -> None:
    seen = Reader(page(hostile()))

    assert set(seen.tags) <= ALLOWED
    assert not [name for name, _ in seen.attributes if name.startswith("on")]
    assert {name for name, _ in seen.attributes} <= {
        *("lang", "charset", "name", "content", "http-equiv", "class", "data-label", "scope")
    }
    shown = "".join(seen.words)
    assert "<script>alert(1)</script>" in shown
    assert "\u202e" not in shown
    assert "\x1b" not in shown


def test_nothing_is_fetched_from_anywhere() -> None:
    document = page(hostile())

    assert "http://" not in document
    assert "https://" not in document
    assert "url(" not in document
    assert "src=x" not in document.replace("&lt;img src=x", "")


def test_a_stale_head_is_said_first_and_empty_tables_are_not_good_news() -> None:
    late = chain(head_age_s=95.2, positions=())

    words = Reader(page(status(chains=(late,)))).words

    assert "Keeper: not watching" in words
    assert "ethereum: the last head is 95 s old, the limit is 60 s" in words
    assert "Not known: there is no fresh block." in words
    assert not [w for w in words if "every watched position is above" in w]


def test_without_a_head_nothing_is_claimed() -> None:
    words = Reader(page(status(chains=(chain(head=None, head_age_s=None, positions=()),)))).words

    assert "ethereum: no head has arrived yet" in words
    assert "Not known: there is no fresh block." in words


def test_faults_of_the_keeper_are_not_green() -> None:
    document = page(status(faults=("ethereum: disarmed, the journal is unclear",)))

    assert "verdict bad" in document
    assert "verdict good" not in document
    assert "disarmed, the journal is unclear" in document


def test_long_tables_are_cut_and_say_so() -> None:
    many = tuple(oracle(USDC, f"F{n}/USD", n) for n in range(250))

    document = page(status(chains=(chain(oracles=many),)))

    assert "and 50 more" in document


def test_signed_bytes_are_not_shown() -> None:
    assert "secret bytes" not in page(status())


def test_text_escapes_quotes_too() -> None:
    assert text("""a"b'c&d<e""") == "a&quot;b&#x27;c&amp;d&lt;e"
    assert len(text("<" * 10_000)) < 4 * 301 + 10
    assert HOSTILE not in text(HOSTILE)


def test_an_unarmed_chain_says_that_nothing_is_sent() -> None:
    watching = replace(status(), chains=(chain(armed=False),))

    assert "watching only: nothing is sent" in page(watching)


def test_liquidations_on_chain_say_whose_they_were_and_why() -> None:
    shown = page(status())

    assert "Liquidations in the watched markets" in shown
    for words in ("1,234.56 USDC", "0.4000 WETH", "61.73 USD", "refused", "it would revert"):
        assert words in shown, words
    assert "None was seen yet." in page(status(liquidations=()))


def priced(asset: Asset, price: int, reference: int) -> OracleStatus:
    there = oracle(asset, f"{asset.symbol}/USD", 41)
    said = Reference(price=Base(reference), quotes=())
    return replace(there, price=replace(there.price, price=Base(price), reference=said))


def test_a_price_of_about_one_dollar_is_not_cut_to_cents() -> None:
    oracles = (priced(USDC, 99_991_812, 100_003_499), priced(WETH, 3_512_37281953, 123))

    words = Reader(page(status(chains=(chain(oracles=oracles),)))).words

    for shown in ("0.999918 USD", "1.000034 USD", "3,512.37 USD", "0.00000123 USD"):
        assert shown in words, shown


def test_an_approval_without_limit_says_so() -> None:
    endless = replace(intent(IntentKind.APPROVE), amount=Raw(2**256 - 1))
    action = ActionStatus(at=NOW - 200, intent=endless, outcome="confirmed")

    words = Reader(page(status(actions=(action,)))).words

    assert "unlimited USDC" in words
    assert not [word for word in words if "115,792" in word]


def test_a_position_below_one_is_called_liquidatable_as_in_the_metrics() -> None:
    below = PositionStatus(assessment=assessed(3, WAD - 1), level=AlertLevel.CRITICAL)
    near = PositionStatus(assessment=assessed(4, WAD), level=AlertLevel.CRITICAL)
    there = status(chains=(chain(positions=(below, near)),))

    words = Reader(page(there)).words
    read: Any = document(there)
    levels = [one["level"] for one in read["chains"][0]["positions"]]

    assert "liquidatable" in words
    assert "critical" in words
    assert levels == ["liquidatable", "critical"]


def test_a_watched_account_above_its_thresholds_is_not_called_below_one() -> None:
    idle = replace(assessed(1, UINT256_MAX), debt=Base(0))
    positions = (PositionStatus(assessment=idle, level=AlertLevel.CLEAR, label="main"),)

    words = Reader(page(status(chains=(chain(positions=positions),)))).words

    below = words.index("Watched or liquidatable positions below a threshold")
    assert words[below + 1] == "None: every watched position is above its thresholds."
    assert words[below + 2] == "Other watched positions"
    assert "main (0x5200..0001)" in words[below + 3 :]
    assert "no debt" in words


def test_all_accounts_are_counted_beside_the_positions_that_are_listed() -> None:
    counted = Spread(
        block_number=21_034_512,
        accounts=41_208,
        below=((Wad(WAD), 2), (Wad(105 * 10**16), 15), (Wad(130 * 10**16), 1_377)),
        unknown=3,
        lowest=0.93987,
    )

    words = Reader(page(status(chains=(chain(spreads=(("aave", counted),)),)))).words

    start = words.index("All accounts, counted in floats")
    assert words[start + 1 : start + 9] == [
        *("Market", "Accounts", "Below 1", "Below 1.05", "Below 1.3", "Unknown", "Lowest", "Block")
    ]
    assert words[start + 9 : start + 17] == [
        *("aave", "41,208", "2", "15", "1,377", "3", "0.939", "21,034,512")
    ]


def test_a_lowest_health_that_nobody_has_is_not_a_number_on_the_page() -> None:
    nobody = Spread(block_number=7, accounts=2, below=((Wad(WAD), 0),), unknown=0, lowest=math.inf)

    words = Reader(page(status(chains=(chain(spreads=(("aave", nobody),)),)))).words

    start = words.index("All accounts, counted in floats")
    assert "inf" not in words
    assert words[start + 7 : start + 13] == ["aave", "2", "0", "0", "-", "7"]


def doubted(price: PriceVerdict, **changes: Any) -> PriceVerdict:
    quotes = (Quote(source="kraken", price=Base(87_400_000), age_s=4),)
    reference = Reference(price=Base(87_400_000), quotes=quotes, silent=(SILENT,))
    doubt = Suspicion(
        cause=Cause.DISAGREES,
        stance=Stance.HOLD_LIQUIDATIONS,
        reason="USDC: the reference disagrees: 0.9991 by the protocol and 0.874 by kraken, +14.31%",
    )
    known = replace(price, price=Base(99_910_000), reason="", suspicions=(doubt,))
    return replace(known, **({"reference": reference} | changes))


FINE = oracle(USDC, "USDC/USD", 41)
SILENT = Silent(source="coinbase", reason="it answered HTTP status 503")


def words_of(price: PriceVerdict) -> list[str]:
    shown = status(chains=(chain(oracles=(replace(FINE, price=price),)),))
    return Reader(page(shown)).words


def test_a_price_is_shown_with_its_reference_the_difference_and_what_is_held() -> None:
    words = words_of(doubted(FINE.price))

    assert "0.874000 USD" in words
    assert "+14.31 %" in words
    assert "liquidations held" in words
    assert any("the reference disagrees" in word for word in words)


def test_why_there_is_no_reference_is_said_and_nothing_is_shown_where_none_was_asked() -> None:
    none = Reference(price=None, quotes=(), silent=(SILENT,), reason="0 sources answered")
    unasked = doubted(FINE.price, reference=None, suspicions=())

    assert "no reference: 0 sources answered" in words_of(
        doubted(FINE.price, reference=none, suspicions=())
    )
    assert not any("reference:" in word for word in words_of(unasked))
    assert "usable" in words_of(unasked)


def test_the_document_says_who_made_the_reference_and_who_was_silent() -> None:
    shown = status(chains=(chain(oracles=(replace(FINE, price=doubted(FINE.price)),)),))

    told: Any = document(shown)
    [one] = told["chains"][0]["oracles"]

    assert one["reference"]["price_base"] == "87400000"
    assert one["reference"]["quotes"] == [
        {"source": "kraken", "price_base": "87400000", "age_s": 4}
    ]
    assert one["reference"]["silent"][0]["reason"] == "it answered HTTP status 503"
    assert one["difference_bps"] == 1_431
    assert one["doubts"][0]["cause"] == "disagrees"
    assert one["liquidations_held"].startswith("USDC: the reference disagrees")
