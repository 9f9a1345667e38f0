"""Every command against the real contracts, as an operator would type it.

Commands run in a thread, each with a loop of its own, so that the chain can go on meanwhile.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_typing import HexStr

from keeper.devnet.network import Devnet
from keeper.units import UINT256_MAX, WAD
from tests.cli.calling import Keeper, Said, log_put_back

pytestmark = pytest.mark.chain

ANSWERS_99 = "0x60635f5260205ff3"
"""PUSH1 99 PUSH0 MSTORE PUSH1 32 PUSH0 RETURN: a contract whose every answer is 99."""


class Typed:
    """Types commands while the devnet goes on."""

    def __init__(self, keeper: Keeper) -> None:
        self.keeper = keeper

    async def __call__(self, *arguments: str) -> Said:
        return await asyncio.to_thread(self.keeper, *arguments)


@pytest.fixture
def typed(
    devnet: Devnet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Typed]:
    """A keeper that watches only."""
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "keeper.toml"
    config.write_text(watching(devnet, tmp_path), encoding="utf-8")
    with log_put_back():
        yield Typed(Keeper(config=config, capture=capsys))


def watching(devnet: Devnet, folder: Path) -> str:
    there = devnet.deployment
    heartbeats = "\n".join(f'"{f.proxy}" = {f.heartbeat_s}' for f in there.feeds)
    return f"""
[database]
url = "sqlite:///{folder / "keeper.sqlite3"}"
[chains.devnet]
chain_id = {there.chain_id}
rpc_urls = ["{there.rpc_url}"]
ws_urls = ["{there.ws_url}"]
calls_per_second = 5000
confirmations = 2
block_time_s = 1
markets = [{{ name = "aave-v3-devnet", addresses_provider = "{there.addresses_provider}" }}]
[oracles.heartbeats_s]
{heartbeats}
"""


def arm(typed: Typed, devnet: Devnet, more: str = "") -> None:
    """Give it the devnet keeper's key in a keystore, caps, and somebody to protect."""
    folder = typed.keeper.config.parent
    key = devnet.deployment.account("keeper").private_key
    kept = Account.encrypt(HexStr(key), "pass word", kdf="scrypt", iterations=2**12)
    for name, text in (("key.json", json.dumps(kept)), ("phrase", "pass word\n")):
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o600)
    alice = devnet.deployment.account("alice").address
    typed.keeper.config.write_text(
        watching(devnet, folder)
        + f"""
[protect.alice]
account = "{alice}"
below = "1.12"
target = "1.30"
max_per_tx_usd = "250000"
[liquidate]
enabled = true
[signing]
armed_chain_ids = [{devnet.deployment.chain_id}]
keystore = "{folder}/key.json"
passphrase_file = "{folder}/phrase"
max_per_tx_usd = "2000000"
max_per_day_usd = "100000000"
max_gas_per_tx_eth = "0.5"
max_gas_per_day_eth = "20"
{more}
""",
        encoding="utf-8",
    )


def shocked(price: Decimal, fraction: str) -> Decimal:
    """Return a fraction of a price, in whole units of a feed's 8 decimals."""
    return (price * Decimal(fraction)).quantize(Decimal("0.00000001"))


# --- looking ----------------------------------------------------------------------------------


async def test_positions_hold_every_borrower_at_the_pool_s_own_health_factor(
    typed: Typed, devnet: Devnet
) -> None:
    said = await typed("positions", "--json")

    found = {p["address"]: p for p in said.json["positions"]}
    indebted = [b.address for b in devnet.borrowers if b.kind != "no_debt"]
    assert (said.code, said.err) == (0, "")
    assert set(found) >= set(indebted)
    block = hex(said.json["block"])
    answers = await devnet.account_data_of(list(found), block)
    assert {a: int(p["health_factor_wad"]) for a, p in found.items()} == {
        a: answer[5] for a, answer in zip(found, answers, strict=True)
    }
    assert {a: (int(p["collateral_base"]), int(p["debt_base"])) for a, p in found.items()} == {
        a: answer[:2] for a, answer in zip(found, answers, strict=True)
    }
    healths = [int(p["health_factor_wad"]) for p in said.json["positions"]]
    assert healths == sorted(healths)
    assert {p["verdict"] for p in found.values()} == {"hold"}


