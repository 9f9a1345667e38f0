"""What the nodes of a chain say together when it is opened, and of a checkpoint's block."""

from dataclasses import replace
from typing import cast

import pytest

from keeper.app.chain import History
from keeper.chain.provider import NoAnswer
from keeper.chain.rpc import Rpc
from keeper.errors import ObservationError, RpcError
from keeper.model import BlockRef, Hash

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
