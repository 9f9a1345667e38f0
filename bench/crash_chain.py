"""A node of the kill -9 campaign as its checker asks it: by plain JSON-RPC and nothing of ours."""

import json
import urllib.request
from typing import Any

from tests.execution.fakes import SIGNER, TARGET


class Chain:
    """A node, asked by plain JSON-RPC."""

    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, method: str, *params: Any) -> Any:
        """Return the result.  Raises RuntimeError with the node's words."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        request = urllib.request.Request(
            self._url, body.encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            document = json.load(answer)
        if "error" in document:
            raise RuntimeError(f"{method}: {document['error']}")
        return document["result"]

    def mine(self) -> None:
        """Mine a block."""
        self.ask("anvil_mine", "0x1", "0x1")

    def block(self, tag: str) -> Any:
        """Return a block with the hashes of its transactions."""
        return self.ask("eth_getBlockByNumber", tag, False)  # noqa: FBT003 - the method's own

    def times(self, number: int) -> int:
        """How often an action ran."""
        return int(self.ask("eth_getStorageAt", TARGET, hex(number), "latest"), 16)

    def nonce(self, address: str = SIGNER.address) -> int:
        """How many of its transactions are mined."""
        return int(self.ask("eth_getTransactionCount", address, "latest"), 16)

    def pool(self, address: str) -> list[dict[str, Any]]:
        """What everybody can see of its transactions that are not mined."""
        there = self.ask("txpool_content")
        return [
            transaction
            for part in there.values()
            for sender, by_nonce in part.items()
            if sender.lower() == address
            for transaction in by_nonce.values()
        ]

    def reverted(self, address: str) -> int:
        """How many of its transactions are mined and reverted."""
        found = 0
        for number in range(int(self.ask("eth_blockNumber"), 16) + 1):
            for hash_ in self.block(hex(number))["transactions"]:
                receipt = self.ask("eth_getTransactionReceipt", hash_)
                ours = receipt["from"].lower() == address
                found += ours and int(receipt["status"], 16) == 0
        return found
