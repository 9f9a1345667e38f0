"""A JSON-RPC node that runs in the test: honest by default, and as broken as a test wants.

`Node` answers HTTP and WebSocket on one port.  `answers[method]` is a function of the parameters;
it may raise `Refusal`.  `next_answers` are whole HTTP answers that are given first, one each.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self

import rlp
from aiohttp import WSMsgType, web
from eth_utils.crypto import keccak
from rlp.sedes import big_endian_int

from keeper.model import BlockRef, Hash
from keeper.units import Wei

Answer = Callable[[list[Any]], Any]
Whole = Callable[[Any], web.StreamResponse]


class Refusal(Exception):  # noqa: N818 - it reads as what it is
    """What a node says no with."""

    def __init__(self, code: int | None, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.body: dict[str, Any] = {"message": message}
        if code is not None:
            self.body["code"] = code
        if data is not None:
            self.body["data"] = data


def block_hash(number: int, fork: str = "a") -> Hash:
    """Return a hash that says which block of which fork it is."""
    return Hash("0x" + f"{fork.encode().hex():0>32}{number:032x}")


class Chain:
    """Headers of a chain that can be reorganised."""

    def __init__(self, length: int = 1) -> None:
        self.blocks: list[BlockRef] = []
        self.orphans: dict[str, BlockRef] = {}
        self.grow(length)

    def grow(self, count: int = 1, fork: str = "a") -> BlockRef:
        """Append `count` blocks and return the head."""
        for _ in range(count):
            number = len(self.blocks)
            parent = self.blocks[-1].hash if self.blocks else Hash("0x" + "00" * 32)
            self.blocks.append(
                BlockRef(
                    number=number,
                    hash=block_hash(number, fork),
                    parent_hash=parent,
                    timestamp=1_700_000_000 + 12 * number,
                    base_fee_wei=Wei(7),
                )
            )
        return self.blocks[-1]

    def reorg(self, depth: int, fork: str, length: int | None = None) -> BlockRef:
        """Replace the last `depth` blocks by `length` of another fork; return the new head."""
        for _ in range(depth):
            gone = self.blocks.pop()
            self.orphans[gone.hash] = gone
        return self.grow(depth if length is None else length, fork)

    @property
    def head(self) -> BlockRef:
        return self.blocks[-1]


def header(block: BlockRef) -> dict[str, str]:
    """Return `block` as a node sends it, with fields that nobody asked for."""
    return {
        "number": hex(block.number),
        "hash": block.hash,
        "parentHash": block.parent_hash,
        "timestamp": hex(block.timestamp),
        "baseFeePerGas": hex(block.base_fee_wei),
        "extraData": "0x",
    }


SEALED = ("parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot",
          "logsBloom", "difficulty", "number", "gasLimit", "gasUsed", "timestamp", "extraData",
          "mixHash", "nonce", "baseFeePerGas", "withdrawalsRoot", "blobGasUsed", "excessBlobGas",
          "parentBeaconBlockRoot", "requestsHash")  # fmt: skip
"""What a hash is made of, in this order.  Source: execution-specs, prague/blocks.py."""
NUMBERS = ("difficulty", "number", "gasLimit", "gasUsed", "timestamp", "baseFeePerGas",
           "blobGasUsed", "excessBlobGas")  # fmt: skip


def sealed_header(block: BlockRef, bloom: int = 0) -> dict[str, str]:
    """Return a header of Prague in place of `block`, its hash made of all its fields."""
    return sealed(
        {
            "parentHash": block.parent_hash,
            "sha3Uncles": "0x" + "1d" * 32,
            "miner": "0x" + "c0" * 20,
            "stateRoot": "0x" + "5a" * 32,
            "transactionsRoot": "0x" + "7a" * 32,
            "receiptsRoot": "0x" + "2e" * 32,
            "logsBloom": f"0x{bloom:0512x}",
            "difficulty": "0x0",
            "number": hex(block.number),
            "gasLimit": "0x1c9c380",
            "gasUsed": "0x5208",
            "timestamp": hex(block.timestamp),
            "extraData": "0xc0ffee",
            "mixHash": "0x" + "3b" * 32,
            "nonce": "0x" + "00" * 8,
            "baseFeePerGas": hex(block.base_fee_wei),
            "withdrawalsRoot": "0x" + "4c" * 32,
            "blobGasUsed": "0x20000",
            "excessBlobGas": "0x0",
            "parentBeaconBlockRoot": "0x" + "be" * 32,
            "requestsHash": "0x" + "e3" * 32,
        }
    ) | {"size": "0x2f1"}


def sealed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a header of Prague with the hash that its fields make; what is no field stays."""
    items = [
        big_endian_int.serialize(int(fields[name], 16))
        if name in NUMBERS
        else bytes.fromhex(fields[name][2:])
        for name in SEALED
    ]
    return {**fields, "hash": "0x" + keccak(rlp.encode(items)).hex()}


