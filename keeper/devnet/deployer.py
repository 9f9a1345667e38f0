"""Sends what a deployment consists of and insists that each transaction succeeded."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import rlp
from eth_utils.crypto import keccak

from keeper.devnet.abi import decode_answer, encode_call, encode_constructor
from keeper.devnet.anvil import Anvil, address_of, until_mined
from keeper.devnet.artifacts import Artifacts
from keeper.devnet.deployment import Account
from keeper.errors import RpcError
from keeper.model import Address, Hash

ZERO: Address = Address("0x" + "00" * 20)


class Deployer:
    """Deploys and calls contracts by their artifacts' names, from one account by default.

    It waits for every transaction.  Inside `gathered` it does not: transactions of all senders
    collect in the pool, in order, until an answer from the chain is needed or the end is reached,
    and are then mined, as one block where the gas limit allows.
    """

    def __init__(self, anvil: Anvil, artifacts: Artifacts, sender: Address) -> None:
        """`sender` must be unlocked or impersonated."""
        self.anvil = anvil
        self.artifacts = artifacts
        self.sender = sender
        self._libraries: dict[str, Address] = {}
        self._gathering = False
        self._waiting: list[tuple[Hash, str]] = []

    async def deploy(self, name: str, *arguments: Any) -> Address:
        """Deploy `name` and, before it, the libraries it links to; return where it is."""
        artifact = self.artifacts.get(name)
        prefix = name.rpartition("/")[0]
        for library in artifact.libraries():
            full = f"{prefix}/{library}" if prefix else library
            if full not in self._libraries:
                self._libraries[full] = await self.deploy(full)
        linked = artifact.linked(
            {
                library: self._libraries[f"{prefix}/{library}" if prefix else library]
                for library in artifact.libraries()
            }
        )
        data = linked + encode_constructor(artifact, *arguments)
        nonce = int(await self.anvil.rpc("eth_getTransactionCount", self.sender, "pending"), 16)
        await self._take(await self.anvil.send(self.sender, None, data), f"new {name}")
        return created_address(self.sender, nonce)

    async def send(
        self,
        to: str,
        contract: str,
        function: str,
        *arguments: Any,
        sender: str | None = None,
        value: int = 0,
    ) -> Hash:
        """Send ``contract.function(*arguments)``.  Raises `RpcError` naming it when it fails."""
        data = encode_call(self.artifacts.get(contract), function, *arguments)
        sent = await self.anvil.send(sender or self.sender, to, data, value=value)
        await self._take(sent, f"{contract}.{function}")
        return sent

    async def call(self, to: str, contract: str, function: str, *arguments: Any) -> Any:
        """Ask ``contract.function(*arguments)`` at the latest block."""
        await self.flush()
        artifact = self.artifacts.get(contract)
        answer = await self.anvil.call(to, encode_call(artifact, function, *arguments))
        return decode_answer(artifact, function, len(arguments), answer)

    @asynccontextmanager
    async def gathered(self) -> AsyncIterator[None]:
        """Mine what is sent in here in as few blocks as there are answers needed."""
        await self.anvil.set_automine(on=False)
        self._gathering = True
        try:
            yield
            await self.flush()
        finally:
            self._gathering = False
            await self.anvil.set_automine(on=True)

    async def flush(self) -> None:
        """Mine what waits, and insist that all of it succeeded."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        await self.anvil.mine_pool()
        for transaction, what in waiting:
            await self._mined(transaction, what)

    async def _take(self, transaction: Hash, what: str) -> None:
        if self._gathering:
            self._waiting.append((transaction, what))
        else:
            await self._mined(transaction, what)

    async def _mined(self, transaction: Hash, what: str) -> None:
        try:
            await until_mined(self.anvil, transaction)
        except RpcError as error:
            raise RpcError(f"{what}: {error}") from None


def created_address(sender: Address, nonce: int) -> Address:
    """Where a contract comes to be that `sender` creates with `nonce`."""
    encoded = rlp.encode([bytes.fromhex(sender[2:]), nonce])
    return address_of("0x" + keccak(encoded)[12:].hex())


def account(name: str) -> Account:
    """The devnet's account of that name: its key is the hash of the name, so all know it."""
    from eth_keys.datatypes import PrivateKey  # noqa: PLC0415 - slow to import, wanted when deploying only

    secret = keccak(text=f"keeper devnet: {name}")
    address = PrivateKey(secret).public_key.to_address()
    return Account(name=name, address=address_of(address), private_key="0x" + secret.hex())
