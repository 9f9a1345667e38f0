"""How far history has been read: a bar on a terminal, log lines elsewhere; on standard error."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keeper.engine.coverage import Progress

LOG_EVERY_S = 10.0
SHORT_BLOCKS = 5_000
"""Less than this is read in a moment: no bar for it."""

Told = Callable[["Progress"], None]


@contextmanager
def shown_progress(*, logging_again: Callable[[], None] | None = None) -> Iterator[Told]:
    """Give a callback for `Progress` that shows it.

    `logging_again`: sets up the log once more, so that its lines go above the bar while it is
    there, and to standard error proper afterwards.
    """
    if not sys.stderr.isatty():
        yield _logged()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar

    bar = Bar(
        TextColumn("history of {task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %  block {task.completed:,.0f}"),
        TextColumn("{task.fields[borrowers]:,} borrowers"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    tasks: dict[str, TaskID] = {}

    def tell(progress: "Progress") -> None:
        name = progress.market.name
        if name not in tasks:
            if progress.to_block - progress.from_block < SHORT_BLOCKS:
                return
            if not tasks:
                bar.start()
                if logging_again is not None:
                    logging_again()
            tasks[name] = bar.add_task(name, total=None, borrowers=0)
        bar.update(
            tasks[name],
            total=max(1, progress.to_block - progress.from_block + 1),
            completed=progress.done_block - progress.from_block + 1,
            borrowers=progress.borrowers,
        )
        if all(task.finished for task in bar.tasks):
            bar.stop()
            if logging_again is not None:
                logging_again()

    try:
        yield tell
    finally:
        bar.stop()


def _logged() -> Told:
    """Say it every ten seconds, and at the end of what was not read in a moment."""
    import structlog

    log = structlog.get_logger(__name__)
    logging.getLogger(__name__).setLevel(logging.INFO)
    said_at: dict[str, float] = {}
    said: set[str] = set()

    def tell(progress: "Progress") -> None:
        name, now = progress.market.name, time.monotonic()
        due = now - said_at.setdefault(name, now) >= LOG_EVERY_S
        long = name in said or progress.to_block - progress.from_block >= SHORT_BLOCKS
        if not due and not (progress.complete and long):
            return
        said_at[name] = now
        said.add(name)
        log.info(
            "history.read",
            market=name,
            percent=int(progress.fraction * 100),
            block=progress.done_block,
            to_block=progress.to_block,
            borrowers=progress.borrowers,
            resumed=progress.resumed,
        )

    return tell
