"""Permits: the borrower signs, the keeper sends it with the sale; aTokens of 3.6 and of 3.0.2."""

import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_typing import HexStr
from eth_utils.crypto import keccak

from keeper.app.chain import open_chain
from keeper.app.own_faults import faults_of
from keeper.app.permit import ask, subject_of, take
from keeper.app.permit_domain import domain_of
from keeper.devnet.anvil import until_mined
from keeper.devnet.network import Devnet
from keeper.errors import ConfigError, RpcError
from keeper.execution.deleverager import DELEVERAGE, DELEVERAGE_WITH_PERMIT
from keeper.execution.liquidator import PROXY, word
from keeper.execution.permits import CURVE, permit_call
from keeper.execution.signer import KeystoreSigner
from keeper.model import (
    Address,
    Confirmed,
    Declined,
    IntentKind,
    Permit,
    SignedPermit,
    Submitted,
)
from keeper.settings import Settings
from keeper.store.database import Database
from keeper.store.people import SqlPeople
from keeper.store.permits import SqlPermits
from keeper.units import UINT256_MAX, WAD
from tests.chain.test_act_by_hand import down_to, lend
from tests.chain.test_cli import Typed
from tests.chain.test_cli import typed as typed  # noqa: PLC0414 - a fixture
from tests.chain.test_deleverage import (
    _checked,
    _down_to,
    _left,
    consent,
    deployed,
    settings_for,
)
from tests.chain.test_deleverage import either as either  # noqa: PLC0414 - a fixture
from tests.chain.watching import watching

pytestmark = pytest.mark.chain

DAY_S = 86_400
OLDER = Path(__file__).with_name("deleverager_v1.hex")
"""What version 1 compiled to, without its argument."""


def wallet_signs(devnet: Devnet, typed_data: dict[str, Any], who: str = "alice") -> str:
    """What a wallet answers to eth_signTypedData_v4: by eth_account, not by us."""
    key = devnet.deployment.account(who).private_key
    # as a wallet is handed it: through JSON
    message = encode_typed_data(full_message=json.loads(json.dumps(typed_data)))
    return "0x" + bytes(Account.sign_message(message, key).signature).hex()


async def given(
    devnet: Devnet, settings: Settings, *, amount: str | None = None, valid_for_s: int = 30 * DAY_S
) -> str:
    """Have Alice asked, sign, and it kept; return the signature."""
    alice = devnet.deployment.account("alice").address
    async with open_chain(settings, settings.chains["devnet"]) as chain:
        market = chain.market()
        subject = await subject_of(settings, chain, market, alice, "WETH")
        offer = await ask(settings, subject, amount=amount, valid_for_s=valid_for_s)
        signature = wallet_signs(devnet, offer.typed_data)
        await take(settings, chain, market, alice, signature)
    return signature


async def allowance(devnet: Devnet, contract: Address) -> int:
    token, alice = devnet.deployment.reserve("WETH").a_token, devnet.deployment.account("alice")
    return int(
        await devnet.deployer.call(token, "TestnetERC20", "allowance", alice.address, contract)
    )


async def nonce(devnet: Devnet) -> int:
    token, alice = devnet.deployment.reserve("WETH").a_token, devnet.deployment.account("alice")
    return int(await devnet.deployer.call(token, "IAToken", "nonces", alice.address))


# --- the engine -------------------------------------------------------------------------------


