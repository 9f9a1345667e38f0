"""The WebSocket that brings heads: what it says when it does not."""

import pytest

from keeper.chain.subscription import Subscription
from keeper.errors import BadAnswer, RpcError
from tests.chain_unit.standin import Node, Refusal


async def test_the_key_is_taken_out_of_what_a_node_says_over_a_websocket() -> None:
    def refuses(_: list[object]) -> object:
        raise Refusal(-32000, "project SECRETKEY0123456789 is out of credits")

    async with Node() as node:
        node.answers["eth_chainId"] = refuses

        with pytest.raises(RpcError, match=r"refused eth_chainId: 'project \*\*\* is out of"):
            await Subscription.prove(node.ws_url, 31337)


async def test_the_key_is_not_shown_where_a_websocket_says_it_for_a_number() -> None:
    async with Node() as node:
        node.answers["eth_chainId"] = lambda _: "no such project: SECRETKEY0123456789"

        with pytest.raises(BadAnswer, match="something that is no number") as caught:
            await Subscription.prove(node.ws_url, 31337)

        assert "SECRETKEY" not in str(caught.value)