async def test_positions_are_resumed_from_the_checkpoint_and_limited_by_below(
    typed: Typed,
) -> None:
    everybody = (await typed("positions", "--json")).json["positions"]
    limit = sorted(int(p["health_factor_wad"]) for p in everybody)[3]

    shown = f"{limit // WAD}.{limit % WAD:018d}"
    said = await typed("positions", "--json", "--below", shown)

    assert [int(p["health_factor_wad"]) < limit for p in said.json["positions"]] == [True] * 3
    table = (await typed("positions", "--below", shown)).out
    assert table.count("0x") == 3
    assert f"{len(everybody) - 3} not below {shown.rstrip('0')}" in table


async def test_a_stale_feed_makes_health_unknown_aloud_and_stops_every_plan(
    typed: Typed, devnet: Devnet
) -> None:
    await devnet.anvil.increase_time(7_200)
    await devnet.anvil.mine()
    await devnet.refresh_feeds("ETH/USD")
    alice = devnet.deployment.account("alice").address

    document = (await typed("positions", "--json")).json
    table = (await typed("positions")).out
    oracles = (await typed("oracles", "--json")).json
    explained = await typed("explain", alice)
    planned = await typed("topup", alice)

    mine = next(p for p in document["positions"] if p["address"] == alice)
    assert mine["health_factor_wad"] is None
    assert mine["collateral_base"] is None
    assert mine["verdict"] == "unknown"
    assert mine["reason"].startswith("ETH/USD: last answer 72")
    assert "unknown" in table
    [weth] = [p for p in oracles["markets"][0]["prices"] if p["symbol"] == "WETH"]
    assert (weth["usable"], weth["feeds"][0]["state"]) == (False, "stale")
    assert explained.code == 0
    assert "health unknown: ETH/USD: last answer" in explained.out
    assert "the Pool agrees to the wei" in explained.out
    assert planned.code == 1
    assert f"The health of {alice} is unknown: ETH/USD: last answer" in planned.sentence


