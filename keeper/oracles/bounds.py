"""Between which answers an aggregator answers at all.

Chainlink's off-chain reporting aggregators call them ``minAnswer`` and ``maxAnswer``, the older
FluxAggregator ``minSubmissionValue`` and ``maxSubmissionValue``.  An answer that sits on one says
where the aggregator stopped and not where the market is: LUNA stood at $0.107 while it traded at
$0.01.
"""

from collections.abc import Mapping
from typing import Final

from keeper.errors import BadAnswer
from keeper.model import Address, CallResult
from keeper.oracles.abi import call, decode_int
from keeper.ports import Steps

Bounds = tuple[int | None, int | None]
"""Least and greatest answer; None where the aggregator does not say."""

NO_BOUNDS: Final[Bounds] = (None, None)
GETTERS: Final = ("minAnswer", "maxAnswer", "minSubmissionValue", "maxSubmissionValue")


def read_bounds(aggregators: tuple[Address, ...]) -> Steps[Mapping[Address, Bounds]]:
    """Read the bounds of each aggregator in one batch; no aggregators, no batch."""
    if not aggregators:
        return {}
    results = yield tuple(call(a, getter) for a in aggregators for getter in GETTERS)
    said = [_said(result) for result in results]
    return {
        aggregator: (
            _either(said[4 * i], said[4 * i + 2]),
            _either(said[4 * i + 1], said[4 * i + 3]),
        )
        for i, aggregator in enumerate(aggregators)
    }


def _said(result: CallResult) -> int | None:
    try:
        return decode_int(result, "a bound")
    except BadAnswer:
        return None


def _either(first: int | None, second: int | None) -> int | None:
    return second if first is None else first
