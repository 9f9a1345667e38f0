"""What the nodes of a chain say together when it is opened, and of a checkpoint's block."""

import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog

from keeper.app import act as act_module
from keeper.app import chain as chain_module
from keeper.app.act import carry_out
from keeper.app.chain import History, OpenChain, open_chain
from keeper.chain.provider import NoAnswer
from keeper.chain.rpc import Rpc
from keeper.cli.act_words import waiting
from keeper.cli.asking import caution
from keeper.errors import ExecutionError, ObservationError, RpcError
from keeper.model import BlockRef, Hash, IntentKind
from keeper.settings import load
from tests.chain_unit.standin import Chain, Node

HERE = BlockRef(
    number=9_871,
    hash=Hash("0x" + "a7" * 32),
    parent_hash=Hash("0x" + "a6" * 32),
    timestamp=1_763_680_121,
)
OTHER = replace(HERE, hash=Hash("0x" + "b7" * 32))
SILENT = NoAnswer("The node cannot be reached.")

Said = BlockRef | RpcError | None


class Nodes:
    """What each node says of one number."""

    def __init__(self, *said: Said) -> None:
        self.said = list(said)

    async def each_header(self, at: int) -> list[Said]:
        return self.said

    async def block(self, at: int) -> BlockRef:
        [said] = self.said
        if said is None:
            raise ObservationError("The node does not know it.")
        if isinstance(said, RpcError):
            raise said
        return said


def history(*said: Said, nodes: int = 2) -> History:
    return History(rpc=cast("Rpc", Nodes(*said)), nodes=nodes)


# --- a checkpoint's block ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ((HERE, HERE, OTHER), HERE),
        ((HERE, SILENT, None), HERE),  # nobody has another one
        ((OTHER, OTHER, HERE), OTHER),
        ((None, None, SILENT), None),
    ],
)
async def test_what_enough_nodes_say_of_a_block_counts(
    said: tuple[Said, ...], found: BlockRef | None
) -> None:
    assert await history(*said).compared(HERE) == found


@pytest.mark.parametrize(
    "said", [(OTHER, SILENT, SILENT), (OTHER, HERE, None), (None, SILENT, SILENT), (SILENT, SILENT)]
)
async def test_what_too_few_nodes_say_against_a_block_is_no_answer(said: tuple[Said, ...]) -> None:
    with pytest.raises(ObservationError, match="2 must agree"):
        await history(*said).compared(HERE)


async def test_one_node_is_believed_of_a_block_and_its_silence_is_no_answer() -> None:
    assert await history(OTHER, nodes=1).compared(HERE) == OTHER
    assert await history(None, nodes=1).compared(HERE) is None
    with pytest.raises(NoAnswer):
        await history(SILENT, nodes=1).compared(HERE)


async def test_a_node_that_says_no_has_nothing_there_as_far_as_anybody_can_tell() -> None:
    refused = RpcError("a refused eth_getBlockByNumber: header not found.", code=-32000)

    assert await history(refused, nodes=1).compared(HERE) is None
    assert await history(refused, None, SILENT).compared(HERE) is None
    with pytest.raises(ObservationError, match="2 must agree"):
        await history(refused, SILENT, SILENT).compared(HERE)


# --- where it is opened -----------------------------------------------------------------------


@pytest.fixture
def undiscovered(monkeypatch: pytest.MonkeyPatch) -> None:
    """No market is learnt: only the head matters."""
    monkeypatch.setattr(chain_module, "watched_markets", lambda *_: ())


@contextlib.asynccontextmanager
async def opened(
    folder: Path, *lengths: int, chain_id: int = 31337, quorum: int | None = None
) -> AsyncIterator[OpenChain]:
    """The chain of nodes that have so many blocks each, opened."""
    async with contextlib.AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(Node(Chain(length), chain_id=chain_id))
            for length in lengths
        ]
        config = folder / "keeper.toml"
        config.write_text(
            f"[chains.tiny]\nchain_id = {chain_id}\ncalls_per_second = 5000\nblock_time_s = 1\n"
            f"rpc_urls = {[node.url for node in nodes]}\n"
            + (f"quorum = {quorum}\n" if quorum is not None else "")
            + f'markets = [{{ name = "m", addresses_provider = "0x{"11" * 20}" }}]\n'
        )
        settings = load(config, {}, env_file=None)
        yield await stack.enter_async_context(open_chain(settings, settings.chains["tiny"]))


@pytest.mark.usefixtures("undiscovered")
@pytest.mark.parametrize("lengths", [(11, 3_107, 3_107), (3_107, 11, 3_107), (1, 97, 97)])
async def test_a_node_that_is_behind_does_not_say_where_a_chain_is_opened(
    lengths: tuple[int, ...], tmp_path: Path
) -> None:
    async with opened(tmp_path, *lengths) as chain:
        assert chain.head.number == max(lengths) - 1
        assert (chain.doubt, chain.unfit) == ("", "")
        async with contextlib.aclosing(chain.advances()) as advances:
            first = await anext(advances)

    assert (first.adopted, first.doubt) == ((chain.head,), "")