class Node:
    """The stand-in.  Use as an async context."""

    def __init__(self, chain: Chain | None = None, *, chain_id: int = 31337) -> None:
        self.chain = chain or Chain()
        self.chain_id = chain_id
        self.seen: list[tuple[str, list[Any]]] = []
        self.next_answers: list[Callable[[web.Request, Any], Awaitable[web.StreamResponse]]] = []
        self.sockets: list[web.WebSocketResponse] = []
        self.answers: dict[str, Answer] = {
            "eth_chainId": lambda _: hex(self.chain_id),
            "eth_blockNumber": lambda _: hex(self.chain.head.number),
            "eth_getBlockByNumber": self._by_number,
            "eth_getBlockByHash": self._by_hash,
            "eth_subscribe": lambda _: "0x5eed",
        }
        self.takes_batches = True
        self.silent_about = ""
        """A method that it gives no answer to over a WebSocket."""
        self.final: int | None = None
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v2/SECRETKEY0123456789"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws/SECRETKEY0123456789"

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/{tail:.*}", self._http)
        app.router.add_get("/{tail:.*}", self._ws)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await self.listen()
        return self

    async def listen(self) -> None:
        """Open the port: the same one again after `hang_up`."""
        assert self._runner is not None
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self.drop_sockets()
        await self._runner.cleanup()

    async def push(self, block: BlockRef | None = None) -> None:
        """Send a head to every subscriber."""
        params = {"subscription": "0x5eed", "result": header(block or self.chain.head)}
        for socket in self.sockets:
            await socket.send_json(
                {"jsonrpc": "2.0", "method": "eth_subscription", "params": params}
            )

    async def drop_sockets(self) -> None:
        """Close every WebSocket."""
        for socket in list(self.sockets):
            await socket.close()

    def count(self, method: str) -> int:
        """Return how often `method` was asked."""
        return sum(1 for name, _ in self.seen if name == method)

    async def _http(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        for one in body if isinstance(body, list) else [body]:
            self.seen.append((one["method"], one["params"]))
        if self.next_answers:
            return await self.next_answers.pop(0)(request, body)
        if isinstance(body, list):
            if not self.takes_batches:
                return web.json_response(
                    {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "no batch"}}
                )
            return web.json_response([self._answer(one) for one in reversed(body)])
        return web.json_response(self._answer(body))

    async def _ws(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for frame in socket:
            if frame.type is not WSMsgType.TEXT:
                break
            asked = json.loads(frame.data)
            self.seen.append((asked["method"], asked["params"]))
            if asked["method"] == self.silent_about:
                continue
            await socket.send_json(self._answer(asked))
            if asked["method"] == "eth_subscribe":
                self.sockets.append(socket)
        if socket in self.sockets:
            self.sockets.remove(socket)
        return socket

    def _answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        envelope: dict[str, Any] = {"jsonrpc": "2.0", "id": asked["id"]}
        answer = self.answers.get(asked["method"], _no_such_method)
        try:
            return envelope | {"result": answer(asked["params"])}
        except Refusal as refusal:
            return envelope | {"error": refusal.body}

    def _by_number(self, params: list[Any]) -> Any:
        if params[0] == "latest":
            return header(self.chain.head)
        if params[0] in ("safe", "finalized"):
            if self.final is None:
                raise Refusal(-39001, "Unknown block")
            return header(self.chain.blocks[self.final])
        number = int(params[0], 16)
        return header(self.chain.blocks[number]) if number < len(self.chain.blocks) else None

    def _by_hash(self, params: list[Any]) -> Any:
        for block in (*self.chain.blocks, *self.chain.orphans.values()):
            if block.hash == params[0]:
                return header(block)
        return None


def _no_such_method(_: list[Any]) -> Any:
    raise Refusal(-32601, "the method does not exist")


# --- whole answers --------------------------------------------------------------------------


def status(code: int, text: str = "", **headers: str) -> Any:
    """An HTTP status with a text."""

    async def answer(_: web.Request, __: Any) -> web.Response:
        return web.Response(status=code, text=text, headers=headers)

    return answer


def body(text: str) -> Any:
    """200 with this body, ``ID`` replaced by the id asked with."""

    async def answer(_: web.Request, asked: Any) -> web.Response:
        return web.Response(text=text.replace("ID", str(asked["id"])))

    return answer


def drip(seconds: float) -> Any:
    """A body that comes a byte at a time and is not done within `seconds`."""

    async def answer(request: web.Request, _: Any) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _step in range(int(seconds / 0.02)):
            try:
                await response.write(b" ")
            except ConnectionError:
                break
            await asyncio.sleep(0.02)
        return response

    return answer


def flood(size: int) -> Any:
    """A body of `size` bytes."""

    async def answer(request: web.Request, _: Any) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _step in range(size // 65_536):
            try:
                await response.write(b" " * 65_536)
            except ConnectionError:
                break
        return response

    return answer


def cut_off() -> Any:
    """The connection is closed in the middle of an answer."""

    async def answer(request: web.Request, _: Any) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"jsonrpc":"2.0",')
        assert request.transport is not None
        request.transport.close()
        return response

    return answer
