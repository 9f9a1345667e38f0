"""What is said of one position, and which comes first."""

import json
from pathlib import Path
from typing import Any

import pytest

from keeper.app.owner import owner_address
from keeper.app.survey import Standing, _worst_first, deed
from keeper.execution.keystore import create_keystore
from keeper.model import Act, AlertLevel, Hold, IntentKind, Refuse
from keeper.settings import load
from keeper.units import UINT256_MAX, Raw
from tests.store.builders import assessed, intent, position, unassessable

REFUSED = Refuse(position=position(), reason="profit 1.20 USD is below the floor")


def standing(assessment: Any, decision: Any = None) -> Standing:
    level = AlertLevel.CLEAR if assessment.ok else None
    return Standing(assessment=assessment, label="", age_s=41, level=level, decision=decision)


@pytest.mark.parametrize(
    ("of", "verdict", "reason"),
    [
        (standing(assessed(), Act(intent=intent())), "act", "health factor 0.973 is below 1"),
        (standing(assessed(), REFUSED), "refuse", "profit 1.20 USD is below the floor"),
        (standing(assessed(), Hold(position=position(), reason="fine")), "hold", "fine"),
        (standing(assessed()), "hold", "watched only: there is no key"),
        (standing(unassessable("USDC/USD is stale"), REFUSED), "unknown", "USDC/USD is stale"),
    ],
)
def test_a_verdict_has_its_reason(of: Standing, verdict: str, reason: str) -> None:
    assert (of.verdict, of.reason) == (verdict, reason)


def test_the_worst_come_first_and_an_unknown_health_before_any_good_one() -> None:
    wads = (UINT256_MAX, 1_031 * 10**15, 10**18 - 1, 2 * 10**17)
    found = [*(standing(assessed(wad)) for wad in wads), standing(unassessable("why"))]

    order = [getattr(s.assessment, "health_factor", None) for s in sorted(found, key=_worst_first)]

    assert order == [2 * 10**17, 10**18 - 1, None, 1_031 * 10**15, UINT256_MAX]


def test_a_deed_reads_never_less_than_it_takes() -> None:
    repay = intent(kind=IntentKind.REPAY, collateral=None, amount=Raw(2_938_100_001))

    assert deed(repay) == "repay 2,938.11 USDC"
    assert deed(intent()) == "liquidate: repay 2,938.11 USDC, seize WETH"


async def test_whose_key_it_is_is_read_without_opening_it(tmp_path: Path) -> None:
    owner = create_keystore(tmp_path / "key.json", "pass word", n=2**12)
    (tmp_path / "keeper.toml").write_text(
        f"""
[chains.local]
chain_id = 31337
rpc_urls = ["http://127.0.0.1:9"]
markets = [{{ name = "m", addresses_provider = "0x{"22" * 20}" }}]
[signing]
keystore = "{tmp_path}/key.json"
passphrase_file = "{tmp_path}/there-is-none"
""",
        encoding="utf-8",
    )
    settings = load(tmp_path / "keeper.toml", {}, env_file=None)

    assert await owner_address(settings, settings.select()[0]) == owner
    assert json.loads((tmp_path / "key.json").read_text())["address"].lower() == owner[2:]
