from dataclasses import replace
from html.parser import HTMLParser

from keeper.web.page import STYLE, page, text
from tests.web.fakes import HOSTILE, USDC, chain, hostile, oracle, status


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
