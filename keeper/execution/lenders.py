"""Who funds which kind of intent."""

from collections.abc import Collection, Mapping
from typing import Any, Final, Protocol, runtime_checkable

from keeper.errors import ExecutionError
from keeper.execution.flash import Funded
from keeper.execution.rivals import Refused
from keeper.execution.routes import Sale
from keeper.model import Address, BlockRef, Intent, IntentKind
from keeper.ports import MarketView
from keeper.units import Base, Wei

REMEMBERED: Final = 1_000
"""Intents between their funding and their sending: far more than are ever made ready at once."""


class Lender(Protocol):
    """Finds the money for an intent that borrows."""

    async def fund(
        self,
        intent: Intent,
        view: MarketView,
        *,
        pool: Address,
        sender: Address,
        in_flight: Collection[str],
        price_wei: Wei,
        native_price: Base | None,
        deadline: int,
    ) -> Funded:
        """Find the sale, bound it, pack the order.  Raises `ExecutionError` with the numbers."""
        ...

    def took(self, intent_id: str, block: BlockRef, sale: Sale) -> None:
        """Note a sale that is on its way."""
        ...

    def left(self, intent_id: str) -> None:
        """Forget a sale that was noted and will not be: later ones find the pools without it."""
        ...


@runtime_checkable
class Rivalled(Protocol):
    """A lender that may ask others for the sale as well."""

    def has_rivals(self, kind: IntentKind) -> bool:
        """Tell whether anybody else is asked for such an intent's sale."""
        ...

    async def rivals(
        self,
        intent: Intent,
        view: MarketView,
        *,
        first: Funded | None,
        pool: Address,
        sender: Address,
        price_wei: Wei,
        native_price: Base | None,
        deadline: int,
    ) -> tuple[Funded | Refused, ...]:
        """Return the same with the sale that each of them offers, or why nothing came of it."""
        ...

    def may_answer(self, kind: IntentKind, block: BlockRef) -> bool:
        """Whether whoever is asked about such an intent from now on can still be waited for."""
        ...

    def ask_again(self, block: BlockRef) -> None:
        """Let those be waited for once more who are asked at `block` from now on."""
        ...

    def mined(self, kind: IntentKind, source: str, *, succeeded: bool) -> None:
        """Note what became of a sale of such an intent that `source` offered."""
        ...


class Lenders:
    """One lender for each kind; itself a lender."""

    def __init__(self, by_kind: Mapping[IntentKind, Lender]) -> None:
        self._by_kind = by_kind
        self._funded: dict[str, Lender] = {}

    async def fund(self, intent: Intent, view: MarketView, **how: Any) -> Funded:
        """Ask the kind's lender.  Raises `ExecutionError` where there is none."""
        lender = self._by_kind.get(intent.kind)
        if lender is None:
            raise ExecutionError(
                f"It needs borrowed money, and no contract for a {intent.kind} is configured."
            )
        funded = await lender.fund(intent, view, **how)
        self._funded[intent.intent_id] = lender
        while len(self._funded) > REMEMBERED:
            del self._funded[next(iter(self._funded))]
        return funded

    def has_rivals(self, kind: IntentKind) -> bool:
        """Ask the kind's lender."""
        lender = self._by_kind.get(kind)
        return isinstance(lender, Rivalled) and lender.has_rivals(kind)

    async def rivals(
        self, intent: Intent, view: MarketView, **how: Any
    ) -> tuple[Funded | Refused, ...]:
        """Ask the kind's lender; nothing where it asks nobody else."""
        lender = self._by_kind.get(intent.kind)
        return await lender.rivals(intent, view, **how) if isinstance(lender, Rivalled) else ()

    def may_answer(self, kind: IntentKind, block: BlockRef) -> bool:
        """Ask the kind's lender."""
        lender = self._by_kind.get(kind)
        return isinstance(lender, Rivalled) and lender.may_answer(kind, block)

    def ask_again(self, block: BlockRef) -> None:
        """Tell every lender."""
        for lender in self._by_kind.values():
            if isinstance(lender, Rivalled):
                lender.ask_again(block)

    def mined(self, kind: IntentKind, source: str, *, succeeded: bool) -> None:
        """Tell the kind's lender."""
        lender = self._by_kind.get(kind)
        if isinstance(lender, Rivalled):
            lender.mined(kind, source, succeeded=succeeded)

    def took(self, intent_id: str, block: BlockRef, sale: Sale) -> None:
        """Tell the lender that funded it."""
        if (lender := self._funded.get(intent_id)) is not None:
            lender.took(intent_id, block, sale)

    def left(self, intent_id: str) -> None:
        """Tell the lender that funded it."""
        if (lender := self._funded.get(intent_id)) is not None:
            lender.left(intent_id)
