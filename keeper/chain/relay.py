"""A private relay: hands signed transactions to block builders and shows them to nobody else.

Two methods are common: `eth_sendPrivateTransaction` (kept by the relay until a block number) and
`eth_sendBundle` (for one block only, so it is sent again at each).  Relays know their users by a
signature over the body, made with a key that holds nothing: header ``X-Flashbots-Signature``.
Source: docs.flashbots.net/flashbots-auction/advanced/rpc-endpoint.
"""

import json
from typing import Any, Final, Literal, Self

import aiohttp
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak

from keeper.bodies import TooLong, whole
from keeper.chain.urls import check_url, guarded, redact
from keeper.errors import ConfigError, RpcError
from keeper.secrecy import masked, secrets_of

Method = Literal["eth_sendPrivateTransaction", "eth_sendBundle"]

TIMEOUT_S: Final = 3.0
BODY_CAP: Final = 64 * 1024
KEPT_BLOCKS: Final = 25
"""For how long a relay is asked to keep a private transaction."""


class HttpRelay:
    """One relay.  Use it as a context."""

    def __init__(self, url: str, *, method: Method, auth_key: str | None = None) -> None:
        """`auth_key`: 64 hex digits of the key that names us there; a new one where there is none.

        Raises ConfigError for a URL or key that cannot be.
        """
        self._url = check_url(url)
        self.name = redact(url)
        self._method = method
        try:
            self._auth: LocalAccount = Account.from_key(auth_key) if auth_key else Account.create()
        except ValueError:
            raise ConfigError("relay_auth_key is not a key: it must be 64 hex digits.") from None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=guarded(),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def send_private(self, raw: bytes, after_block: int) -> None:
        """Hand over `raw`, once, for blocks after `after_block`.

        Raises RpcError, which decides nothing: the relay may have it all the same.
        """
        data = "0x" + raw.hex()
        if self._method == "eth_sendBundle":
            params = {"txs": [data], "blockNumber": hex(after_block + 1)}
        else:
            params = {"tx": data, "maxBlockNumber": hex(after_block + KEPT_BLOCKS)}
        answer = await self._ask(self._method, params)
        if "error" in answer:
            raise RpcError(f"{self.name} refused {self._method}: {self._words(answer['error'])}.")

    async def check(self) -> None:
        """Ask for something harmless: whatever is JSON-RPC will do.  Raises RpcError."""
        await self._ask("eth_chainId", None)

    async def _ask(self, method: str, params: Any) -> dict[str, Any]:
        if self._session is None:
            raise RpcError(f"{self.name} is not open.")
        request = {"jsonrpc": "2.0", "id": 1, "method": method}
        request["params"] = [] if params is None else [params]
        body = json.dumps(request).encode()
        digest = "0x" + keccak(body).hex()
        signature = self._auth.sign_message(encode_defunct(text=digest)).signature.hex()
        headers = {
            "Content-Type": "application/json",
            "X-Flashbots-Signature": f"{self._auth.address}:0x{signature.removeprefix('0x')}",
        }
        try:
            async with self._session.post(
                self._url, data=body, headers=headers, allow_redirects=False
            ) as response:
                said = await whole(response, BODY_CAP)
        except TooLong as error:
            raise RpcError(f"{self.name} answered {error}.") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise RpcError(f"{self.name} did not answer ({type(error).__name__}).") from error
        try:
            answer = json.loads(said)
        except (ValueError, RecursionError) as error:
            raise RpcError(f"{self.name} answered something that is not JSON.") from error
        if not isinstance(answer, dict) or not {"result", "error"} & answer.keys():
            raise RpcError(f"{self.name} answered something that is not JSON-RPC.")
        return answer

    def _words(self, error: object) -> str:
        """Some repeat what they were asked with, the key of the URL too."""
        text = error.get("message") if isinstance(error, dict) else error
        said = masked(str(text), secrets_of(self._url))
        return "".join(c if c.isprintable() else "?" for c in said)[:120]
