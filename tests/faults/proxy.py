"""A JSON-RPC and WebSocket proxy that breaks, delays and lies, in front of a node that does not.

    keeper -> Proxy -> Anvil

`Proxy.weather` says how likely each `Fault` is for one HTTP request; which one comes is drawn from
a seeded generator, so that a trial can be run again.  `Proxy.lies` changes what true answers say:
a stale backend, another chain id, logs left out or said twice, limits on ranges.  The WebSocket can
be silent while it stays open, be closed, or repeat itself.  Sends obey geth's replacement rule.

What it did is counted in `done`, so that a campaign can show that it was not spared.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any, Self

import aiohttp
from aiohttp import WSMsgType, web
from eth_account import Account
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from hexbytes import HexBytes

from tests.chain_unit.bare_anvil import Gate
from tests.faults.made_up import HEADERS, Lost, made_up

TIMEOUT_S = 1.0
"""Of the clients under test: what stalls, stalls for longer."""

_NODE: ContextVar[str] = ContextVar("_NODE")
"""Whom one request is put to, start to end, though the proxy is pointed elsewhere meanwhile."""

STATE = frozenset({"eth_call", "eth_getBalance", "eth_getCode", "eth_getTransactionCount"})
"""Methods that read the state of a block."""


class Fault(StrEnum):
    """What can happen to one HTTP request."""

    DELAY = "delay"
    STALL = "stall"
    DRIP = "drip"
    DROP = "drop"
    TRUNCATE = "truncate"
    STATUS_5XX = "5xx"
    TOO_MANY = "429"
    HTML = "html"
    NOT_JSON = "not json"
    WRONG_ID = "wrong id"
    WRONG_TYPE = "wrong type"
    NO_RESULT = "no result"
    HUGE = "huge"
    NESTED = "nested"
    REFUSE = "refuse"


SILENT = (Fault.DELAY, Fault.STALL, Fault.DRIP, Fault.DROP, Fault.STATUS_5XX, Fault.TOO_MANY)
BROKEN = (
    Fault.TRUNCATE,
    Fault.HTML,
    Fault.NOT_JSON,
    Fault.WRONG_ID,
    Fault.WRONG_TYPE,
    Fault.NO_RESULT,
    Fault.HUGE,
    Fault.NESTED,
)


@dataclass(slots=True)
class Lies:
    """What answers say that is not so; all of it may be changed at any time."""

    lag_blocks: int = 0
    """A backend that is so far behind."""
    empty_logs: bool = False
    """It answers `[]` for a block that it does not have, as some do."""
    chain_id: int | None = None
    drop_logs: float = 0.0
    duplicate_logs: float = 0.0
    hidden: frozenset[tuple[int, int]] = frozenset()
    """Logs by block and index that it never tells of, whoever asks how."""
    most_logs: int | None = None
    most_blocks: int | None = None
    no_receipts: bool = False
    no_lens: bool = False
    """It runs no eth_call without `to`."""
    most_gas: int | None = None
    """It runs an eth_call with no more, and says nothing."""
    no_batches: bool = False
    no_log_hashes: bool = False
    """It takes no block hash for logs."""
    no_subscriptions: bool = False
    syncing: bool = False
    pruned_blocks: int | None = None
    """It has no state older than so many blocks."""
    elsewhere_blocks: int = 0
    """Its eth_calls are answered from so many blocks before the one asked for."""
    elsewhere_calls: int | None = None
    """So many of them; all where it is None."""
    forked: bool = False
    """Its node is on a fork: it refuses blocks of other branches, which Anvil does not."""
    made_up: float = 0.0
    """How likely a header that it tells or announces is made up."""


class Socket(Enum):
    """What the WebSocket does with notifications."""

    HONEST = "honest"
    SILENT = "silent"
    REPEATING = "repeating"
    REFUSED = "refused"


@dataclass(slots=True)
class Proxy:
    """One node as the keeper sees it.  Use as an async context."""

    upstream: str
    """``http://127.0.0.1:PORT``; may be changed: then it is on another fork."""
    chance: random.Random
    weather: Mapping[Fault, float] = field(default_factory=dict)
    lies: Lies = field(default_factory=Lies)
    socket: Socket = Socket.HONEST
    done: Counter[str] = field(default_factory=Counter)
    port: int = 0
    gate: Gate | None = None
    """Of the Anvil behind it, where that mines while it is read."""
    lost: Lost = field(default_factory=Lost)
    """What it remembers by hash though it is not canonical."""
    _last: dict[str, dict[str, Any]] = field(default_factory=dict)
    _fees: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)
    _sockets: list[web.WebSocketResponse] = field(default_factory=list)
    _runner: web.AppRunner | None = None
    _session: aiohttp.ClientSession | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/key/SECRETKEY0123456789"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/key/SECRETKEY0123456789"

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/{tail:.*}", self._http)
        app.router.add_get("/{tail:.*}", self._ws)
        self._runner = web.AppRunner(app, shutdown_timeout=0.05, access_log=None)
        await self._runner.setup()
        await self.up()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close_sockets()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    async def up(self) -> None:
        """Listen: on the same port again after `down`."""
        assert self._runner is not None
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        if not self.port:
            self.port = self._runner.addresses[0][1]

    async def down(self) -> None:
        """Refuse connections and end those there are."""
        assert self._runner is not None
        await self.close_sockets()
        for site in list(self._runner.sites):
            await site.stop()

    async def close_sockets(self) -> None:
        """Close every WebSocket properly."""
        for socket in list(self._sockets):
            await socket.close()

    def calm(self) -> None:
        """No faults and no lies from now on."""
        self.weather, self.lies, self.socket = {}, Lies(), Socket.HONEST

    # --- HTTP -------------------------------------------------------------------------------

    async def _http(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._handled(request)
        except (aiohttp.ClientError, OSError, RuntimeError):  # either side has hung up
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=502)

    async def _handled(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        asked = body if isinstance(body, list) else [body]
        self.done["requests"] += 1
        if self.lies.no_batches and isinstance(body, list):
            self.done["batch refused"] += 1
            return web.json_response(_error({"id": None}, -32600, "batches are not supported"))
        fault = self._drawn()
        if fault is not None:
            self.done[fault] += 1
            early = await self._before(fault, request)
            if early is not None:
                return early
        answers = [await self._answer(one) for one in asked]
        methods = [one["method"] for one in asked]
        if fault is not None:
            spoilt = [self._spoilt(fault, m, a) for m, a in zip(methods, answers, strict=True)]
        else:
            spoilt = answers
        self._last |= dict(zip(methods, answers, strict=True))
        answers = spoilt
        text = json.dumps(answers if isinstance(body, list) else answers[0])
        if fault is Fault.TRUNCATE:
            text = text[: self.chance.randrange(len(text))]
        if fault is Fault.DRIP:
            return await self._drip(request, text)
        return web.Response(text=text, content_type="application/json")

    def _drawn(self) -> Fault | None:
        at = self.chance.random()
        for fault, likely in self.weather.items():
            at -= likely
            if at < 0:
                return fault
        return None

    async def _before(self, fault: Fault, request: web.Request) -> web.StreamResponse | None:
        match fault:
            case Fault.DELAY:
                await asyncio.sleep(self.chance.uniform(0.01, 0.3))
            case Fault.STALL:
                await asyncio.sleep(TIMEOUT_S * 1.5)
            case Fault.DROP:
                assert request.transport is not None
                request.transport.abort()
            case Fault.STATUS_5XX:
                return web.Response(status=self.chance.choice((500, 502, 503, 504)), text="oops")
            case Fault.TOO_MANY:
                rest_s = self.chance.choice((0.5, 0.8))
                return web.Response(status=429, headers={"Retry-After": str(rest_s)})
            case Fault.HTML:
                return web.Response(text="<html>captive portal</html>", content_type="text/html")
            case Fault.NOT_JSON:
                return web.Response(text=self.chance.choice(("", "null", "{", "\x00\x01", "[1]")))
            case Fault.HUGE:
                return web.Response(body=b'{"x":"' + b"a" * 3_000_000 + b'"}')
            case Fault.NESTED:
                before = self.chance.choice(("", '{"result":', '{"error":{"data":'))
                return web.Response(text=before + "[" * self.chance.choice((2_000, 60_000)))
        return None

    async def _drip(self, request: web.Request, text: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        data = text.encode()
        for start in range(0, len(data), max(1, len(data) // 12)):
            await response.write(data[start : start + max(1, len(data) // 12)])
            await asyncio.sleep(TIMEOUT_S / 10)
        return response

    def _spoilt(self, fault: Fault, method: str, answer: dict[str, Any]) -> dict[str, Any]:
        match fault:
            case Fault.WRONG_ID:  # the answer to what was asked like this before
                return self._last.get(method) or answer | {"id": None}
            case Fault.NO_RESULT:
                return {k: v for k, v in answer.items() if k != "result"}
            case Fault.REFUSE:
                words = self.chance.choice(("header not found", "internal error", "busy"))
                error = {"code": -32000, "message": words}
                return {"jsonrpc": "2.0", "id": answer["id"], "error": error}
            case Fault.WRONG_TYPE if "result" in answer:
                return answer | {"result": self._misshapen(answer["result"])}
        return answer

    def _misshapen(self, value: Any) -> Any:
        """Something of another shape than `value`: never a value that could be true."""
        if isinstance(value, dict) and value:
            name = self.chance.choice(
                [k for k in value if k in ("number", "hash", "parentHash", "timestamp")]
                or list(value)
            )
            return value | {name: self.chance.choice((None, 7, [], "0xzz", "0x" + "f" * 70))}
        if isinstance(value, list) and value:
            return [self._misshapen(value[0]), *value[1:]]
        return self.chance.choice((7, {}, {"0x": 1}, "latest", "0xg", True))

    # --- what true answers say --------------------------------------------------------------

    async def _answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        method, params = asked["method"], asked.get("params", [])
        lies = self.lies
        _NODE.set(self.upstream)
        if method == "eth_chainId" and lies.chain_id is not None:
            return _result(asked, hex(lies.chain_id))
        if method == "eth_syncing" and lies.syncing:
            return _result(asked, {"currentBlock": "0x10", "highestBlock": "0xffff"})
        if method == "eth_getLogs" and lies.no_log_hashes and "blockHash" in params[0]:
            return _error(asked, -32602, "invalid argument 0: unknown field blockHash")
        if lies.pruned_blocks is not None and method in STATE:
            head = int(await self._ask("eth_blockNumber"), 16)
            if await self._number_of(params[-1], head) < head - lies.pruned_blocks:
                return _error(asked, -32000, "missing trie node")
        if method == "eth_getBlockReceipts" and lies.no_receipts:
            return _error(asked, -32601, "the method eth_getBlockReceipts does not exist")
        if lies.forked and (hash_ := _pin(method, params)) and not await self._canonical(hash_):
            return _error(asked, -32000, "header not found")
        if lies.lag_blocks:
            stale = await self._stale(asked, method, params)
            if stale is not None:
                return stale
        if method == "eth_getLogs":
            return await self._logs(asked, params[0])
        if method == "eth_call":
            return await self._call(asked, params)
        if method == "eth_sendRawTransaction":
            refusal = self._replacement(params[0])
            if refusal:
                return _error(asked, -32000, refusal)
        if method in HEADERS:
            return await self._header(asked, params[0])
        return await self._forward(asked)

    async def _header(self, asked: dict[str, Any], which: str) -> dict[str, Any]:
        lost = self.lost.by_hash.get(which)
        answer = await self._forward(asked) if lost is None else _result(asked, lost)
        if answer.get("result") is None:
            return answer
        return answer | {"result": await self._told(answer["result"])}

    async def _told(self, header: dict[str, Any]) -> dict[str, Any]:
        """Return `header` as this node tells it."""
        if self.chance.random() >= self.lies.made_up:
            return header
        tale, told = await made_up(header, self.lost, self._ask, self.chance)
        self.done[tale] += 1
        return told

    async def _call(self, asked: dict[str, Any], params: list[Any]) -> dict[str, Any]:
        """An eth_call as this node runs it."""
        lies, request, at = self.lies, params[0], params[1]
        if lies.no_lens and "to" not in request:
            self.done["lens refused"] += 1
            return _error(asked, -32602, "missing value for required argument 'to'")
        if lies.most_gas is not None:
            gas = min(lies.most_gas, int(request.get("gas", "0x7fffffff"), 16))
            request = request | {"gas": hex(gas)}
        if lies.elsewhere_blocks and isinstance(at, dict) and lies.elsewhere_calls != 0:
            self.done["answered from elsewhere"] += 1
            if lies.elsewhere_calls is not None:
                lies.elsewhere_calls -= 1
            block = await self._ask("eth_getBlockByHash", at["blockHash"], False)
            if block is not None:
                at = hex(max(0, int(block["number"], 16) - lies.elsewhere_blocks))
        return await self._forward(asked | {"params": [request, at, *params[2:]]})

    async def _forward(self, asked: dict[str, Any]) -> dict[str, Any]:
        if self.gate is None or asked["method"] not in STATE:
            return await self._forwarded(asked)
        async with self.gate.shared():
            return await self._forwarded(asked)

    async def _forwarded(self, asked: dict[str, Any]) -> dict[str, Any]:
        assert self._session is not None
        async with self._session.post(_NODE.get(self.upstream), json=asked) as response:
            answer: dict[str, Any] = await response.json(content_type=None)
            return answer

    async def _ask(self, method: str, *params: Any) -> Any:
        answer = await self._forward(
            {"jsonrpc": "2.0", "id": 0, "method": method, "params": params}
        )
        return answer.get("result")

    async def _stale(
        self, asked: dict[str, Any], method: str, params: list[Any]
    ) -> dict[str, Any] | None:
        """Answer as a node would whose head is `lag_blocks` behind; None where that is the same."""
        head = max(0, int(await self._ask("eth_blockNumber"), 16) - self.lies.lag_blocks)
        if method == "eth_blockNumber":
            return _result(asked, hex(head))
        if method == "eth_getBlockByNumber":
            wanted = params[0]
            if wanted == "latest":
                return await self._forward(asked | {"params": [hex(head), *params[1:]]})
            if wanted.startswith("0x") and int(wanted, 16) > head:
                return _result(asked, None)
        if method == "eth_getBlockByHash" and await self._above(params[0], head):
            return _result(asked, None)
        pin = _pin(method, params) if method == "eth_getLogs" else ""
        if pin and await self._above(pin, head):
            if self.lies.empty_logs:
                return _result(asked, [])
            return _error(asked, -32000, "unknown block")
        if method in ("eth_call", "eth_getTransactionCount", "eth_getBalance"):
            at = params[-1]
            if isinstance(at, dict) and await self._above(at["blockHash"], head):
                return _error(asked, -32000, "header not found")
            if at == "latest":
                return await self._forward(asked | {"params": [*params[:-1], hex(head)]})
        return None

    async def _number_of(self, at: Any, head: int) -> int:
        """The number of the block that a read is of."""
        if isinstance(at, dict):
            block = await self._ask("eth_getBlockByHash", at["blockHash"], False)
            return head if block is None else int(block["number"], 16)
        return int(at, 16) if isinstance(at, str) and at.startswith("0x") else head

    async def _canonical(self, hash_: str) -> bool:
        block = await self._ask("eth_getBlockByHash", hash_, False)
        if block is None:
            return False
        there = await self._ask("eth_getBlockByNumber", block["number"], False)
        return there is not None and there["hash"] == hash_

    async def _above(self, hash_: str, head: int) -> bool:
        block = await self._ask("eth_getBlockByHash", hash_, False)
        return block is None or int(block["number"], 16) > head

    async def _logs(self, asked: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
        lies = self.lies
        if lies.most_blocks is not None and "fromBlock" in wanted:
            span = int(wanted["toBlock"], 16) - int(wanted["fromBlock"], 16) + 1
            if span > lies.most_blocks:
                self.done["range refused"] += 1
                words = f"eth_getLogs is limited to a {lies.most_blocks} range"
                return _error(asked, -32600, words)
        answer = await self._forward(asked)
        logs = answer.get("result")
        if not isinstance(logs, list):
            return answer
        if lies.most_logs is not None and len(logs) > lies.most_logs:
            self.done["results refused"] += 1
            return _error(asked, -32005, f"query returned more than {lies.most_logs} results")
        kept: list[Any] = []
        for log in logs:
            place = int(log["blockNumber"], 16), int(log["logIndex"], 16)
            if place in lies.hidden or self.chance.random() < lies.drop_logs:
                self.done["logs dropped"] += 1
                continue
            kept.append(log)
            if self.chance.random() < lies.duplicate_logs:
                self.done["logs doubled"] += 1
                kept.append(self.chance.choice((log, log | {"removed": True})))
        return answer | {"result": kept}

    def _replacement(self, raw: str) -> str:
        """What geth says to a replacement that does not raise both fees by a tenth, or nothing."""
        data = HexBytes(raw)
        if data[0] != 2:
            return ""
        fields = TypedTransaction.from_bytes(data).as_dict()
        fees = (int(fields["maxFeePerGas"]), int(fields["maxPriorityFeePerGas"]))
        key = (str(Account.recover_transaction(raw)), int(fields["nonce"]))
        known = self._fees.get(key)
        if known and known != fees and any(10 * new < 11 * old for new, old in zip(fees, known)):  # noqa: B905 - the shorter of the two decides
            self.done["replacement refused"] += 1
            return "replacement transaction underpriced"
        self._fees[key] = fees
        return ""

    # --- WebSocket --------------------------------------------------------------------------

    async def _ws(self, request: web.Request) -> web.StreamResponse:
        if self.socket is Socket.REFUSED:
            return web.Response(status=503)
        assert self._session is not None
        socket = web.WebSocketResponse(heartbeat=None, autoping=True)
        await socket.prepare(request)
        self._sockets.append(socket)
        try:
            async with self._session.ws_connect(
                self.upstream.replace("http", "ws"), max_msg_size=0
            ) as upstream:
                down = asyncio.create_task(self._pass_down(upstream, socket))
                try:
                    async for frame in socket:
                        if frame.type is not WSMsgType.TEXT:
                            break
                        asked = json.loads(frame.data)
                        if asked["method"] == "eth_chainId" and self.lies.chain_id is not None:
                            await socket.send_json(_result(asked, hex(self.lies.chain_id)))
                        elif asked["method"] == "eth_subscribe" and self.lies.no_subscriptions:
                            words = "notifications not supported"
                            await socket.send_json(_error(asked, -32601, words))
                        else:
                            await upstream.send_str(frame.data)
                finally:
                    down.cancel()
                    await asyncio.gather(down, return_exceptions=True)
        except (aiohttp.ClientError, OSError):
            await socket.close()
        finally:
            self._sockets.remove(socket)
        return socket

    async def _pass_down(
        self, upstream: aiohttp.ClientWebSocketResponse, socket: web.WebSocketResponse
    ) -> None:
        said: list[str] = []
        async for frame in upstream:
            if frame.type is not WSMsgType.TEXT:
                break
            notice = "eth_subscription" in frame.data
            if notice and self.socket is Socket.SILENT:
                self.done["heads withheld"] += 1
                continue
            text = await self._announced(frame.data) if notice else frame.data
            await socket.send_str(text)
            if notice:
                said.append(text)
                if self.socket is Socket.REPEATING:
                    self.done["heads repeated"] += 1
                    for again in self.chance.choices(said[-20:], k=self.chance.randint(1, 60)):
                        await socket.send_str(again)
        await socket.close()

    async def _announced(self, text: str) -> str:
        """Return a notification as this node sends it."""
        if not self.lies.made_up:
            return text
        notice = json.loads(text)
        _NODE.set(self.upstream)
        notice["params"]["result"] = await self._told(notice["params"]["result"])
        return json.dumps(notice)


def _pin(method: str, params: list[Any]) -> str:
    """The block hash that a read is pinned to, or nothing."""
    if method == "eth_getLogs":
        return str(params[0].get("blockHash", ""))
    if method in ("eth_getBlockByHash", "eth_getBlockReceipts"):
        return str(params[0])
    at = params[-1] if params else None
    return str(at.get("blockHash", "")) if method == "eth_call" and isinstance(at, dict) else ""


def _result(asked: dict[str, Any], result: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": asked["id"], "result": result}


def _error(asked: dict[str, Any], code: int, message: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": asked["id"], "error": {"code": code, "message": message}}
