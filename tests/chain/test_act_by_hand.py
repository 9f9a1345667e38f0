"""What a person does by hand: a deleverage with its arithmetic, and commands while it is paused."""

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest

from keeper.devnet.anvil import CHAIN_ID
from keeper.devnet.network import Devnet
from keeper.model import Address
from keeper.store.database import Database
from keeper.store.journal import SqlJournal
from keeper.store.people import SqlPeople
from keeper.units import BPS, WAD, Rounding, mul_div
from tests.chain.test_cli import Typed, arm
from tests.chain.test_cli import typed as typed  # noqa: PLC0414 - a fixture
from tests.chain.test_deleverage import MANDATE, consent, deployed

pytestmark = pytest.mark.chain

BOSS = "telegram user 7009"


def lend(typed: Typed, devnet: Devnet, contract: Address) -> None:
    """Arm it for Alice's deleverage by `contract`."""
    arm(typed, devnet)
    config, exchange = typed.keeper.config, devnet.deployment.uniswap
    text = config.read_text(encoding="utf-8")
    there = (
        f'deleverager = "{contract}"\nuniswap_factory = "{exchange.factory}"\n'
        f'uniswap_quoter = "{exchange.quoter}"\nblock_time_s = 1\n'
    )
    text = text.replace("block_time_s = 1\n", there)
    text = text.replace(
        "[protect.alice]\n", '[protect.alice]\nstrategy = ["top_up", "deleverage"]\n'
    )
    config.write_text(text, encoding="utf-8")


async def down_to(devnet: Devnet, health: str) -> None:
    alice = devnet.deployment.account("alice").address
    now = Decimal((await devnet.account_data(alice))[5]) / WAD
    await devnet.fall_of("ETH/USD", Decimal(health) / now)


async def test_a_deleverage_is_planned_with_its_arithmetic_and_sent_within_the_mandate(
    typed: Typed, devnet: Devnet
) -> None:
    alice = devnet.deployment.account("alice").address
    contract = await deployed(devnet)
    lend(typed, devnet, contract)
    await down_to(devnet, "1.09")
    await devnet.anvil.set_interval_mining(1)

    unasked = await typed("deleverage", alice, "--target", "1.3")
    await consent(devnet, contract)
    planned = await typed("deleverage", alice, "--target", "1.3", "--json")
    said = await typed("deleverage", alice, "--target", "1.3")
    sent = await typed("deleverage", alice, "--target", "1.3", "--send")

    assert unasked.code == 1
    assert "not sent, nothing was spent:" in unasked.sentence
    assert "lets the deleverager take 0" in unasked.sentence
    assert (planned.code, planned.json["state"], planned.json["kind"]) == (
        0, "rehearsed", "deleverage",
    )  # fmt: skip
    # the plan's own line, done anew: what is sold at the most for what is repaid
    [line] = [line for line in said.out.splitlines() if " / 10000 / price " in line]
    numbers = [int(word) for word in line.replace(",", " ").split() if word.isdigit()]
    repaid, debt_price, cost, _, price, *_ = numbers
    sells = 1 + mul_div(repaid * debt_price * 10**18, cost, 10**6 * price * BPS, Rounding.UP)
    shown = Decimal(said.out.split("sells at most", 1)[1].split()[0].replace(",", ""))
    assert 0 <= shown - Decimal(sells) / 10**18 < Decimal("0.0001")
    assert "by the account's mandate" in said.out
    assert "Rehearsed, nothing was sent: add --send to send it." in said.out
    assert sent.code == 0, sent.err
    assert "Confirmed in block" in sent.out
    assert (await devnet.account_data(alice))[5] >= 13 * WAD // 10


async def test_a_debt_is_repaid_in_part_by_what_is_named_and_never_beyond_the_mandate(
    typed: Typed, devnet: Devnet
) -> None:
    alice = devnet.deployment.account("alice").address
    contract = await deployed(devnet)
    lend(typed, devnet, contract)
    await consent(devnet, contract, replace(MANDATE, per_transaction=2_500 * 10**8))
    await down_to(devnet, "1.09")
    await devnet.anvil.set_interval_mining(1)
    usdc = devnet.deployment.reserve("USDC")
    call = devnet.deployer.call

    owed = int(await call(usdc.variable_debt_token, "TestnetERC20", "balanceOf", alice))
    part = ("deleverage", alice, "--asset", "USDC", "--sell", "WETH", "--amount")
    beyond = await typed(*part, "2,600", "--send")
    sent = await typed(*part, "2,400", "--send")
    owes = int(await call(usdc.variable_debt_token, "TestnetERC20", "balanceOf", alice))

    assert beyond.code == 1
    assert "mandate is for 2,500.00 USD in one transaction" in beyond.sentence
    assert sent.code == 0, sent.err
    assert owed - owes == pytest.approx(2_400 * 10**6, rel=1e-4)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--amount", "5"), "--amount is of a debt: name it with --asset."),
        (("--asset", "USDC", "--amount", "0"), "0 USDC is nothing: name more than 0."),
        (("--target", "1.01"), "is at or above the target already: nothing needs to be done."),
        (("--asset", "WETH"), "has no debt and other collateral that may be sold for it."),
        (("--asset", "USDC", "--amount", "999999999"), "that is the most that can be repaid."),
        (("--asset", "NOPE", "--target", "9"), "lists no asset 'NOPE'"),
        (("--send", "--target", "9"), "has no deleverager: deploy one with"),
        (("--target", "9"), "has no deleverager: deploy one with"),
    ],
)
async def test_what_cannot_be_deleveraged_is_one_sentence(
    typed: Typed, devnet: Devnet, options: tuple[str, ...], sentence: str
) -> None:
    arm(typed, devnet)
    alice = devnet.deployment.account("alice").address

    said = await typed("deleverage", alice, *options)

    assert said.code in {1, 2}
    assert sentence in said.sentence


