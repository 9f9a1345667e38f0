"""Time-weighted prices of Uniswap v3 pools: what a swap cannot move in one block.

Source: Uniswap v3's published interfaces ``IUniswapV3Factory`` and ``IUniswapV3Pool``.  A pool
accumulates its tick by the second, and a tick of ``t`` is a price of ``1.0001**t`` raw units of
token1 per raw unit of token0 (whitepaper, section 5.2).  The price of the other token is the
protocol's own: what a pool tells is a ratio.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from itertools import product
from typing import Final

from keeper.errors import BadAnswer
from keeper.model import Address, Asset, Call, CallResult, Failed, Quote, Silent
from keeper.oracles.abi import clean, decode_uint
from keeper.ports import Steps
from keeper.units import Base

OBSERVE: Final = bytes.fromhex("883bdbfd")
GET_POOL: Final = bytes.fromhex("1698ee82")
FEES: Final = (100, 500, 3_000, 10_000)
TICK_BASE: Final = Decimal("1.0001")
MAX_TICK: Final = 887_272
PRECISION: Final = 60
"""Digits: 1.0001**887272 has 39 before the point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A pool in which `asset` is traded for `quote`."""

    address: Address
    asset: Asset
    quote: Asset
    fee: int
    """Millionths."""

    @property
    def asset_first(self) -> bool:
        """Whether `asset` is token0: the lower address is."""
        return int(self.asset.address, 16) < int(self.quote.address, 16)

    @property
    def name(self) -> str:
        """``Uniswap v3 WETH/USDC 0.05 %``."""
        asset, quote = clean(self.asset.symbol, 12), clean(self.quote.symbol, 12)
        return f"Uniswap v3 {asset}/{quote} {self.fee / 10_000:g} %"


def find_pools(
    factory: Address | None, assets: Sequence[Asset], quotes: Sequence[str]
) -> Steps[tuple[Pool, ...]]:
    """Return every pool of each of `assets` against those with a symbol in `quotes`."""
    others = [asset for asset in assets if asset.symbol in quotes]
    wanted = [(a, q, fee) for a, q, fee in product(assets, others, FEES) if a != q]
    if factory is None or not wanted:
        return ()
    results = yield tuple(
        Call(to=factory, data=GET_POOL + _word(a.address) + _word(q.address) + fee.to_bytes(32))
        for a, q, fee in wanted
    )
    found = []
    for (asset, quote, fee), result in zip(wanted, results, strict=True):
        try:
            at = decode_uint(result, "getPool()")
        except BadAnswer:
            continue
        if 0 < at < 2**160:
            pool = Address(f"0x{at:040x}")
            found.append(Pool(address=pool, asset=asset, quote=quote, fee=fee))
    return tuple(found)


def read_pools(pools: Sequence[Pool], window_s: int) -> Steps[tuple[CallResult, ...]]:
    """Read what each pool accumulated over the last `window_s` seconds; no pools, no batch."""
    if not pools:
        return ()
    data = OBSERVE + b"".join(n.to_bytes(32) for n in (32, 2, window_s, 0))
    results = yield tuple(Call(to=pool.address, data=data) for pool in pools)
    return results


def mean_tick(accumulated: tuple[int, int], window_s: int) -> int:
    """Return the mean tick between two accumulated ones, rounded towards minus infinity."""
    return (accumulated[1] - accumulated[0]) // window_s


def quote_of(pool: Pool, answer: CallResult, other: Base | None, window_s: int) -> Quote | Silent:
    """Return what one whole `pool.asset` was worth over the window, base units, floored.

    `other`: the price of one whole `pool.quote`.  Depth is the value of the pool's virtual
    reserve of the quote token at its mean liquidity in range: moving the price by a per cent costs
    about half a per cent of it.
    """
    if other is None or other <= 0:
        quote = clean(pool.quote.symbol, 12)
        return Silent(source=pool.name, reason=f"no price of the other token, {quote}")
    try:
        ticks, seconds = _observed(answer)
    except BadAnswer as error:
        return Silent(source=pool.name, reason=str(error))
    tick = mean_tick(ticks, window_s)
    passed = (seconds[1] - seconds[0]) % 2**160
    if abs(tick) > MAX_TICK or passed == 0:
        return Silent(source=pool.name, reason="it answers what no pool can have accumulated")
    liquidity = (window_s << 128) // passed
    with localcontext(prec=PRECISION):
        ratio = TICK_BASE**tick if pool.asset_first else TICK_BASE**-tick
        scale = Decimal(10) ** (pool.asset.decimals - pool.quote.decimals)
        price = int(ratio * scale * other)
        reserve = liquidity * ratio.sqrt()
        depth = int(reserve * other / Decimal(10) ** pool.quote.decimals)
    return Quote(source=pool.name, price=Base(price), depth=Base(depth))


def best_pools(
    said: Mapping[Pool, Quote | Silent], preferred: Sequence[str], min_depth: Base
) -> tuple[Pool, ...]:
    """Return one pool for each asset; all of an asset's where none answered.

    Of the pools that are deep enough the one whose quote token is `preferred` (symbols, best
    first: a stable one is not wrong whenever Ether is), and of those the deepest.
    """
    best: dict[Address, Pool] = {}
    merits: dict[Address, tuple[bool, int, int]] = {}
    for pool, quote in said.items():
        if not isinstance(quote, Quote):
            continue
        depth = quote.depth or 0
        merit = (depth >= min_depth, -preferred.index(pool.quote.symbol), depth)
        asset = pool.asset.address
        if asset not in best or merit > merits[asset]:
            best[asset], merits[asset] = pool, merit
    return tuple(pool for pool in said if best.get(pool.asset.address, pool) == pool)


def _observed(answer: CallResult) -> tuple[tuple[int, int], tuple[int, int]]:
    """Accumulated ticks, and accumulated seconds per liquidity (128 bits after the point)."""
    if isinstance(answer, Failed):
        raise BadAnswer("its history is shorter than the window")
    words = [answer.data[i : i + 32] for i in range(0, len(answer.data), 32)]
    numbers = [int.from_bytes(word, "big", signed=True) for word in words]
    if len(answer.data) != 256 or numbers[:3] != [64, 160, 2] or numbers[5] != 2:
        raise BadAnswer(f"observe() answered {len(answer.data)} bytes that are no observations")
    return (numbers[3], numbers[4]), (numbers[6], numbers[7])


def _word(address: Address) -> bytes:
    return bytes(12) + bytes.fromhex(address[2:])
