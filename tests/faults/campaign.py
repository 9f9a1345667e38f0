"""What a campaign is: one row of the fault matrix, trials of it, and a bug it must catch."""

import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from tests.faults.rig import crashed, no_bug


@dataclass(slots=True)
class Trial:
    """One run of a scenario."""

    seed: str
    chance: random.Random
    violations: list[str] = field(default_factory=list)
    suffered: dict[str, int] = field(default_factory=dict)
    """What was done to it."""
    figures: dict[str, list[float]] = field(default_factory=dict)
    late: list[str] = field(default_factory=list)
    """Violations of a time bound: what a crowded machine can cause as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """One row.  `stage` is what trials share: a chain."""

    id: str
    what: str
    stage: str
    """``anvil`` or ``devnet``."""
    run: Callable[[Any, Trial], Awaitable[None]]
    bug: Callable[[], AbstractContextManager[None]]
    bug_is: str
    """What the planted bug does wrong, in words."""


@dataclass(slots=True)
class Result:
    """Some trials together."""

    trials: int = 0
    violations: list[str] = field(default_factory=list)
    """Those of time among them."""
    bad: list[int] = field(default_factory=list)
    """Numbers of the trials that had any."""
    late: list[int] = field(default_factory=list)
    """Those that had none but of time."""
    suffered: dict[str, int] = field(default_factory=dict)
    figures: dict[str, list[float]] = field(default_factory=dict)

    def add(self, trial: Trial, number: int) -> None:
        """Add one trial."""
        found = [*trial.violations, *trial.late]
        self.join(
            Result(
                trials=1,
                violations=[f"{trial.seed}: {violation}" for violation in found],
                bad=[number] if found else [],
                late=[number] if found and not trial.violations else [],
                suffered=trial.suffered,
                figures=trial.figures,
            )
        )

    def join(self, other: "Result") -> None:
        """Add what another one has."""
        self.trials += other.trials
        self.violations += other.violations
        self.bad += other.bad
        self.late += other.late
        for name, count in other.suffered.items():
            self.suffered[name] = self.suffered.get(name, 0) + count
        for name, values in other.figures.items():
            self.figures.setdefault(name, []).extend(values)


async def trials(campaign: Campaign, stage: Any, *, first: int, count: int) -> Result:
    """Run trials number `first` to ``first + count - 1``."""
    return await _run(campaign, stage, first, count, no_bug, until_caught=False)


async def with_the_bug(campaign: Campaign, stage: Any, *, first: int, most: int) -> Result:
    """Run trials with the planted bug until one finds it, `most` of them."""
    return await _run(campaign, stage, first, most, campaign.bug, until_caught=True)


async def _run(
    campaign: Campaign,
    stage: Any,
    first: int,
    count: int,
    bug: Callable[[], AbstractContextManager[None]],
    *,
    until_caught: bool,
) -> Result:
    result = Result()
    for number in range(first, first + count):
        seed = f"{campaign.id}:{number}"
        trial = Trial(seed=seed, chance=random.Random(seed))
        try:
            with bug():
                await campaign.run(stage, trial)
        except TimeoutError as error:
            trial.late.append(f"gave up waiting: {error}")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
            trial.violations.append(crashed(error))
        result.add(trial, number)
        if until_caught and result.violations:
            break
    return result