async def test_a_falling_price_is_answered_with_what_the_borrower_signed(
    either: Devnet, tmp_path: Path
) -> None:
    devnet, there = either, either.deployment
    alice = there.account("alice").address
    weth = there.reserve("WETH").a_token
    contract = await deployed(devnet)
    settings = settings_for(devnet, tmp_path, contract)
    await consent(devnet, contract, approve=False)
    signature = await given(devnet, settings)
    async with permits_in(settings) as permits:
        [kept] = await permits.signed(there.chain_id)
    assert (await allowance(devnet, contract), await nonce(devnet)) == (0, 0)
    async with watching(devnet, settings) as here:
        await _down_to(devnet, "1.08")
        await here.tick()
        held = int(await devnet.deployer.call(weth, "TestnetERC20", "balanceOf", alice))
        for _ in range(4):
            await here.tick()
        sent = [s for p in here.passes for s in p.submissions if isinstance(s, Submitted)]
        outcomes = [o for p in here.passes for o in p.outcomes]
        *_, after = await devnet.account_data(alice)
        holds = int(await devnet.deployer.call(weth, "TestnetERC20", "balanceOf", alice))

    assert [s.intent.kind for s in sent] == [IntentKind.DELEVERAGE]
    assert [type(o) for o in outcomes] == [Confirmed]
    assert after >= 125 * WAD // 100
    assert await nonce(devnet) == 1
    # the permit is part of the stored bytes: whatever is sent again is the same
    plan = sent[0].open_plan.plan
    assert plan.data[:4] == DELEVERAGE_WITH_PERMIT
    assert bytes.fromhex(signature[2:130]) in plan.data
    assert plan.data in sent[0].open_plan.attempts[0].raw
    # what stands is what was signed less what was taken; interest came in between
    taken = kept.permit.value - await allowance(devnet, contract)
    assert 0 <= taken - (held - holds) <= (held - holds) // 10**5
    assert await _left(devnet, contract) == {0}
    gas = [o.receipt.gas_used for o in outcomes if isinstance(o, Confirmed)]
    assert max(gas) <= 850_000


async def test_a_permit_that_somebody_hands_in_first_stops_nothing(
    either: Devnet, tmp_path: Path
) -> None:
    devnet, there = either, either.deployment
    alice, bob = there.account("alice").address, there.account("bob").address
    contract = await deployed(devnet)
    settings = settings_for(devnet, tmp_path, contract)
    await consent(devnet, contract, approve=False)
    await given(devnet, settings)
    async with watching(devnet, settings) as here:
        await _down_to(devnet, "1.08")
        await devnet.anvil.set_automine(on=False)
        done = await here.tick()
        [sent] = [s for s in done.submissions if isinstance(s, Submitted)]
        plan = sent.open_plan.plan
    # the keeper has gone: its transaction is mined behind the permit that somebody saw in it
    await devnet.anvil.drop_all_transactions()
    await devnet.anvil.set_automine(on=True)
    async with permits_in(settings) as permits:
        [kept] = await permits.signed(there.chain_id)
    call = permit_call(kept)
    first = await devnet.anvil.send(bob, call.to, call.data, gas=300_000)
    assert (await until_mined(devnet.anvil, first))["status"] == "0x1"
    assert (await allowance(devnet, contract), await nonce(devnet)) == (kept.permit.value, 1)

    keeper = there.account("keeper").address
    mined = await devnet.anvil.send(keeper, plan.to, plan.data, gas=plan.gas_limit)

    assert (await until_mined(devnet.anvil, mined))["status"] == "0x1"
    assert (await devnet.account_data(alice))[5] >= 124 * WAD // 100
    assert await nonce(devnet) == 1
    assert 0 < await allowance(devnet, contract) < kept.permit.value
    # nobody else gets anything out of what is left
    token = there.reserve("WETH").a_token
    with pytest.raises(RpcError, match=r"was mined and failed|revert"):
        await devnet.as_account(bob, token, "IAToken", "transferFrom", alice, bob, 1)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("expired", "its permit ran out on 20"),
        ("soon", "too soon for a transaction"),
        ("used", "its permit was used up: it is number 0, the token is at 1"),
        ("small", "and it needs "),
    ],
)
async def test_a_permit_that_is_of_no_use_is_declined_in_words(
    devnet: Devnet, tmp_path: Path, spoil: str, said: str
) -> None:
    there = devnet.deployment
    contract = await deployed(devnet)
    settings = settings_for(devnet, tmp_path, contract)
    await consent(devnet, contract, approve=False)
    await given(devnet, settings, valid_for_s=7_200)
    async with permits_in(settings) as permits:
        [kept] = await permits.signed(there.chain_id)
        if spoil == "small":
            less = replace(kept, permit=replace(kept.permit, value=10**15 + 7))
            await permits.keep(less, b"\x01" * 32, by="test")
        if spoil == "soon":
            now = await devnet.anvil.timestamp()
            soon = replace(kept, permit=replace(kept.permit, deadline=now + 100))
            await permits.keep(soon, b"\x01" * 32, by="test")
        if spoil == "expired":
            past = replace(kept, permit=replace(kept.permit, deadline=1_700_000_000))
            await permits.keep(past, b"\x01" * 32, by="test")
    if spoil == "used":
        await _void(devnet, settings, kept.permit)
    async with watching(devnet, settings) as here:
        await _down_to(devnet, "1.08")
        done = await here.tick()

    declined = [s.reason for s in done.submissions if isinstance(s, Declined)]
    assert len(declined) == 1
    assert "lets the deleverager take 0.00 WETH and it needs " in declined[0]
    assert said in declined[0]


