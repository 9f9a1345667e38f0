"""A key that lies with somebody else: Consensys web3signer's two ways of signing.

``eth_signTransaction`` (JSON-RPC, Ethereum clients' own) is given the fields and answers with the
signed bytes; ``api/v1/eth1/sign/KEY`` (REST) is given the bytes to be hashed and answers with a
signature alone.  Either way what comes back is decoded and must be the very transaction that was
asked for, signed by the address that was configured: a signer that lies or errs signs nothing here.
Source: docs.web3signer.consensys.io/reference/api.

Caveat: a request that got no answer may have been signed there.  Nothing is sent of it: the claim
is given up before any bytes are stored, and its nonce is given out again.
"""

import json
from typing import Any, Final, Literal

import aiohttp

from keeper.bodies import TooLong, whole
from keeper.errors import ConfigError, ExecutionError
from keeper.execution.signer import checked
from keeper.execution.transaction import UnsignedTx, with_signature
from keeper.model import Address, Attempt
from keeper.secrecy import masked, secrets_of

Way = Literal["eth_signTransaction", "eth1_sign"]

TIMEOUT_S: Final = 5.0
BODY_CAP: Final = 256 * 1024
SIGNATURE_BYTES: Final = 65


class RemoteSigner:
    """Satisfies `keeper.execution.signer.Signer`."""

    def __init__(
        self, url: str, address: Address, *, way: Way, public_key: str = "", shown: str = ""
    ) -> None:
        """`public_key`: what ``eth1_sign`` knows the key by.  `shown`: the URL without secrets."""
        if way == "eth1_sign" and not public_key:
            raise ConfigError("The remote signer's eth1_sign needs the public key that it keeps.")
        self.address = address
        self._url = url.rstrip("/")
        self._way = way
        self._public_key = public_key
        self._shown = shown or "the remote signer"

    async def sign(self, tx: UnsignedTx) -> Attempt:
        """Return the signed bytes of exactly `tx`.  Raises `ExecutionError`."""
        if self._way == "eth1_sign":
            answer = await self._post(
                f"/api/v1/eth1/sign/{self._public_key}", {"data": "0x" + tx.payload().hex()}
            )
            signature = self._bytes(answer)
            if len(signature) != SIGNATURE_BYTES:
                raise ExecutionError(
                    f"{self._shown} answered with {len(signature)} bytes, a signature has"
                    f" {SIGNATURE_BYTES}."
                )
            return checked(with_signature(tx, signature), tx, self.address)
        request = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "eth_signTransaction",
            "params": [_fields(tx, self.address)],
        }
        said = await self._post("", request)
        try:
            answer = json.loads(said)
        except (ValueError, RecursionError) as error:
            raise ExecutionError(f"{self._shown} answered something that is not JSON.") from error
        if not isinstance(answer, dict) or "result" not in answer:
            error_ = answer.get("error") if isinstance(answer, dict) else None
            raise ExecutionError(f"{self._shown} refused to sign: {self._words(error_)}.")
        result = answer["result"]
        raw = result.get("raw") if isinstance(result, dict) else result
        return checked(self._bytes(str(raw)), tx, self.address)

    async def _post(self, path: str, body: Any) -> str:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(self._url + path, json=body, allow_redirects=False) as response,
            ):
                said = (await whole(response, BODY_CAP)).decode("utf-8", errors="replace")
                status = response.status
        except TooLong as error:
            raise ExecutionError(f"{self._shown} answered {error}: nothing was signed.") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ExecutionError(
                f"{self._shown} did not answer ({type(error).__name__}): nothing was signed."
            ) from error
        if status != 200:
            raise ExecutionError(
                f"{self._shown} refused to sign (HTTP {status}): {self._words(said)}."
            )
        return said

    def _bytes(self, text: str) -> bytes:
        try:
            return bytes.fromhex(text.strip().strip('"').removeprefix("0x"))
        except ValueError as error:
            raise ExecutionError(f"{self._shown} answered something that is not hex.") from error

    def _words(self, error: object) -> str:
        """Some repeat what they were asked with, the secrets of the URL too."""
        text = error.get("message") if isinstance(error, dict) else error
        said = masked(str(text), secrets_of(self._url))
        return "".join(c if c.isprintable() else "?" for c in said)[:120] or "no reason given"

    def __repr__(self) -> str:
        """Name the address; the URL may hold a secret."""
        return f"RemoteSigner({self.address})"


def _fields(tx: UnsignedTx, sender: Address) -> dict[str, str]:
    return {
        "from": sender,
        "to": tx.to,
        "gas": hex(tx.gas_limit),
        "maxFeePerGas": hex(tx.fees.max_fee_wei),
        "maxPriorityFeePerGas": hex(tx.fees.priority_fee_wei),
        "value": hex(tx.value_wei),
        "nonce": hex(tx.nonce),
        "data": "0x" + tx.data.hex(),
        "chainId": hex(tx.chain_id),
        "type": "0x2",
    }
