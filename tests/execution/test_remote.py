"""A key that a remote signer keeps: what it is asked, and what is made of its answers.

The signer is a stand-in with web3signer's two ways, over eth-account: web3signer itself is a Java
program that is not to be had here.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from eth_account import Account
from eth_keys.datatypes import PrivateKey
from eth_utils.crypto import keccak

from keeper.errors import ConfigError, ExecutionError, PolicyViolation
from keeper.execution import remote
from keeper.execution.remote import RemoteSigner, Way
from keeper.execution.signer import GuardedSigner, checked
from keeper.execution.transaction import UnsignedTx, transaction
from keeper.model import Address, Confirmed, Declined, Fees, OpenPlan, Submitted, TxState
from keeper.units import Wei
from tests.execution.fakes import CHAIN, KEY, SIGNER, FakeChain, policy
from tests.execution.rig import Rig

PUBLIC = "0x" + "ab" * 64
FEES = Fees(max_fee_wei=Wei(21_000_000_017), priority_fee_wei=Wei(3))
TX = UnsignedTx(
    chain_id=CHAIN,
    nonce=300,
    to=Address("0x" + "c0" * 20),
    value_wei=Wei(0),
    data=bytes(range(101)),
    gas_limit=400_007,
    fees=FEES,
)
WAYS: tuple[Way, ...] = ("eth_signTransaction", "eth1_sign")


class Web3Signer:
    """Signs whatever it is asked with `KEY`, unless told to err."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[Any] = []
        self.spoil: Callable[[str], web.Response] | None = None
        self.delay_s = 0.0
        self.in_pieces = False

    async def rpc(self, request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(self.delay_s)
        asked = await request.json()
        self.asked.append(asked)
        [fields] = asked["params"]
        fields = {k: v for k, v in fields.items() if k != "from"}
        fields["to"] = bytes.fromhex(fields["to"][2:])
        raw = Account.from_key(KEY).sign_transaction(fields).raw_transaction
        text = json.dumps({"jsonrpc": "2.0", "id": 1, "result": "0x" + raw.hex()})
        return await self._answer(request, text)

    async def eth1(self, request: web.Request) -> web.StreamResponse:
        assert request.match_info["key"] == PUBLIC
        asked = await request.json()
        self.asked.append(asked)
        digest = keccak(bytes.fromhex(asked["data"][2:]))
        signature = PrivateKey(bytes.fromhex(KEY[2:])).sign_msg_hash(digest)
        raw = signature.r.to_bytes(32, "big") + signature.s.to_bytes(32, "big")
        return await self._answer(request, "0x" + (raw + bytes([27 + signature.v])).hex())

    async def _answer(self, request: web.Request, text: str) -> web.StreamResponse:
        if not self.in_pieces:
            return web.Response(text=text) if self.spoil is None else self.spoil(text)
        response = web.StreamResponse()
        await response.prepare(request)
        for start in range(0, len(text), 60):  # as a network does, in greater ones
            await response.write(text[start : start + 60].encode())
            await asyncio.sleep(0.01)
        return response


@asynccontextmanager
async def standing_in() -> AsyncIterator[Web3Signer]:
    there = Web3Signer()
    app = web.Application()
    app.router.add_post("/", there.rpc)
    app.router.add_post("/api/v1/eth1/sign/{key}", there.eth1)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    there.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        yield there
    finally:
        await runner.cleanup()


def signer(there: Web3Signer, way: Way, address: Address = SIGNER.address) -> RemoteSigner:
    return RemoteSigner(there.url, address, way=way, public_key=PUBLIC)


@pytest.mark.parametrize("way", WAYS)
async def test_it_signs_the_very_transaction_that_the_key_itself_would(way: Way) -> None:
    async with standing_in() as there:
        attempt = await signer(there, way).sign(TX)

    assert attempt == checked(attempt.raw, TX, SIGNER.address)
    assert attempt.raw == (await SIGNER.sign(TX)).raw  # both sign deterministically


@pytest.mark.parametrize("way", WAYS)
async def test_an_answer_that_comes_in_pieces_is_one_answer(way: Way) -> None:
    async with standing_in() as there:
        there.in_pieces = True
        attempt = await signer(there, way).sign(TX)

    assert attempt.raw == (await SIGNER.sign(TX)).raw


@pytest.mark.parametrize("way", WAYS)
async def test_another_key_than_the_configured_one_is_not_taken(way: Way) -> None:
    async with standing_in() as there:
        with pytest.raises(ExecutionError, match="another transaction"):
            await signer(there, way, Address("0x" + "aa" * 20)).sign(TX)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda text: web.Response(text=text.replace("0x", "0xzz")), "not hex"),
        (lambda _: web.Response(status=404, text="Public Key not found"), "HTTP 404.*not found"),
        (lambda text: web.Response(text=text[: len(text) // 2]), "not JSON|bytes, a signature"),
        (lambda _: web.Response(text="[" * 60_000), "not JSON|not hex"),
        (lambda _: web.Response(text="0" * 300_000), "more than 262,144 bytes: nothing was signed"),
        (lambda _: web.Response(status=302, headers={"Location": "http://127.0.0.1:9"}), "302"),
    ],
)
async def test_whatever_else_it_answers_signs_nothing_and_is_said(
    way: Way, spoil: Callable[[str], web.Response], words: str
) -> None:
    async with standing_in() as there:
        there.spoil = spoil
        with pytest.raises(ExecutionError, match=words):
            await signer(there, way).sign(TX)


async def test_a_refusal_is_told_in_its_words() -> None:
    async with standing_in() as there:
        body = json.dumps({"error": {"code": -32000, "message": "denied\nby policy"}})
        there.spoil = lambda _: web.Response(text=body)
        with pytest.raises(ExecutionError, match=r"denied.by policy"):
            await signer(there, "eth_signTransaction").sign(TX)


async def test_the_secret_of_the_url_is_taken_out_of_a_refusal() -> None:
    async with standing_in() as there:
        body = json.dumps({"error": {"code": -32000, "message": "who is hunter22"}})
        there.spoil = lambda _: web.Response(text=body)
        there.url = there.url.replace("http://", "http://keeper:hunter22@")
        with pytest.raises(ExecutionError, match=r"who is \*\*\*"):
            await signer(there, "eth_signTransaction").sign(TX)


async def test_one_that_is_silent_or_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "TIMEOUT_S", 0.1)
    nobody = RemoteSigner("http://127.0.0.1:9/key", SIGNER.address, way="eth_signTransaction")
    with pytest.raises(ExecutionError, match="did not answer") as caught:
        await nobody.sign(TX)
    assert "/key" not in str(caught.value)
    assert "/key" not in repr(nobody)

    async with standing_in() as there:
        there.delay_s = 0.4
        with pytest.raises(ExecutionError, match="did not answer"):
            await signer(there, "eth_signTransaction").sign(TX)


