"""What of a position is worth a row: everything of whom people watch or the keeper protects or acts
upon; of all others what is new.

Tens of thousands may be below 1 for days, each owing too little to be worth a transaction.  At each
block their health moves by a hair and they are refused for the same reason: a row of each a block
would take the pass longer than all the rest of it, and the disk a hundred million rows a day.  So
of them is kept the first, a move of a per cent, a change of reason, and one an hour, spread over
the hour.
"""

import re
from collections.abc import Container, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

from keeper.model import Act, Address, Assessed, Assessment, BlockRef, Decision, PositionId, Refuse

EVERY_S: Final = 3_600
MOVED: Final = 100
"""A hundredth."""
MOST_A_PASS: Final = 1_000
"""Rows of health, and of refusals, of whom nobody watches."""
_NUMBER: Final = re.compile(r"\d[\d.,]*")


@dataclass(frozen=True, slots=True)
class _Health:
    hour: int
    health_factor: int | None
    debt: int
    reason: str


@dataclass(frozen=True, slots=True)
class _Refused:
    hour: int
    gist: str
    """The reason without its numbers."""


@dataclass(slots=True)
class Standing:
    """Remembers what was kept last of each position; a restart costs one row each.

    What `worth_keeping` returned counts as kept once `kept` says so.
    """

    _health: dict[PositionId, _Health] = field(default_factory=dict)
    _refused: dict[PositionId, _Refused] = field(default_factory=dict)
    _next: tuple[dict[PositionId, _Health], dict[PositionId, _Refused]] = field(
        default_factory=lambda: ({}, {})
    )

    def forget(self) -> None:
        """Keep everything anew: what was kept is of blocks that are not canonical any more."""
        self._health, self._refused = {}, {}

    def worth_keeping(
        self,
        block: BlockRef,
        assessments: Iterable[Assessment],
        decisions: Iterable[Decision],
        *,
        watched: Mapping[str, AbstractSet[Address]],
        acted: Container[PositionId],
        carried: Container[PositionId] = (),
    ) -> tuple[tuple[Assessment, ...], tuple[Act | Refuse, ...]]:
        """Return what is worth a row of what `block`'s pass found and decided, in their order.

        `watched` by the name of each market that was read; `acted`: positions that something is
        on its way for, or ended.  Of markets that were not read, and of positions that were
        `carried` over, everything stays remembered.
        """
        health = {
            p: kept
            for p, kept in self._health.items()
            if p.market.name not in watched or p in carried
        }
        refused = {
            p: kept
            for p, kept in self._refused.items()
            if p.market.name not in watched or p in carried
        }
        self._next = (health, refused)
        history: list[Assessment] = []
        room = MOST_A_PASS
        for one in assessments:
            position = one.position
            now = _of(one, block)
            before = self._health.get(position)
            always = position in acted or position.account in watched.get(position.market.name, ())
            new = before is None or _moved(before, now)
            if always or (new and room):
                history.append(one)
                health[position] = now
                room -= not always
            elif before is not None:
                health[position] = before
        room = MOST_A_PASS
        worth: list[Act | Refuse] = []
        for decision in decisions:
            match decision:
                case Act():
                    worth.append(decision)
                case Refuse(position=position):
                    said = _Refused(_hour(position, block), _gist(decision.reason))
                    always = position.account in watched.get(position.market.name, ())
                    before_that = self._refused.get(position)
                    if always or (before_that != said and room):
                        worth.append(decision)
                        refused[position] = said
                        room -= not always
                    elif before_that is not None:
                        refused[position] = before_that
                case _:
                    pass
        return tuple(history), tuple(worth)

    def kept(self) -> None:
        """Note that what was returned last was written."""
        self._health, self._refused = self._next


def _of(one: Assessment, block: BlockRef) -> _Health:
    hour = _hour(one.position, block)
    if isinstance(one, Assessed):
        return _Health(hour, one.health_factor, one.debt, "")
    return _Health(hour, None, 0, _gist(one.reason))


def _hour(position: PositionId, block: BlockRef) -> int:
    """Return the hour that `block` is in, which begins at another second for each account."""
    return (block.timestamp + int(position.account[-8:], 16) % EVERY_S) // EVERY_S


def _gist(reason: str) -> str:
    """Return a reason without its numbers: how old a price is changes at each block."""
    return _NUMBER.sub("#", reason)


def _moved(before: _Health, now: _Health) -> bool:
    if before.hour != now.hour or before.reason != now.reason:
        return True
    if before.health_factor is None or now.health_factor is None:
        return before.health_factor is not now.health_factor
    return (
        abs(now.health_factor - before.health_factor) * MOVED > before.health_factor
        or abs(now.debt - before.debt) * MOVED > before.debt
    )