async def test_a_damaged_signature_in_the_database_is_found_by_the_simulation(
    devnet: Devnet, tmp_path: Path
) -> None:
    there = devnet.deployment
    contract = await deployed(devnet)
    settings = settings_for(devnet, tmp_path, contract)
    await consent(devnet, contract, approve=False)
    await given(devnet, settings)
    async with permits_in(settings) as permits:
        [kept] = await permits.signed(there.chain_id)
        await permits.keep(replace(kept, r=b"\x01" * 32), b"\x01" * 32, by="test")
    async with watching(devnet, settings) as here:
        await _down_to(devnet, "1.08")
        done = await here.tick()

    token = there.reserve("WETH").a_token
    declined = [s.reason for s in done.submissions if isinstance(s, Declined)]
    assert declined == [f"It would revert: token refused ({token})."]


async def _void(devnet: Devnet, settings: Settings, permit: Permit) -> None:
    """Have the owner use up the permit's number with another of nothing: how one is taken back."""
    alice, bob = devnet.deployment.account("alice"), devnet.deployment.account("bob")
    nothing = replace(permit, value=0)
    async with open_chain(settings, settings.chains["devnet"]) as chain:
        domain = await domain_of(chain.rpc, permit.token, permit.chain_id, chain.head)
    signed = KeystoreSigner.plain(alice.private_key, permit.chain_id).sign_permit(nothing, domain)
    call = permit_call(signed)
    sent = await devnet.anvil.send(bob.address, call.to, call.data, gas=300_000)
    assert (await until_mined(devnet.anvil, sent))["status"] == "0x1"


# --- the command ------------------------------------------------------------------------------


async def test_a_borrower_signs_what_the_command_prints_and_it_goes_along_with_the_sale(
    typed: Typed, devnet: Devnet
) -> None:
    there = devnet.deployment
    alice, weth = there.account("alice").address, there.reserve("WETH").a_token
    contract = await deployed(devnet)
    lend(typed, devnet, contract)
    await consent(devnet, contract, approve=False)

    missing = await typed("deleverage", alice, "--target", "1.3")
    printed = await typed("permit", alice, "--valid-for", "7d")
    assert printed.code == 0, printed.err
    message = printed.json["message"]
    kept = await typed("permit", alice, "--signature", wallet_signs(devnet, printed.json))
    await down_to(devnet, "1.09")
    await devnet.anvil.set_interval_mining(1)
    planned = await typed("deleverage", alice, "--target", "1.3")
    sent = await typed("deleverage", alice, "--target", "1.3", "--send")

    assert "allowed         0.00 WETH of 17.4631 WETH supplied may be sold\n" in missing.out
    assert f"or sign a permit with `keeper permit {alice} --collateral WETH`" in missing.out
    assert printed.json["domain"]["verifyingContract"] == weth
    assert (message["owner"], message["spender"]) == (alice, contract)
    assert "once, as number 0 of its permits" in printed.err
    assert "what is risked" in printed.err
    assert kept.code == 0, kept.err
    assert kept.out.startswith("Kept: ")
    assert planned.code == 0, planned.err
    assert "allowed         its permit lets " in planned.out
    assert "Rehearsed, nothing was sent" in planned.out
    assert sent.code == 0, sent.err
    assert (await devnet.account_data(alice))[5] >= 13 * WAD // 10
    assert 0 < await allowance(devnet, contract) < int(message["value"])
    assert await nonce(devnet) == 1


