"""ENS's own registry, resolver and reverse registrar on the devnet.

Source: npm @ensdomains/ens 0.6.2 and @ensdomains/resolver 0.3.1, compiled as published and pinned
by ``contracts/ens/package-lock.json``; fetched on first use, never committed.  The
registrar of ``.eth`` is no part of them: where an expiry is wanted, a contract that answers one
number stands in.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

from eth_utils.crypto import keccak

from keeper.chain.names import namehash
from keeper.devnet.abi import encode_call, encode_constructor
from keeper.devnet.anvil import until_mined
from keeper.devnet.artifacts import Artifact
from keeper.devnet.deployer import created_address
from keeper.devnet.network import Devnet
from keeper.devnet.toolchain import CONTRACTS, ensure_packages
from keeper.model import Address

HOME: Final = CONTRACTS / "ens"
FILES: Final = {
    "ENSRegistry": "@ensdomains/ens/build/contracts/ENSRegistry.json",
    "ReverseRegistrar": "@ensdomains/ens/build/contracts/ReverseRegistrar.json",
    "PublicResolver": "@ensdomains/resolver/build/contracts/PublicResolver.json",
}
ROOT: Final = bytes(32)


def artifact(name: str) -> Artifact:
    ensure_packages(HOME, what="bringing ENS's contracts from npm")
    raw = json.loads((HOME / "node_modules" / FILES[name]).read_bytes())
    return Artifact(
        name=name,
        abi=tuple(raw["abi"]),
        bytecode=raw["bytecode"].removeprefix("0x"),
        deployed_bytecode="",
        link_references={},
    )


@dataclass(slots=True)
class Ens:
    """The contracts, and the words to use them."""

    devnet: Devnet
    owner: Address
    contracts: dict[str, Artifact]
    registry: Address
    resolver: Address
    registrar: Address

    async def send(
        self, to: Address, contract: str, name: str, *arguments: Any, sender: Address | None = None
    ) -> None:
        data = encode_call(self.contracts[contract], name, *arguments)
        sent = await self.devnet.anvil.send(sender or self.owner, to, data)
        await until_mined(self.devnet.anvil, sent)

    async def own(self, name: str, owner: Address) -> None:
        """Give the last label of `name`, whose parent is ours, to `owner`."""
        label, _, parent = name.partition(".")
        node = namehash(parent)
        await self.send(
            self.registry, "ENSRegistry", "setSubnodeOwner", node, keccak(text=label), owner
        )

    async def point(self, name: str, account: Address) -> None:
        """Let `name`, whose parent is ours, resolve to `account`."""
        await self.own(name, self.owner)
        node = namehash(name)
        await self.send(self.registry, "ENSRegistry", "setResolver", node, self.resolver)
        await self.send(self.resolver, "PublicResolver", "setAddr", node, account)

    async def claim(self, account: Address, name: str) -> None:
        """Let an account call itself `name`."""
        await self.send(self.registrar, "ReverseRegistrar", "setName", name, sender=account)

    async def expire(self, at: int) -> None:
        """Let every ``.eth`` registration run out at `at`; no new names after this."""
        code = b"\x7f" + at.to_bytes(32, "big") + bytes.fromhex("5f5260205ff3")
        registrar = Address("0x" + "e7" * 20)
        await self.devnet.anvil.set_code(registrar, code)
        await self.own("eth", registrar)


async def deployed(devnet: Devnet) -> Ens:
    """Deploy registry, resolver and reverse registrar, and own ``.eth``."""
    contracts = {name: artifact(name) for name in FILES}
    owner = devnet.deployer.sender

    async def deploy(name: str, *arguments: Any) -> Address:
        code = bytes.fromhex(contracts[name].bytecode)
        data = code + encode_constructor(contracts[name], *arguments)
        nonce = int(await devnet.anvil.rpc("eth_getTransactionCount", owner, "latest"), 16)
        await until_mined(devnet.anvil, await devnet.anvil.send(owner, None, data))
        return created_address(owner, nonce)

    registry = await deploy("ENSRegistry")
    resolver = await deploy("PublicResolver", registry)
    made = Ens(
        devnet=devnet,
        owner=owner,
        contracts=contracts,
        registry=registry,
        resolver=resolver,
        registrar=await deploy("ReverseRegistrar", registry, resolver),
    )
    await made.own("eth", owner)
    await made.own("reverse", owner)
    await made.own("addr.reverse", made.registrar)
    return made
