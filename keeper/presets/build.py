"""Make aave_v3.json out of Aave's address book: ``python -m keeper.presets.build BOOK.json[.gz]``.

The book is the package ``@aave-dao/aave-address-book`` (MIT) with each of its
TypeScript constants as one JSON object.  SOURCE.md says which version was used.  Only what
the chain cannot tell is kept: which chain, and where the market's address book starts.
"""

import gzip
import json
import re
import sys
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent

CHAIN_NAMES: Final = {
    1: "ethereum",
    10: "optimism",
    56: "bnb",
    100: "gnosis",
    137: "polygon",
    143: "monad",
    146: "sonic",
    196: "xlayer",
    324: "zksync",
    1088: "metis",
    1868: "soneium",
    4326: "megaeth",
    5000: "mantle",
    8453: "base",
    9745: "plasma",
    42161: "arbitrum",
    42220: "celo",
    43113: "fuji",
    43114: "avalanche",
    57073: "ink",
    59144: "linea",
    84532: "base_sepolia",
    421614: "arbitrum_sepolia",
    534352: "scroll",
    763373: "ink_sepolia",
    11155111: "sepolia",
    11155420: "optimism_sepolia",
}
"""As they stand in keeper.toml: ``[chains.ethereum]``, and in ``ETHEREUM_RPC_URL``."""

BLOCK_TIME_S: Final = {
    1: 12.0,
    10: 2.0,
    100: 5.0,
    137: 2.0,
    8453: 2.0,
    42161: 0.25,
    84532: 2.0,
    421614: 0.25,
    11155111: 12.0,
    11155420: 2.0,
}
"""Only where it is a constant of the protocol; elsewhere the default for unknown chains holds."""

MARKET_NAMES: Final = {
    "AaveV3EthereumEtherFi": "aave-v3-ethereum-etherfi",
    "AaveV3EthereumHorizon": "aave-v3-ethereum-horizon",
    "AaveV3EthereumLido": "aave-v3-ethereum-lido",
    "AaveV3BNB": "aave-v3-bnb",
    "AaveV3MegaEth": "aave-v3-megaeth",
    "AaveV3XLayer": "aave-v3-xlayer",
    "AaveV3ZkSync": "aave-v3-zksync",
    "AaveV3InkWhitelabel": "aave-v3-ink",
}
"""Where splitting the constant's name at its capitals would not give the name people use."""


def market_name(constant: str) -> str:
    """Return ``aave-v3-base-sepolia`` for ``AaveV3BaseSepolia``."""
    if constant in MARKET_NAMES:
        return MARKET_NAMES[constant]
    words = re.findall(r"[A-Z][a-z]+", constant.removeprefix("AaveV3"))
    return "-".join(("aave-v3", *(word.lower() for word in words)))


def presets(book: dict[str, Any], version: str) -> dict[str, Any]:
    """Return the document of aave_v3.json; the first market of a chain is its default.

    Raises KeyError for a chain that has no name in `CHAIN_NAMES` yet.
    """
    chains: dict[str, Any] = {}
    for constant, entry in sorted(book.items(), key=lambda item: (len(item[0]), item[0])):
        if not constant.startswith("AaveV3") or "POOL_ADDRESSES_PROVIDER" not in entry:
            continue
        chain_id = entry["CHAIN_ID"]
        chain = chains.setdefault(
            CHAIN_NAMES[chain_id],
            {"chain_id": chain_id, "block_time_s": BLOCK_TIME_S.get(chain_id), "markets": []},
        )
        chain["markets"].append(
            {
                "name": market_name(constant),
                "protocol": "aave_v3",
                "addresses_provider": entry["POOL_ADDRESSES_PROVIDER"].lower(),
                "pool": entry["POOL"].lower(),
            }
        )
    return {
        "source": f"@aave-dao/aave-address-book {version}",
        "licence": "MIT",
        "chains": dict(sorted(chains.items(), key=lambda item: item[1]["chain_id"])),
    }


def main() -> None:
    """Read the book named on the command line and write aave_v3.json beside this file."""
    book = Path(sys.argv[1])
    version = re.search(r"_(\d+\.\d+\.\d+)\.json", book.name)
    raw = gzip.decompress(book.read_bytes()) if book.suffix == ".gz" else book.read_bytes()
    document = presets(json.loads(raw), version.group(1) if version else "unknown")
    text = json.dumps(document, indent=1)
    (HERE / "aave_v3.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