async def test_an_amount_is_exact_any_or_enough_until_it_could_be_liquidated(
    typed: Typed, devnet: Devnet
) -> None:
    alice = devnet.deployment.account("alice").address
    contract = await deployed(devnet)
    lend(typed, devnet, contract)
    await devnet.anvil.set_automine(on=True)

    enough = (await typed("permit", alice, "--json")).json
    most = (await typed("permit", alice, "--amount", "max", "--json")).json
    exact = (await typed("permit", alice, "--amount", "9.000000000000000001", "--json")).json
    small = await typed("permit", alice, "--amount", "0.001")
    head = await devnet.anvil.timestamp()

    assert most["value_raw"] == str(UINT256_MAX)
    assert exact["value_raw"] == "9000000000000000001"
    assert exact["typed_data"]["message"]["value"] == "9000000000000000001"
    assert int(enough["needs_raw"]) < int(enough["value_raw"]) < 10**20
    assert abs(int(enough["deadline"]) - head - 30 * DAY_S) <= 60
    assert small.code == 1
    assert "0.00100000 WETH is too little: reaching the target may take " in small.sentence


async def test_a_signature_comes_by_file_and_standard_input_and_with_its_words_from_elsewhere(
    typed: Typed, devnet: Devnet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = devnet.deployment.account("alice").address
    contract = await deployed(devnet)
    lend(typed, devnet, contract)
    first = (await typed("permit", alice, "--json")).json
    await typed("permit", alice, "--amount", "max")
    plain = tmp_path / "plain.txt"
    plain.write_text(wallet_signs(devnet, first["typed_data"]) + "\n", encoding="utf-8")

    by_file = await typed("permit", alice, "--signature", str(plain), "--json")
    forgotten = await typed("permit", alice, "--forget")
    nothing = await typed("permit", alice, "--forget")
    unasked = await typed("permit", alice, "--signature", str(plain))
    first["signature"] = wallet_signs(devnet, first["typed_data"])
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(first)))
    by_input = await typed("permit", alice, "--signature", "-", "--json")

    # the older of two that were printed: the signature itself says which
    assert (by_file.code, by_file.json["value_raw"]) == (0, first["value_raw"])
    assert "Whoever else has the signature" in forgotten.out
    assert "There was no permit of" in nothing.out
    assert unasked.code == 1
    assert "was asked for nothing: print what to sign" in unasked.sentence
    assert (by_input.code, by_input.json["state"]) == (0, "kept"), by_input.err


async def test_what_is_no_permit_of_this_account_is_one_sentence_and_not_kept(
    typed: Typed, devnet: Devnet, tmp_path: Path
) -> None:
    there = devnet.deployment
    alice, bob = there.account("alice").address, there.account("bob").address
    contract = await deployed(devnet)
    lend(typed, devnet, contract)
    printed = (await typed("permit", alice, "--json")).json
    data = printed["typed_data"]
    signature = wallet_signs(devnet, data)
    twin = CURVE - int(signature[66:130], 16)
    other_v = "1b" if signature[130:] == "1c" else "1c"

    def changed(part: str, key: str, value: object, who: str = "alice") -> str:
        other = json.loads(json.dumps(data))
        other[part][key] = value
        file = tmp_path / f"{part}-{key}-{who}.json"
        signed = wallet_signs(devnet, other, who)
        file.write_text(json.dumps({"typed_data": other, "signature": signed}), encoding="utf-8")
        return str(file)

    past = str(await devnet.anvil.timestamp() - 1)
    usdc = there.reserve("USDC").asset
    cases = [
        (wallet_signs(devnet, data, "bob"), f"{bob} signed this, not {alice}"),
        (signature[:66] + f"{twin:064x}" + other_v, "is the malleable twin of one"),
        (signature[:-2] + "05", "ends in 5: it must be 27 or 28, or 0 or 1."),
        ("0x1234", "has 2 bytes, an account's has 65"),
        (changed("domain", "chainId", 1), "is for chain 1, devnet is chain 31337."),
        (changed("domain", "verifyingContract", usdc), "no aToken of aave-v3-devnet."),
        (changed("message", "owner", bob), f"The permit is of {bob}, not of {alice}."),
        (changed("message", "spender", bob), f"The permit lets {bob} spend, the deleverager of"),
        (changed("message", "deadline", past), "It is of no use, its permit ran out on 20"),
        (changed("message", "nonce", "1"), "its permit is number 1, the token is at 0 yet"),
        (changed("message", "value", "7"), "its permit is for 0.00000000 WETH and it needs "),
        (changed("message", "value", "8", "bob"), f"{bob} signed this, not {alice}"),
        (str(tmp_path / "nowhere"), "cannot be read: No such file or directory"),
    ]
    for given_, sentence in cases:
        said = await typed("permit", alice, "--signature", given_)
        assert said.code in {1, 2}, given_
        assert sentence in said.sentence
    listed = await typed("permit", alice, "--forget")

    assert "There was no permit" in listed.out