async def test_an_explanation_ends_with_the_pool_s_own_numbers(
    typed: Typed, devnet: Devnet
) -> None:
    bob = devnet.deployment.account("bob").address

    said = await typed("explain", bob)
    document = (await typed("explain", bob, "--json")).json

    [mine] = document["positions"]
    answer = await devnet.account_data(bob, hex(mine["block"]))
    assert (said.code, said.err) == (0, "")
    assert said.out.rstrip().endswith("the Pool agrees to the wei")
    assert int(mine["health_factor_wad"]) == answer[5]
    assert mine["agrees"] is True
    assert int(mine["pool"]["health_factor_wad"]) == answer[5]
    assert {way["kind"] for way in mine["remedies"]} <= {"repay", "top_up"}
    assert mine["liquidation_prices"]
    # bob: health 1.24..; at this fraction of all his collateral's prices it is 1
    factor = int(mine["price_factor_wad"])
    assert factor == -(-(10**36) // answer[5])
    assert f"all collateral together: health 1 at -{(10**18 - factor) // 10**15 / 10} %" in said.out


async def test_an_explanation_says_when_interest_alone_leads_to_liquidation(
    typed: Typed, devnet: Devnet
) -> None:
    """At the second that it says, the Pool's health factor falls below 1."""
    price = await devnet.price("ETH/USD")
    await devnet.push_price("ETH/USD", (price * Decimal("0.7983")).quantize(Decimal("1e-8")))
    alice = devnet.deployment.account("alice").address

    said = await typed("explain", alice)
    [mine] = (await typed("explain", alice, "--json")).json["positions"]
    seconds = mine["seconds_to_liquidation"]
    at = await devnet.anvil.timestamp() + seconds
    below = []
    for then in (at - 1, at):
        snapshot = await devnet.anvil.snapshot()
        await devnet.anvil.set_time(then)
        await devnet.anvil.mine()
        below.append((await devnet.account_data(alice))[5] < WAD)
        await devnet.anvil.revert(snapshot)

    assert f"by interest alone, at today's rates and prices: in {seconds // 86_400} d" in said.out
    assert below == [False, True]


async def test_an_account_without_a_position_is_told_so(typed: Typed, devnet: Devnet) -> None:
    deployer = devnet.deployment.account("deployer").address

    said = await typed("explain", deployer)

    assert said.code == 0
    assert "has no position in aave-v3-devnet." in said.out


async def test_oracles_name_each_feed_and_its_age(typed: Typed) -> None:
    said = await typed("oracles")

    assert said.code == 0
    assert "ETH/USD" in said.out
    assert "ratio of the token's own contract" in said.out
    assert said.out.count(" usable") == 6


# --- acting -----------------------------------------------------------------------------------


async def test_check_names_the_allowances_that_are_missing(typed: Typed, devnet: Devnet) -> None:
    arm(typed, devnet)

    found = (await typed("check", "--json")).json

    checks = {c["what"]: c for c in found["checks"]}
    assert found["ok"] is True
    assert checks["devnet: key"]["said"].endswith(", armed")
    assert "POOL_REVISION 10" in checks["aave-v3-devnet: contracts"]["said"]
    assert checks["aave-v3-devnet: prices"]["said"] == "6 of 6 are usable, from 5 feeds"
    usdc = checks["aave-v3-devnet: allowance of USDC"]
    assert (usdc["state"], usdc["remedy"]) == ("warning", "keeper approve USDC --send")


async def test_without_a_key_a_top_up_is_planned_and_nothing_else(
    typed: Typed, devnet: Devnet
) -> None:
    alice = devnet.deployment.account("alice").address

    said = await typed("topup", alice, "--target", "1.6", "--json")
    sent = await typed("topup", alice, "--send")

    assert (said.code, said.json["state"], said.json["tx"]) == (0, "planned", None)
    assert int(said.json["amount_raw"]) > 0
    assert sent.code == 2
    assert "devnet is not armed: set signing.armed_chain_ids" in sent.sentence


async def test_a_rehearsal_without_allowance_says_which_command_is_missing(
    typed: Typed, devnet: Devnet
) -> None:
    arm(typed, devnet)
    alice = devnet.deployment.account("alice").address

    said = await typed("topup", alice, "--asset", "WETH")

    assert said.code == 1
    assert "nothing was spent: it needs the allowance, by `keeper approve WETH --send`" in (
        said.sentence
    )


async def test_an_approval_and_a_top_up_are_sent_followed_and_told(
    typed: Typed, devnet: Devnet
) -> None:
    arm(typed, devnet)
    alice = devnet.deployment.account("alice").address
    await devnet.anvil.set_interval_mining(1)

    approved = await typed("approve", "WETH", "250", "--send")
    rehearsed = await typed("topup", alice, "--asset", "WETH", "--target", "1.7")
    before = (await devnet.account_data(alice))[5]
    sent = await typed("topup", alice, "--asset", "WETH", "--target", "1.7", "--send")

    assert (approved.code, approved.err) == (0, "")
    assert "Confirmed in block" in approved.out
    assert "Rehearsed, nothing was sent: add --send to send it." in rehearsed.out
    assert before < 17 * WAD // 10
    assert sent.code == 0, sent.err
    assert "health after    1.7" in sent.out
    assert (await devnet.account_data(alice))[5] >= 1_699_999 * WAD // 1_000_000
    actions = (await typed("actions", "--json")).json["actions"]
    assert [(a["kind"], a["state"]) for a in actions] == [
        ("top_up", "confirmed"),
        ("top_up", "rehearsed"),
        ("approve", "confirmed"),
    ]
    mined = actions[0]["mined_block"]
    pool = await devnet.account_data(alice, hex(mined))
    assert actions[0]["health_after_wad"] == str(pool[5])
    story = await typed("explain", actions[0]["intent"])
    assert "plan.confirmed" in story.out


async def test_a_liquidation_is_rehearsed_and_then_sent(typed: Typed, devnet: Devnet) -> None:
    arm(typed, devnet)
    await devnet.push_price("ETH/USD", shocked(await devnet.price("ETH/USD"), "0.9"))
    accounts = [b.address for b in devnet.borrowers]
    answers = await devnet.account_data_of(accounts)
    below = {a: x for a, x in zip(accounts, answers, strict=True) if x[5] < WAD}
    victim = max(below, key=lambda a: below[a][1])
    healthy = next(a for a, x in zip(accounts, answers, strict=True) if x[5] > 2 * WAD)
    await devnet.anvil.set_interval_mining(1)
    for symbol in ("USDC", "DAI", "WETH", "WBTC"):
        assert (await typed("approve", symbol, "--send")).code == 0

    rehearsed = (await typed("liquidate", victim, "--json")).json
    refused = await typed("liquidate", healthy)
    sent = await typed("liquidate", victim, "--send")
    worst = (await typed("positions", "--json")).json["positions"]

    assert rehearsed["state"] == "rehearsed"
    assert int(rehearsed["expected_profit_base"]) > 0
    assert refused.code == 1
    assert refused.sentence.endswith("is not below 1.")
    assert sent.code == 0, sent.err
    after = await devnet.account_data(victim)
    assert after[1] < below[victim][1]
    assert {p["verdict"] for p in worst if int(p["health_factor_wad"] or UINT256_MAX) < WAD} <= {
        "act",
        "refuse",
    }


async def test_a_command_that_the_configuration_does_not_allow_says_what_allows_it(
    typed: Typed, devnet: Devnet
) -> None:
    arm(typed, devnet)
    config = typed.keeper.config
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("enabled = true", "enabled = false"), encoding="utf-8")
    await devnet.push_price("ETH/USD", shocked(await devnet.price("ETH/USD"), "0.9"))
    accounts = [b.address for b in devnet.borrowers]
    answers = await devnet.account_data_of(accounts)
    keeper = devnet.deployment.account("keeper").address
    for reserve in devnet.deployment.reserves:
        await devnet.as_account(
            keeper, reserve.asset, "TestnetERC20", "approve", devnet.deployment.pool, 10**40
        )
    victim = min(zip(accounts, answers, strict=True), key=lambda pair: pair[1][5])[0]

    said = await typed("liquidate", victim, "--send")

    assert said.code == 2
    assert said.sentence == (
        "The key may sign no liquidation: set liquidate.enabled, or leave --send out to rehearse "
        "only."
    )