@pytest.mark.usefixtures("undiscovered")
async def test_a_node_that_is_alone_ahead_does_not_say_where_a_chain_is_opened(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path, 90_000, 97, 97) as chain:
        assert (chain.head.number, chain.doubt) == (96, "")


@pytest.mark.usefixtures("undiscovered")
async def test_a_first_node_that_is_behind_does_not_say_so_where_one_is_enough(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path, 11, 307, quorum=1) as chain:
        assert chain.head.number == 306


@pytest.mark.usefixtures("undiscovered")
async def test_one_node_is_asked_once_for_the_head_that_a_chain_is_opened_at(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path, 97) as chain:
        assert (chain.head.number, chain.unfit) == (96, "")
        assert chain.rpc.counts["eth_getBlockByNumber"] == 1


@pytest.mark.usefixtures("undiscovered")
async def test_a_head_that_too_few_nodes_have_bears_the_doubt(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as logs:
        async with opened(tmp_path, 11, 97) as chain:
            assert chain.head.number == 96
            assert chain.doubt.startswith("1 of 2 nodes have block 96 ")
            assert chain.unfit == f"the nodes do not agree on block 96: {chain.doubt}"

    assert "quorum.lost" in [entry["event"] for entry in logs]


@pytest.mark.usefixtures("undiscovered")
async def test_a_head_too_old_to_decide_on_is_said_to_be(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as logs:
        async with opened(tmp_path, 97, chain_id=424_242) as chain:
            age_s = round(time.time() - chain.head.timestamp)
            assert chain.unfit.startswith("the last block, 96, is ")

    [said] = [entry for entry in logs if entry["event"] == "head.behind"]
    assert age_s - 60 < said["behind_s"] <= age_s


# --- commands that ask and go -----------------------------------------------------------------


async def test_a_command_sends_nothing_on_a_head_that_is_unfit() -> None:
    chain = SimpleNamespace(
        unfit="the last block, 96, is 3711 s old",
        config=SimpleNamespace(name="tiny", chain_id=424_242),
    )
    planned = SimpleNamespace(intent=SimpleNamespace(kind=IntentKind.APPROVE))
    settings = SimpleNamespace(signing=SimpleNamespace(armed=lambda _: True), protect={})

    with pytest.raises(ExecutionError) as refused:
        await carry_out(
            cast("Any", settings),
            cast("Any", chain),
            cast("Any", None),
            cast("Any", planned),
            send=True,
            despite_pause=True,
        )

    assert str(refused.value) == (
        "Not sent, nothing was spent: the last block, 96, is 3711 s old; try again once the nodes "
        "of tiny have caught up and agree."
    )


def test_a_command_that_reads_an_unfit_head_says_so_beside_its_answer(
    capsys: pytest.CaptureFixture[str],
) -> None:
    caution("tiny", "the last block, 96, is 3711 s old")
    caution("tiny", "")

    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "keeper: tiny: the last block, 96, is 3711 s old.\n")


async def test_what_a_command_sent_is_not_settled_on_a_head_in_doubt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(act_module, "POLL_S", 0.0)
    told = [(OTHER, "1 of 2 nodes have it"), (OTHER, "1 of 2 nodes have it"), (HERE, "")]
    said: list[tuple[BlockRef, str]] = []
    settled: list[BlockRef] = []
    intent = SimpleNamespace(intent_id="5ca1ab1e5ca1ab1e")
    outcome = SimpleNamespace(plan=SimpleNamespace(intent=intent))

    async def newest() -> tuple[BlockRef, str]:
        return told.pop(0)

    async def settle(head: BlockRef) -> tuple[Any, ...]:
        settled.append(head)
        return (outcome,)

    found = await act_module._settled(
        cast(
            "Any",
            SimpleNamespace(
                head=replace(HERE, number=9_870, hash=HERE.parent_hash),
                heads=SimpleNamespace(newest=newest),
            ),
        ),
        cast("Any", SimpleNamespace(settle=settle)),
        cast("Any", None),
        cast("Any", SimpleNamespace(intent=intent)),
        on_block=lambda block, _, doubt: said.append((block, doubt)),
        people=None,
    )

    assert found is cast("Any", outcome)
    assert settled == [HERE]
    assert said == [(OTHER, "1 of 2 nodes have it")]
    assert waiting(OTHER, None, 3, said[0][1]) == (
        f"  block {OTHER.number:,}: waiting until enough nodes agree on it (1 of 2 nodes have it)"
    )
