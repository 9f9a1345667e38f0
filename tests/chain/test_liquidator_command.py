"""`keeper liquidator`: what the deployed contract lists, and the calls that are left."""

import pytest

from keeper.execution.liquidator import SPENDERS, TARGETS, word
from keeper.model import Address
from tests.chain.test_aggregators import House, asking, mining
from tests.chain.test_aggregators import house as house  # noqa: PLC0414 - a fixture
from tests.chain.test_cli import Typed, arm
from tests.chain.test_cli import typed as typed  # noqa: PLC0414 - a fixture
from tests.chain.test_flash import _deploy

pytestmark = pytest.mark.chain


def configure(typed: Typed, house: House, contract: Address) -> None:
    """Write the file of an operator who names `contract` and asks one aggregator."""
    arm(typed, house.devnet, "adopt_nonce = 1")
    config, there = typed.keeper.config, house.devnet.deployment
    places = (
        f'liquidator = "{contract}"\nuniswap_factory = "{there.uniswap.factory}"\n'
        f'uniswap_quoter = "{there.uniswap.quoter}"\n'
        f'aggregators = [{{ kind = "1inch", url = "{house.standin.url}",'
        f' targets = ["{house.venue.router}"] }}]\n'
    )
    text = config.read_text(encoding="utf-8")
    text = text.replace("keeper.sqlite3", "operator.sqlite3")  # the fixture's deployed it
    config.write_text(
        text.replace("block_time_s = 1\n", f"block_time_s = 1\n{places}"), encoding="utf-8"
    )


async def lists(house: House, contract: Address) -> tuple[bool, bool]:
    """Whether the router may be called, and be approved, as the chain says."""
    found = []
    for selector in (TARGETS, SPENDERS):
        data = "0x" + (selector + word(house.venue.router)).hex()
        found.append(
            await house.devnet.anvil.rpc("eth_call", {"to": contract, "data": data}, "latest")
        )
    return int(found[0], 16) == 1, int(found[1], 16) == 1


async def test_a_router_is_taken_out_and_listed_again(house: House, typed: Typed) -> None:
    configure(typed, house, house.contract)
    router = house.venue.router

    at_first = await typed("liquidator")
    shown = (await typed("liquidator", "--revoke", router, "--json")).json
    async with mining(house.devnet):
        out = await typed("liquidator", "--revoke", router, "--send")
    without = await lists(house, house.contract)
    check = await typed("check")
    async with mining(house.devnet):
        back = (await typed("liquidator", "--send", "--json")).json

    assert at_first.code == 0
    assert "Nothing is left to do." in at_first.out
    assert at_first.out.count(" listed: ") == 4
    assert [one["call"] for one in shown["to_do"]] == [
        f"setTarget({router}, false)",
        f"setSpender({router}, false)",
    ]
    assert shown["key_is_owner"]
    assert out.code == 0
    assert out.err.count(": tx 0x") == 2
    assert "Nothing is left to do." in out.out
    assert without == (False, False)
    assert "`keeper liquidator` shows the call" in " ".join(check.out.split())
    assert (back["calls_made"], back["to_do"]) == (2, [])
    assert await lists(house, house.contract) == (True, True)


async def test_what_another_owner_must_do_is_shown_and_not_sent(house: House, typed: Typed) -> None:
    owner = house.devnet.deployment.account("alice").address
    liquidate = house.settings.liquidate.model_copy(update={"profit_to": owner})
    settings = asking(house.settings, liquidator=None).model_copy(update={"liquidate": liquidate})
    contract = (await _deploy(house.devnet, settings)).contract
    await house.devnet.anvil.mine()
    configure(typed, house, contract)

    refused = await typed("liquidator", "--send")
    shown = (await typed("liquidator", "--json")).json
    for call in shown["to_do"]:
        await house.devnet.anvil.send(
            owner, call["to"], bytes.fromhex(call["data"][2:]), gas=200_000
        )
    await house.devnet.anvil.mine()
    after = await typed("liquidator")

    assert refused.code == 1
    assert refused.err.strip().endswith("without --send they are shown.")
    assert f"The owner of {contract} is {owner} and not the key" in refused.err
    assert not shown["key_is_owner"]
    assert [one["call"].partition("(")[0] for one in shown["to_do"]] == ["setTarget", "setSpender"]
    assert "Nothing is left to do." in after.out
    assert await lists(house, contract) == (True, True)


async def test_who_has_no_key_here_can_look(house: House, typed: Typed) -> None:
    configure(typed, house, house.contract)
    text = typed.keeper.config.read_text(encoding="utf-8")
    watched_only = text.partition("[protect.alice]")[0]
    typed.keeper.config.write_text(watched_only, encoding="utf-8")

    shown = await typed("liquidator", "--revoke", house.venue.router)
    document = (await typed("liquidator", "--json")).json
    refused = await typed("liquidator", "--send")

    assert shown.code == 0
    assert "no key is named here" in shown.out
    assert "Calls that are left, its owner's wallet makes them:" in shown.out
    assert (document["key"], document["key_is_owner"], document["to_do"]) == (None, False, [])
    assert {one["role"] for one in document["listings"]} == {"market", "target", "spender"}
    assert refused.code == 2
    assert refused.err.strip().endswith("without --send the calls are shown.")


@pytest.mark.parametrize(
    ("which", "said"),
    [
        ("nowhere", "there is no contract at"),
        ("pool", "is no liquidator of ours"),
        ("none", "names no liquidator: deploy one with `keeper deploy-liquidator`"),
    ],
)
async def test_what_is_no_liquidator_is_said_in_one_sentence(
    house: House, typed: Typed, which: str, said: str
) -> None:
    contract = {"nowhere": Address("0x" + "77" * 20)}.get(which, house.devnet.deployment.pool)
    configure(typed, house, contract)
    if which == "none":
        text = typed.keeper.config.read_text(encoding="utf-8")
        named = f'liquidator = "{contract}"\n'
        typed.keeper.config.write_text(text.replace(named, ""), encoding="utf-8")

    found = await typed("liquidator")

    assert found.code == 2
    assert said in found.err
    assert len(found.err.strip().splitlines()) == 1
