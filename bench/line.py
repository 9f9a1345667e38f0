"""One result as one JSON object on one line, and how a figure is taken.

A figure is the median of at least nine runs; its spread is the least and the greatest of them.
`ok` says that the figure was reached at the scale it is stated for: what was measured at a smaller
one is not ok, and says so in `context`.
"""

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

RUNS: Final = 9
"""The fewest runs a figure is the median of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One result."""

    id: str
    """As in the list of figures: ``R1``."""
    what: str
    value: float
    unit: str
    reach: str
    ok: bool
    runs: int
    spread: tuple[float, float]
    context: Mapping[str, Any] = field(default_factory=dict)

    def json(self) -> str:
        """One line; floats with six significant digits."""
        document = {
            "id": self.id,
            "what": self.what,
            "value": _short(self.value),
            "unit": self.unit,
            "reach": self.reach,
            "ok": self.ok,
            "runs": self.runs,
            "spread": [_short(end) for end in self.spread],
            "context": {key: _short(value) for key, value in self.context.items()} | machine(),
        }
        return json.dumps(document)

    def verdict(self) -> str:
        """One line for a person; the memory bandwidth stands beside what is measured against it."""
        said = "reached" if self.ok else "not reached"
        against = self.context.get("bandwidth_gb_s")
        beside = "" if against is None else f", memory {_short(against)} GB/s"
        return f"{self.id}: {_short(self.value)} {self.unit}{beside}; {self.reach}: {said}"


def times_s(
    work: Callable[[], object], runs: int = RUNS, *, warm: bool = True
) -> tuple[float, ...]:
    """How long `work` took, each of `runs` times; `warm`: after one that is not counted."""
    if warm:
        work()
    taken = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return tuple(taken)


def ratios(slow_s: Sequence[float], fast_s: Sequence[float]) -> tuple[float, ...]:
    """Run by run: how many times longer the slow one took."""
    return tuple(slow / fast for slow, fast in zip(slow_s, fast_s, strict=True))


def median(values: Iterable[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Least and greatest."""
    return min(values), max(values)


def say(text: str) -> None:
    """Progress, for a person: standard output holds results only."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def machine() -> dict[str, Any]:
    """What it ran on; the load is that of the last minute."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load_1m": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def _cpu() -> str:
    try:
        said = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    lines = (line for line in said.splitlines() if line.startswith("model name"))
    return next(lines, platform.machine()).partition(":")[2].strip() or platform.machine()


def _short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value