async def test_a_used_number_and_a_contract_wallet_are_refused(
    typed: Typed, devnet: Devnet
) -> None:
    there = devnet.deployment
    alice = there.account("alice").address
    contract = await deployed(devnet)
    lend(typed, devnet, contract)
    settings = settings_for(devnet, typed.keeper.config.parent / "..", contract)
    signature = await given(devnet, settings)
    async with permits_in(settings) as permits:
        [kept] = await permits.signed(there.chain_id)
    await _void(devnet, settings, kept.permit)

    used = await typed("permit", alice, "--signature", signature)
    # a key whose account runs a contract's code signs for itself all the same (EIP-7702)
    await devnet.anvil.rpc("anvil_setCode", alice, "0xef0100" + "11" * 20)
    delegated = await typed("permit", alice, "--json")
    await devnet.anvil.rpc("anvil_setCode", alice, "0x60016002")
    wallet = await typed("permit", alice)

    assert used.code == 1
    assert "was asked for nothing" in used.sentence
    assert (delegated.code, delegated.json["nonce"]) == (0, "1")
    assert wallet.code == 1
    assert wallet.sentence == (
        f"{alice} is a contract: tokens take permits of keys only (EIP-2612 knows no EIP-1271), "
        f"let it approve {contract} on the aToken instead."
    )


async def test_the_keepers_own_account_signs_at_once_only_armed(
    typed: Typed, devnet: Devnet
) -> None:
    there = devnet.deployment
    alice, keeper = there.account("alice"), there.account("keeper").address
    contract = await deployed(devnet)
    lend(typed, devnet, contract)

    other = await typed("permit", alice.address, "--sign")
    kept = Account.encrypt(HexStr(alice.private_key), "pass word", kdf="scrypt", iterations=4096)
    (typed.keeper.config.parent / "key.json").write_text(json.dumps(kept), encoding="utf-8")
    config = typed.keeper.config.read_text(encoding="utf-8")
    typed.keeper.config.write_text(
        config.replace(f"armed_chain_ids = [{there.chain_id}]", "armed_chain_ids = []"),
        encoding="utf-8",
    )
    unarmed = await typed("permit", alice.address, "--sign")
    used = int(await devnet.anvil.rpc("eth_getTransactionCount", alice.address, "latest"), 16)
    adopted = config.replace("[signing]", f"[signing]\nadopt_nonce = {used}")
    typed.keeper.config.write_text(adopted, encoding="utf-8")
    await typed("kill-switch", "on")
    stopped = await typed("permit", alice.address, "--sign")
    await typed("kill-switch", "off")
    url = str(typed.keeper.config.parent / "keeper.sqlite3")
    async with await Database.open(url) as database:
        await SqlPeople(database).pause("paused by somebody", by="somebody")
        paused = await typed("permit", alice.address, "--sign")
        await SqlPeople(database).pause("", by="somebody")
    signed = await typed("permit", alice.address, "--sign", "--amount", "12", "--json")
    await down_to(devnet, "1.09")
    await devnet.anvil.set_interval_mining(1)
    sent = await typed("deleverage", alice.address, "--target", "1.3", "--send")

    assert other.code == 2
    assert f"Only {alice.address} can sign its permit and the keeper's key is {keeper}'s" in (
        other.sentence
    )
    assert unarmed.code == 2
    assert "is not armed, so nothing is signed" in unarmed.sentence
    assert "keeper.stop is there, so nothing is signed" in stopped.sentence
    assert paused.sentence == "Nothing was signed: the keeper is paused by somebody."
    assert (signed.code, signed.json["value_raw"]) == (0, str(12 * 10**18)), signed.err
    assert sent.code == 0, sent.err
    assert 0 < await allowance(devnet, contract) < 12 * 10**18


