"""Several reads as one: their first batches go out together, then their second ones."""

from typing import Any

from keeper.model import Call
from keeper.ports import Steps


def together(*steps: Steps[Any]) -> Steps[tuple[Any, ...]]:
    """Return what each of `steps` returns, in order.  The first that raises ends all."""
    done: dict[int, Any] = {}
    batches: dict[int, tuple[Call, ...]] = {}

    def advance(index: int, answers: Any) -> None:
        try:
            batches[index] = steps[index].send(answers)
        except StopIteration as end:
            done[index] = end.value

    for index in range(len(steps)):
        advance(index, None)
    while batches:
        asked, batches = batches, {}
        answers = yield tuple(call for batch in asked.values() for call in batch)
        start = 0
        for index, batch in asked.items():
            advance(index, answers[start : start + len(batch)])
            start += len(batch)
    return tuple(done[index] for index in range(len(steps)))