async def test_without_a_deleverager_that_is_said_before_what_cannot_be_reached(
    typed: Typed, devnet: Devnet
) -> None:
    arm(typed, devnet)
    alice = devnet.deployment.account("alice").address
    # Below 0.83 x 1.01 each unit sold covers more debt than it repays: no sale reaches anything.
    await down_to(devnet, "0.8")

    said = await typed("deleverage", alice)

    assert said.code == 2
    assert said.sentence == (
        "devnet has no deleverager: deploy one with `keeper deploy-deleverager` and name it under "
        "the chain."
    )


async def test_nobody_is_deleveraged_who_is_not_named_for_it(typed: Typed, devnet: Devnet) -> None:
    contract = await deployed(devnet)
    lend(typed, devnet, contract)
    config = typed.keeper.config
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace('"top_up", "deleverage"', '"top_up"'), encoding="utf-8")
    alice = devnet.deployment.account("alice").address

    said = await typed("deleverage", alice, "--target", "9", "--send")

    assert said.code == 2
    assert said.sentence == (
        "The key may sign no deleverage of this account: add it under [protect.NAME] with "
        "deleverage in its strategy, or leave --send out to rehearse only."
    )


async def test_a_pause_holds_for_commands_too_unless_they_say_that_they_know(
    typed: Typed, devnet: Devnet
) -> None:
    lend(typed, devnet, Address("0x" + "de" * 20))
    keeper = devnet.deployment.account("keeper").address
    nonce = int(await devnet.anvil.rpc("eth_getTransactionCount", keeper, "latest"), 16)
    await devnet.anvil.set_interval_mining(1)
    at = 1_795_247_460.5  # 2026-11-21 07:51 UTC
    url = typed.keeper.config.parent / "keeper.sqlite3"
    async with await Database.open(str(url), now=lambda: at) as database:
        await SqlPeople(database).pause(f"paused by {BOSS}", by=BOSS)

    refused = [
        await typed(*command, "--send")
        for command in (
            ("approve", "WETH", "1"),
            ("topup", devnet.deployment.account("alice").address, "--target", "9"),
            ("deploy-deleverager",),
        )
    ]
    rehearsed = await typed("approve", "WETH", "1")
    after = int(await devnet.anvil.rpc("eth_getTransactionCount", keeper, "latest"), 16)
    knowing = await typed("approve", "WETH", "1", "--send", "--despite-pause")

    for said in refused:
        assert said.code == 1
        assert said.sentence == (
            f"Not sent, nothing was spent: the keeper is paused by {BOSS} since 2026-11-21 07:51Z;"
            " /resume on Telegram takes it back, or --despite-pause sends this one all the same."
        )
    assert rehearsed.code == 0
    assert after == nonce
    assert (knowing.code, knowing.err) == (0, "")
    async with await Database.open(str(url)) as database:
        assert await SqlPeople(database).paused() == f"paused by {BOSS}"


async def test_a_pause_while_a_command_waits_stops_what_it_would_send_again(
    typed: Typed, devnet: Devnet
) -> None:
    arm(typed, devnet)
    keeper = devnet.deployment.account("keeper").address
    url = str(typed.keeper.config.parent / "keeper.sqlite3")
    await devnet.anvil.set_automine(on=False)
    sending = asyncio.create_task(typed("approve", "WETH", "1", "--send"))
    pool: dict[str, dict[str, object]] = {}
    async with asyncio.timeout(20):
        while not pool:
            await asyncio.sleep(0.05)
            pool = (await devnet.anvil.rpc("txpool_content"))["pending"]
    async with await Database.open(url) as database:
        await SqlPeople(database).pause(f"paused by {BOSS}", by=BOSS)
    await devnet.anvil.drop_all_transactions()

    for _ in range(3):  # at each of which it would hand over the bytes again
        await devnet.anvil.mine()
        await asyncio.sleep(0.8)
    count = await devnet.anvil.rpc("eth_getTransactionCount", keeper, "pending")
    latest = await devnet.anvil.rpc("eth_getTransactionCount", keeper, "latest")
    assert count == latest

    # somebody else shows the same bytes to the node: they are followed to their end all the same
    async with await Database.open(url) as database:
        [plan] = await SqlJournal(database, chain_id=CHAIN_ID).open_plans(keeper)
    await devnet.anvil.rpc("eth_sendRawTransaction", "0x" + plan.attempts[-1].raw.hex())
    await devnet.anvil.set_interval_mining(1)
    said = await sending
    assert said.code == 0
    assert "executor.disarmed" in said.err
    assert "Confirmed in block" in said.out