WRONG = [
    (("--valid-for", "soon"), "--valid-for: soon is not a duration"),
    (("--valid-for", "400d"), "--valid-for: 400d is too long: 366d at the most."),
    (("--amount", "0"), "0 WETH is nothing: name more than 0, or max."),
    (("--amount", "lots"), "'lots' is not an amount of WETH"),
    (("--amount", "1" + "0" * 70), "is more than there can be: say max."),
    (("--collateral", "NOPE"), "lists no asset 'NOPE'"),
    (("--collateral", "USDC"), "has no USDC supplied as collateral."),
    (("--sign", "--forget"), "are three things: name one."),
    (("--signature", "0x12", "--amount", "1"), "leave --amount and --collateral out."),
]


async def test_what_cannot_be_asked_is_one_sentence(typed: Typed, devnet: Devnet) -> None:
    contract = await deployed(devnet)
    lend(typed, devnet, contract)
    for arguments, sentence in WRONG:
        said = await typed("permit", devnet.deployment.account("alice").address, *arguments)

        assert said.code in {1, 2}
        assert sentence in said.sentence


async def test_there_must_be_a_deleverager_that_takes_permits(typed: Typed, devnet: Devnet) -> None:
    alice = devnet.deployment.account("alice").address
    none = await typed("permit", alice)
    lend(typed, devnet, Address("0x" + "77" * 20))
    said = await typed("permit", alice)

    assert none.code == 2
    assert "devnet has no deleverager: deploy one with" in none.sentence
    assert said.code == 2
    assert said.sentence.startswith(f"There is no deleverager of ours at 0x{'77' * 20}")


# --- an older contract ------------------------------------------------------------------------


async def older(devnet: Devnet) -> Address:
    """Deploy version 1, as it was shipped: whoever gave it mandates need not give them again."""
    code = bytes.fromhex(OLDER.read_text(encoding="ascii").strip())
    factory = word(devnet.deployment.uniswap.factory)
    bob = devnet.deployment.account("bob").address
    sent = await devnet.anvil.send(bob, PROXY, bytes(32) + code + factory, gas=5_000_000)
    assert (await until_mined(devnet.anvil, sent))["status"] == "0x1"
    made = keccak(b"\xff" + bytes.fromhex(PROXY[2:]) + bytes(32) + keccak(code + factory))
    return Address("0x" + made[12:].hex())


async def test_version_1_still_takes_orders_and_no_permits(devnet: Devnet, tmp_path: Path) -> None:
    there = devnet.deployment
    alice, weth = there.account("alice").address, there.reserve("WETH").a_token
    contract = await older(devnet)
    settings = settings_for(devnet, tmp_path, contract)
    await consent(devnet, contract, approve=False)
    with pytest.raises(ConfigError, match="of an older version that takes no permits"):
        await given(devnet, settings)
    permit = Permit(
        chain_id=there.chain_id,
        token=weth,
        owner=alice,
        spender=contract,
        value=UINT256_MAX,
        nonce=0,
        deadline=2**40,
    )
    kept = SignedPermit(permit=permit, v=27, r=b"\x01" * 32, s=b"\x02" * 32)
    async with permits_in(settings) as permits:
        await permits.keep(kept, b"\x03" * 32, by="test")
    said = await _checked(settings)
    async with watching(devnet, settings) as here:
        await _down_to(devnet, "1.08")
        refused = await here.tick()
    await devnet.anvil.set_automine(on=True)
    await devnet.as_account(alice, weth, "IAToken", "approve", contract, UINT256_MAX)
    async with watching(devnet, settings) as here:
        for _ in range(3):
            await here.tick()
        sent = [s for p in here.passes for s in p.submissions if isinstance(s, Submitted)]

    declined = [s.reason for s in refused.submissions if isinstance(s, Declined)]
    assert len(declined) == 1
    assert "which is of an older version; deploy another, or let it approve." in declined[0]
    assert "of no use to the deleverager, which is of version 1" in said[1][1]
    assert [s.open_plan.plan.data[:4] for s in sent] == [DELEVERAGE]
    assert (await devnet.account_data(alice))[5] >= 125 * WAD // 100