# --- what is wrong ------------------------------------------------------------------------------


async def test_a_contract_that_is_no_aave_pool_is_one_sentence(
    typed: Typed, devnet: Devnet
) -> None:
    config = typed.keeper.config
    there = devnet.deployment
    text = config.read_text(encoding="utf-8").replace(there.addresses_provider, there.oracle)
    config.write_text(text, encoding="utf-8")

    said, checked = await typed("positions"), await typed("check", "--json")

    assert (said.code, said.out) == (2, "")
    assert f"{there.oracle} on chain 31337 is not the PoolAddressesProvider of an Aave v3" in (
        said.sentence
    )
    assert [c["what"] for c in checked.json["checks"] if c["state"] == "failed"] == [
        "aave-v3-devnet: contracts"
    ]


@pytest.mark.parametrize("command", [("positions",), ("run",), ("oracles", "--json")])
async def test_an_unsupported_pool_revision_is_one_sentence(
    typed: Typed, devnet: Devnet, command: tuple[str, ...]
) -> None:
    await devnet.anvil.rpc("anvil_setCode", devnet.deployment.pool, ANSWERS_99)
    if command == ("run",):
        code, _, err = await run_to_its_end(typed)
    else:
        said = await typed(*command)
        code, err = said.code, said.err

    assert code == 2
    assert "Traceback" not in err
    assert "keeper: The Pool says POOL_REVISION 99, whose arithmetic this keeper does not know" in (
        err
    )
    assert "remove the market from the configuration or upgrade the keeper." in err


