"""What can be configured by name.  A new protocol is one folder and one line here."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from keeper.model import Address, MarketId
from keeper.ports import LendingAdapter
from keeper.protocols.aave_v3.adapter import AaveV3

PROTOCOLS: Final[Mapping[str, Callable[[MarketId, Address], LendingAdapter[Any, Any]]]] = {
    "aave_v3": AaveV3,
}

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
