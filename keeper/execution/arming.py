"""Whether the key may be used at this moment, and if not, why.

Watch-only until `arm` is called with the chain's id echoed.  A fault or the kill switch disarms
for good: only a person arms again.  The switch is looked at on every head, so that one which is
taken back before anything was due is not overlooked.  Reverts in a row are counted from the journal
after a restart, so that a process that dies and is started again does not forgive them.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from keeper.errors import ConfigError
from keeper.execution.policy import SigningPolicy

log = structlog.get_logger()


REVERTS_S: Final = 3_600
"""How long a revert is held against the next ones."""


class Breaker:
    """Counts reverts in a row: each costs gas and says that what was simulated is not what is."""

    def __init__(self, most: int, judged_at: int = 0) -> None:
        """`judged_at`: what was decided before this chain second, a person has looked at."""
        self._most = most
        self._judged_at = judged_at
        self._at: list[int] = []
        """When each of them was decided, chain seconds."""

    def since(self, now: int) -> int:
        """Return the chain second before which nothing decided counts any more."""
        return max(now - REVERTS_S, self._judged_at)

    def recall(self, decided_at: Sequence[int]) -> str:
        """Take up what reverted in a row before a restart; return why not to send, or nothing."""
        self._at = list(decided_at)
        return self._verdict()

    def took(self, *, succeeded: bool, decided_at: int, now: int) -> str:
        """Count the outcome of what was decided at `decided_at`; return why to stop, or nothing."""
        if succeeded:
            self._at.clear()
            return ""
        since = self.since(now)
        self._at = [at for at in (*self._at, decided_at) if at >= since]
        return self._verdict()

    def _verdict(self) -> str:
        if len(self._at) < self._most:
            return ""
        return (
            f"{len(self._at)} transactions in a row reverted within {REVERTS_S // 60} minutes: look"
            " at them with `keeper actions`, then set signing.reverts_judged_at ="
            f" {max(self._at) + 1} and restart"
        )


class Arming:
    """Armed, never armed, or disarmed with a reason."""

    def __init__(self, policy: SigningPolicy, chain_id: int, kill_switch: Path | None) -> None:
        self._policy = policy
        self._chain_id = chain_id
        self._kill_switch = kill_switch
        self.armed = False
        self.disarmed_reason: str | None = None
        """Why it was disarmed after having been armed; None otherwise."""
        self._thrown = False
        """Whether the kill switch was seen on: for good, as long as the process lives."""

    def arm(self, chain_id: int) -> None:
        """Allow signatures, unless the kill switch is on.  `chain_id` is the operator's echo.

        Raises `ConfigError`.
        """
        if chain_id != self._chain_id:
            raise ConfigError(
                f"Arming names chain {chain_id}, this is chain {self._chain_id}: name that one."
            )
        if self._policy.empty or self._policy.chain_id != chain_id:
            raise ConfigError(
                f"The signing policy allows nothing on chain {chain_id}: list actions and caps."
            )
        if reason := self._killed():  # it watches and alerts all the same
            self.armed, self.disarmed_reason, self._thrown = False, reason, True
            log.error("executor.disarmed", chain_id=chain_id, reason=reason)
            return
        self.armed, self.disarmed_reason = True, None
        log.warning("executor.armed", chain_id=chain_id)

    def disarm(self, reason: str) -> None:
        """Forbid signatures and sends from now on; the first reason is kept."""
        if self.armed:
            self.armed, self.disarmed_reason = False, reason
            log.error("executor.disarmed", chain_id=self._chain_id, reason=reason)

    def heed_kill_switch(self) -> None:
        """Disarm if the kill switch is on: to take it back arms nothing.

        Over a pause too, which would else be taken back and forget it.
        """
        if self._thrown or not (self.armed or self.disarmed_reason):
            return
        if not (reason := self._killed()):
            return
        self._thrown = True
        if self.armed:
            self.disarm(reason)
            return
        self.disarmed_reason = f"{reason}; {self.disarmed_reason}"
        log.error("executor.disarmed", chain_id=self._chain_id, reason=self.disarmed_reason)

    def refusal(self) -> str:
        """Return why nothing may be signed or sent now, or an empty string.  Looks at the file."""
        self.heed_kill_switch()
        if self.armed:
            return ""
        return f"sending is disarmed: {self.disarmed_reason or 'it was never armed'}"

    def _killed(self) -> str:
        """Return why the kill switch is on; a file that cannot be looked for counts as there."""
        if self._kill_switch is None:
            return ""
        try:
            os.stat(self._kill_switch)  # noqa: PTH116 - Path.exists hides errors that count here
        except FileNotFoundError:
            return ""
        except OSError as error:
            return f"the kill switch {self._kill_switch} cannot be checked ({error.strerror})"
        return f"the kill switch {self._kill_switch} was thrown"
