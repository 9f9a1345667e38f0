"""What can be configured by name.  A new protocol is one folder and one line here."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from keeper.execution.data_fee import DataFeeKind
from keeper.execution.exchange import Exchange
from keeper.model import Address, MarketId
from keeper.ports import LendingAdapter
from keeper.protocols.aave_v3.adapter import AaveV3

PROTOCOLS: Final[Mapping[str, Callable[[MarketId, Address], LendingAdapter[Any, Any]]]] = {
    "aave_v3": AaveV3,
}

HUBS: Final = ("WETH", "USDC", "USDT", "DAI", "WBTC")
"""Symbols of the tokens over which others are sold, as far as a market lists them."""

_EVERYWHERE: Final = Exchange(
    factory=Address("0x1f98431c8ad98523631ae4a59f267346ea31f984"),
    quoter=Address("0x61ffe014ba17989e743c5f6cb21bf9697530b21e"),
)
EXCHANGES: Final[Mapping[int, Exchange]] = {
    1: _EVERYWHERE,
    10: _EVERYWHERE,
    137: _EVERYWHERE,
    42161: _EVERYWHERE,
    8453: Exchange(
        factory=Address("0x33128a8fc17869897dce68ed026d694621f6fdfd"),
        quoter=Address("0x3d4e44eb1374240ce5f1b871ab261cd16335b76a"),
    ),
}
"""Uniswap v3 and its QuoterV2 by chain id.  Source: Uniswap's list of deployments."""

NATIVE: Final[Mapping[int, str]] = {
    56: "WBNB",
    100: "WXDAI",
    137: "WPOL",
    146: "wS",
    1088: "Metis",
    42220: "CELO",
    43114: "WAVAX",
}
"""Symbol of the wrapped native token by chain id, where it is not WETH: prices gas."""

DATA_FEES: Final[Mapping[int, DataFeeKind]] = {
    10: DataFeeKind.OP_STACK,
    130: DataFeeKind.OP_STACK,
    1868: DataFeeKind.OP_STACK,
    8453: DataFeeKind.OP_STACK,
    34443: DataFeeKind.OP_STACK,
    42161: DataFeeKind.ARBITRUM,
    42170: DataFeeKind.ARBITRUM,
    42220: DataFeeKind.OP_STACK,
    57073: DataFeeKind.OP_STACK,
    7777777: DataFeeKind.OP_STACK,
}
"""How rollups charge for data, by chain id; every other chain charges gas alone."""
