"""Where a person looks an address or a transaction up.  Pure."""

from typing import Final

from keeper.model import Address, Hash

_EXPLORERS: Final = {
    1: "https://etherscan.io",
    10: "https://optimistic.etherscan.io",
    56: "https://bscscan.com",
    100: "https://gnosisscan.io",
    137: "https://polygonscan.com",
    146: "https://sonicscan.org",
    324: "https://era.zksync.network",
    1088: "https://explorer.metis.io",
    8453: "https://basescan.org",
    42161: "https://arbiscan.io",
    42220: "https://celoscan.io",
    43114: "https://snowscan.xyz",
    59144: "https://lineascan.build",
    534352: "https://scrollscan.com",
}


def account_link(chain_id: int, account: Address) -> str:
    """Return the account's page; empty for a chain without an explorer that we know."""
    site = _EXPLORERS.get(chain_id)
    return f"{site}/address/{account}" if site else ""


def transaction_link(chain_id: int, tx_hash: Hash) -> str:
    """Return the transaction's page; its bare hash for a chain without one."""
    site = _EXPLORERS.get(chain_id)
    return f"{site}/tx/{tx_hash}" if site else tx_hash
