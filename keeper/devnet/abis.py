"""Writes ``abis/`` from the published packages: interfaces only, never bytecode.

    python -m keeper.devnet.abis

The packages' versions are those of ``contracts/package-lock.json``.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from keeper.devnet.artifacts import Artifacts
from keeper.devnet.toolchain import ROOT, ensure

FOLDERS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "aave_v3/3.6": {
        "Pool": ("IPool",),
        "AToken": ("IAToken", "TestnetERC20"),
        "VariableDebtToken": ("IVariableDebtToken", "TestnetERC20"),
        "AaveOracle": ("IAaveOracle",),
        "PoolAddressesProvider": ("IPoolAddressesProvider",),
        "PoolConfigurator": ("IPoolConfigurator",),
        "ProtocolDataProvider": ("IPoolDataProvider",),
        "ACLManager": ("IACLManager",),
        "PriceOracleSentinel": ("IPriceOracleSentinel",),
        "Errors": ("Errors",),
    },
    "chainlink": {
        "EACAggregatorProxy": ("EACAggregatorProxy",),
        "FluxAggregator": ("FluxAggregator",),
    },
    "uniswap_v3": {
        "Factory": ("UniswapV3Factory",),
        "Pool": ("UniswapV3Pool",),
        "NonfungiblePositionManager": ("NonfungiblePositionManager",),
        "SwapRouter": ("SwapRouter",),
        "QuoterV2": ("QuoterV2",),
    },
}

_ERC20: Final = frozenset(
    {
        "allowance",
        "approve",
        "balanceOf",
        "decimals",
        "name",
        "symbol",
        "totalSupply",
        "transfer",
        "transferFrom",
        "Transfer",
        "Approval",
    }
)
"""What is taken of an ERC-20 that completes a token's interface."""

_REVISION: Final = {
    "type": "function",
    "name": "POOL_REVISION",
    "inputs": [],
    "outputs": [{"name": "", "type": "uint256", "internalType": "uint256"}],
    "stateMutability": "view",
}
"""A public constant of every deployed Pool that its interface does not name."""


def abi_document(artifacts: Artifacts, sources: tuple[str, ...]) -> str:
    """Return the merged ABI of `sources`, one entry a line, sorted: the same every time."""
    merged: dict[str, Mapping[str, Any]] = {}
    for name in sources:
        for entry in artifacts.get(name).abi:
            if name == "TestnetERC20" and entry.get("name") not in _ERC20:
                continue
            if entry["type"] != "constructor":
                merged.setdefault(_signature(entry), _bare(entry))
    if "IPool" in sources:
        merged.setdefault(_signature(_REVISION), _REVISION)
    lines = [json.dumps(merged[key], sort_keys=True) for key in sorted(merged)]
    return "[\n" + ",\n".join(lines) + "\n]\n"


def write(root: Path = ROOT) -> tuple[Path, ...]:
    """Write all files and return their paths."""
    artifacts = ensure().artifacts
    written = []
    for folder, files in FOLDERS.items():
        for name, sources in files.items():
            path = root / "abis" / folder / f"{name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(abi_document(artifacts, sources))
            written.append(path)
    return tuple(written)


def _signature(entry: Mapping[str, Any]) -> str:
    types = ",".join(_type(part) for part in entry.get("inputs", ()))
    return f"{entry['type']} {entry.get('name', '')}({types})"


def _type(part: Mapping[str, Any]) -> str:
    kind: str = part["type"]
    if not kind.startswith("tuple"):
        return kind
    return "(" + ",".join(_type(p) for p in part["components"]) + ")" + kind.removeprefix("tuple")


def _bare(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Without the gas estimates some compilers add."""
    return {key: value for key, value in entry.items() if key != "gas"}


if __name__ == "__main__":
    for file in write():
        print(file)  # noqa: T201 - a command's output