def test_eth1_sign_needs_the_public_key() -> None:
    with pytest.raises(ConfigError, match="public key"):
        RemoteSigner("http://127.0.0.1:9", SIGNER.address, way="eth1_sign")


@pytest.mark.parametrize("way", WAYS)
async def test_an_action_is_signed_remotely_sent_once_and_confirmed(way: Way) -> None:
    async with standing_in() as there:
        rig = Rig(wiring={"signer": signer(there, way)})

        assert isinstance(await rig.submit(), Submitted)
        outcomes = await rig.blocks(4)

    assert [type(o) for o in outcomes] == [Confirmed]
    assert len(rig.chain.executed()) == 1


async def test_a_remote_signer_that_fails_leaves_nothing_behind_and_the_nonce_is_used_next() -> (
    None
):
    async with standing_in() as there:
        rig = Rig(wiring={"signer": signer(there, "eth1_sign")})
        there.spoil = lambda _: web.Response(status=500)
        assert isinstance(await rig.submit(1), Declined)
        there.spoil = None
        sent = await rig.submit(2)

    assert isinstance(sent, Submitted)
    assert sent.open_plan.nonce == 0
    assert [s.tx.nonce for s in rig.chain.sent] == [0]


# --- the policy before the key ------------------------------------------------------------------


async def planned() -> tuple[OpenPlan, UnsignedTx]:
    rig = Rig(chain=FakeChain())
    sent = await rig.submit()
    assert isinstance(sent, Submitted)
    plan = sent.open_plan
    return plan, transaction(plan.plan, CHAIN, plan.nonce, plan.attempts[0].fees)


async def test_the_guard_signs_what_was_planned_and_asks_the_key_for_nothing_else() -> None:
    plan, tx = await planned()
    asked: list[UnsignedTx] = []

    class Key:
        address = SIGNER.address

        async def sign(self, tx: UnsignedTx) -> Any:
            asked.append(tx)
            return await SIGNER.sign(tx)

    guarded = GuardedSigner(Key(), policy())
    assert (await guarded.sign(tx, plan)).raw == plan.attempts[0].raw
    assert asked == [tx]

    changes: list[dict[str, Any]] = [
        {"to": Address("0x" + "66" * 20)},
        {"data": tx.data + b"\0"},
        {"value_wei": Wei(1)},
        {"nonce": tx.nonce + 1},
        {"chain_id": 1},
        {"gas_limit": tx.gas_limit + 1},
        {"fees": Fees(max_fee_wei=Wei(plan.plan.max_fee_wei + 1), priority_fee_wei=Wei(0))},
    ]
    for change in changes:
        fields = {name: getattr(tx, name) for name in UnsignedTx.__slots__} | change
        with pytest.raises(PolicyViolation):
            await guarded.sign(UnsignedTx(**fields), plan)
    assert asked == [tx]


async def test_the_guard_refuses_a_plan_of_another_key_and_an_empty_policy() -> None:
    plan, tx = await planned()
    assert plan.state is TxState.SENT

    other = RemoteSigner("http://127.0.0.1:9", Address("0x" + "aa" * 20), way="eth_signTransaction")
    with pytest.raises(PolicyViolation, match="the key is that of"):
        await GuardedSigner(other, policy()).sign(tx, plan)
    with pytest.raises(PolicyViolation, match="empty"):
        await GuardedSigner(SIGNER, type(policy())()).sign(tx, plan)