# --- what is said of it -----------------------------------------------------------------------


async def test_check_says_how_it_stands_with_each_collateral(
    devnet: Devnet, tmp_path: Path
) -> None:
    there = devnet.deployment
    alice = there.account("alice").address
    contract = await deployed(devnet)
    settings = settings_for(devnet, tmp_path, contract)
    await consent(devnet, contract, approve=False)
    found = {"missing": await _checked(settings)}
    await given(devnet, settings)
    found["kept"] = await _checked(settings)
    await given(devnet, settings, valid_for_s=2 * DAY_S)
    found["soon"] = await _checked(settings)
    async with permits_in(settings) as permits:
        [kept] = await permits.signed(there.chain_id)
    await _void(devnet, settings, kept.permit)
    found["used"] = await _checked(settings)
    await given(devnet, settings, amount="max")
    found["max"] = await _checked(settings)

    lines = {name: found[name][1] for name in found}
    ask_ = f"`keeper permit {alice} --collateral WETH`"
    assert {name: line[0] for name, line in lines.items()} == {
        "missing": "warning", "kept": "ok", "soon": "warning", "used": "warning", "max": "ok",
    }  # fmt: skip
    assert lines["missing"][1].startswith("0.00 WETH of ")
    assert lines["missing"][2].endswith(f", or sign a permit with {ask_}")
    assert lines["kept"][1].startswith("its permit lets ")
    assert lines["kept"][2] == ""
    assert lines["soon"][2] == f"it runs out soon: sign another with {ask_}"
    assert "its permit was used up: it is number 0, the token is at 1" in lines["used"][1]
    assert lines["max"][1].startswith(
        "its permit lets any amount of WETH be sold, to be handed in until 20"
    )


async def test_people_hear_before_a_permit_runs_out_and_when_it_was_used_up(
    devnet: Devnet, tmp_path: Path
) -> None:
    there = devnet.deployment
    alice = there.account("alice").address
    contract = await deployed(devnet)
    settings = settings_for(devnet, tmp_path, contract)
    await consent(devnet, contract, approve=False)
    told: dict[str, tuple[str, ...]] = {}
    async with watching(devnet, settings) as here, permits_in(settings) as permits:

        async def heard(name: str) -> None:
            await here.tick()
            await here.watcher.read_permits()
            faults = faults_of(here.watcher)
            told[name] = tuple(str(f.sentence) for f in faults if f.part.startswith("permit "))

        await heard("none")
        await given(devnet, settings)
        await heard("good")
        await given(devnet, settings, valid_for_s=2 * DAY_S + 7_200)
        await heard("soon")
        [kept] = await permits.signed(there.chain_id)
        small = replace(kept, permit=replace(kept.permit, value=10**18))
        await permits.keep(small, b"\x01" * 32, by="test")
        await heard("small")
        await permits.keep(kept, b"\x02" * 32, by="test")
        await devnet.anvil.set_automine(on=True)
        await _void(devnet, settings, kept.permit)
        await heard("used")
        token = there.reserve("WETH").a_token
        await devnet.anvil.set_automine(on=True)
        await devnet.as_account(alice, token, "IAToken", "approve", contract, UINT256_MAX)
        await heard("approved")

    again = "sign another with keeper permit"
    assert told["none"] == told["good"] == told["approved"] == ()
    assert told["soon"] == (f"the permit of {alice} for WETH runs out in 2 d: {again}",)
    assert told["small"][0].startswith(
        f"{alice} cannot be deleveraged by selling WETH: its permit is for 1.0000 WETH and it needs"
    )
    [used] = told["used"]
    assert used == (
        f"{alice} cannot be deleveraged by selling WETH: its permit was used up: it is number 0,"
        f" the token is at 1; {again}"
    )


class permits_in:  # noqa: N801 - reads as the function that it stands for
    """The permits of a keeper's database."""

    def __init__(self, settings: Settings) -> None:
        self.url = settings.database.url

    async def __aenter__(self) -> SqlPermits:
        self.database = await Database.open(self.url)
        return SqlPermits(self.database)

    async def __aexit__(self, *_: object) -> None:
        await self.database.close()