# --- running ------------------------------------------------------------------------------------


async def run_to_its_end(typed: Typed, *, told: signal.Signals | None = None) -> Any:
    """Run ``keeper run`` as a process; tell it to end once it watches."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "keeper", "--config", str(typed.keeper.config), "run",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert process.stderr is not None
    said = b""
    if told is not None:
        async for line in process.stderr:
            said += line
            if b"ws.connected" in line:
                break
        await asyncio.sleep(0.5)
        process.send_signal(told)
    out, err = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode, out.decode(), (said + err).decode()


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
async def test_run_says_what_it_does_and_ends_when_told(
    typed: Typed, devnet: Devnet, told: signal.Signals
) -> None:
    arm(typed, devnet)

    code, out, err = await run_to_its_end(typed, told=told)

    assert code == 0, err
    assert "Settings: environment > .env > keeper.toml > presets > defaults." in out
    assert "ARMED: it signs and sends; protects 1 account; liquidates" in out
    assert f"nodes      {devnet.deployment.rpc_url}" in out
    assert "messages     to the log" in out
    assert "Traceback" not in err
    assert {json.loads(line)["event"] for line in err.splitlines()} >= {
        "database.opened",
        "chain.opened",
    }


async def test_watching_while_it_runs_needs_no_restart(typed: Typed, devnet: Devnet) -> None:
    arm(typed, devnet)
    await devnet.anvil.set_interval_mining(1)
    running = asyncio.create_task(run_to_its_end(typed, told=signal.SIGTERM))
    bob = devnet.deployment.account("bob").address
    said = await typed("watch", bob, "--label", "bob", "--thresholds", "9/8/7")
    assert said.code == 0

    code, _, err = await running

    assert code == 0
    assert "bob" in "".join(line for line in err.splitlines() if "message" in line)


async def test_rules_say_how_they_read_and_which_would_fire(typed: Typed, devnet: Devnet) -> None:
    alice = devnet.deployment.account("alice").address
    config = typed.keeper.config
    more = f"""
[alerts]
rules = ["price WETH < 1000000", "price WETH < 1", "distance alice < 99", "price WEHT < 1",
         "utilisation USDC > 0.0001", "balance gas < 1", "moved alice > 1"]
[[watch]]
address = "{alice}"
label = "alice"
"""
    config.write_text(config.read_text(encoding="utf-8") + more, encoding="utf-8")

    said = (await typed("rules", "--json")).json["rules"]
    found = {one["rule"].replace(alice.lower(), "alice"): one for one in said}
    levels = {name: [read["level"] for read in one["reads"]] for name, one in found.items()}

    assert levels == {
        "price WETH < 1000000": ["warning"],
        "price WETH < 1": ["clear"],
        "distance alice < 99": ["warning"],
        "price WEHT < 1": [],
        "utilisation USDC > 0.0001": ["warning"],
        "balance gas < 1": [None],
        "moved alice > 1": ["clear"],
    }
    assert found["price WEHT < 1"]["fault"] == "no market lists WEHT, so it never speaks"
    assert found["price WEHT < 1"]["remedy"].endswith("correct it under alerts.rules")
    checked = (await typed("check")).out
    assert "warning  rule price WEHT < 1 for log:: no market lists WEHT" in checked
    assert ", so it fires (warning)" in checked
