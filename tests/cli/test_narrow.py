"""A narrow terminal gets lines in place of a table, and nothing of them is cut."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from keeper.app.survey import Standing, Survey
from keeper.cli.oracles import print_prices
from keeper.cli.output import console
from keeper.cli.positions import _document, print_survey
from keeper.model import AlertLevel, FeedState
from keeper.settings import Settings, load
from keeper.units import UINT256_MAX, Base, Wad
from tests.alerts.build import ETH_USD, USDC, USDC_USD, WETH, WSTETH, feed_verdict, price
from tests.cli.calling import toml
from tests.store.builders import assessed, block, position, unassessable


class Screen(Console):
    """A terminal so many columns wide, or a pipe; what it shows is `shown`."""

    def __init__(self, width: int, *, terminal: bool = True) -> None:
        self.paper = io.StringIO()
        super().__init__(
            file=self.paper, width=width, force_terminal=terminal, color_system=None,
            highlight=False, soft_wrap=True,
        )  # fmt: skip

    @property
    def shown(self) -> str:
        return self.paper.getvalue()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = tmp_path / "keeper.toml"
    path.write_text(toml(tmp_path), encoding="utf-8")
    return load(path, {})


def standing(number: int, health: int, label: str = "") -> Standing:
    found = replace(assessed(health), position=position(number), collateral=Base(286_130_99000000))
    level = AlertLevel.CRITICAL if health < UINT256_MAX else AlertLevel.CLEAR
    return Standing(assessment=found, label=label, age_s=41, level=level, decision=None)


def survey(settings: Settings, *standings: Standing) -> Survey:
    [chain] = settings.chains.values()
    return Survey(chain=chain, block=block(), armed=False, standings=standings)


@pytest.mark.parametrize("width", range(40, 130))
def test_health_account_and_decision_are_never_cut(settings: Settings, width: int) -> None:
    out = Screen(width)
    unknown = Standing(
        assessment=unassessable("USDC/USD is stale"), label="cold", age_s=None, level=None,
        decision=None,
    )  # fmt: skip

    found = survey(settings, standing(0xB0B, 1_031_000_000_000_000_001, "main"), unknown)
    print_survey(out, found, None, everyone=False)

    shown = " ".join(out.shown.split())
    for words in ("1.031", "0x00000..00B0b", "main", "critical", "286,130.99", "41 s"):
        assert words in shown, words
    for words in ("unknown", "0x00000..A11cE", "cold", "USDC/USD is stale"):
        assert words in shown, words
    assert "…" not in out.shown
    assert max(len(line) for line in out.shown.splitlines()[1:]) <= width


def test_a_position_below_one_is_called_liquidatable_as_in_the_metrics(settings: Settings) -> None:
    out = Screen(120)
    below = standing(0xB0B, 999_999_999_999_999_999, "main")
    found = survey(settings, below)

    print_survey(out, found, None, everyone=False)

    assert "liquidatable" in out.shown
    assert "critical" not in out.shown
    assert [one["level"] for one in _document(found, None)["positions"]] == ["liquidatable"]


def test_where_it_fits_there_is_a_table(settings: Settings) -> None:
    out = Screen(100)

    print_survey(out, survey(settings, standing(0xB0B, 10**18)), None, everyone=False)

    assert out.shown.splitlines()[1].split() == [
        *("position", "health", "collateral", "debt", "price", "age", "decision")
    ]


@pytest.mark.parametrize("width", [*range(40, 130), 400])
def test_assets_feeds_and_verdicts_of_prices_are_never_cut(width: int) -> None:
    out = Screen(width)
    stale = feed_verdict(USDC_USD, FeedState.STALE, age_s=90_314)
    eth = feed_verdict(ETH_USD)

    print_prices(out, (price(WETH, eth), price(WSTETH, eth), price(USDC, stale), price(WETH)))

    assert "…" not in out.shown
    words = " ".join(out.shown.split())
    assert "wstETH" in words
    assert words.count("ETH / USD") == 2
    assert words.count("14 s / 60 min") == 2
    assert words.count("usable") >= 2
    assert "USDC / USD" in words


def test_a_pipe_gets_every_row_and_a_terminal_is_told_what_it_does_not_get(
    settings: Settings,
) -> None:
    below = [standing(n, 1_031_000_000_000_000_001 + n) for n in range(1, 59)]
    above = [standing(100 + n, 1_500_000_000_000_000_000) for n in range(141)]
    found = survey(settings, *below, *above)
    limit = Wad(11 * 10**17)

    pipe, screen = Screen(400, terminal=False), Screen(200)
    print_survey(pipe, found, limit, everyone=False)
    print_survey(screen, found, limit, everyone=False)

    assert pipe.shown.count("0x") == 58
    assert pipe.shown.splitlines()[-1] == "199 positions; 141 not below 1.1"
    assert screen.shown.count("0x") == 40
    assert screen.shown.splitlines()[-1] == (
        "199 positions; 18 healthier ones not shown: --all; 141 not below 1.1"
    )


def test_a_pipe_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert not console().is_terminal
