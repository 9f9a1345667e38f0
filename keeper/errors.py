"""What can go wrong, by what the keeper does about it.

* KeeperError
  + ConfigError            the operator must act; the process does not start
  + Unavailable            what the start needs is not there now; a supervisor tries again
  + ObservationError       this block is not acted upon; try again on the next one
    - RpcError             a node did not answer, refused, or answered nonsense
    - BadAnswer            a contract or node answered something that cannot be true
      . BadHoldings        of one account: it is unknown, the others go on
  + ExecutionError         this intent is abandoned; the position stays watched
    - PolicyViolation      the signing policy does not allow the transaction
      . CapOfDay           all of a day together would take more than its cap
    - SimulationReverted   the transaction would fail
    - Unprofitable         what it would leave is not worth its gas
      . GasTooDear         gas is too dear for it, whichever way it is done
  + JournalError           the database cannot be trusted: nothing is signed
  + UnknownOutcome         nothing more is sent from this signer until it is resolved
  + DeliveryError          a message did not reach its channel; it stays in the outbox

Every message is one plain sentence that names the thing and, where a person can act, the remedy.
"""


class KeeperError(Exception):
    """Root of the tree: its text may be shown to a user as it is."""


class ConfigError(KeeperError):
    """The operator must act; the process does not start."""


class Unavailable(KeeperError):  # noqa: N818 - it reads as what it is
    """What the start needs is not there now and may be later; the process ends, to be restarted."""


class ObservationError(KeeperError):
    """This block is not acted upon; the next one may be."""


class RpcError(ObservationError):
    """A node did not answer, refused, or answered something that is not JSON-RPC."""

    def __init__(self, message: str, *, code: int | None = None, data: str | None = None) -> None:
        """Keep the node's own error code and data; both are hints, never state."""
        super().__init__(message)
        self.code = code
        self.data = data


class BadAnswer(ObservationError):  # noqa: N818 - it reads as what it is
    """A contract or node answered something that cannot be true."""


class BadHoldings(BadAnswer):
    """What one account holds cannot be; it is of unknown health, and the others go on."""

    def __init__(self, account: str, field: str, why: str) -> None:
        """Name the account and which of its fields it is."""
        super().__init__(f"{account}: {field} {why}.")
        self.account = account
        self.field = field


class ExecutionError(KeeperError):
    """This intent is abandoned; the position stays watched."""


class PolicyViolation(ExecutionError):  # noqa: N818 - named for what happened
    """The signing policy does not allow the transaction."""


class CapOfDay(PolicyViolation):
    """All of a day together would take more than its cap; so it is of all that come after it."""

    def __init__(self, message: str, *, cap: str, taken: int, most: int) -> None:
        """`cap`: which one; `taken` of `most`, before this transaction, in its own unit."""
        super().__init__(message)
        self.cap = cap
        self.taken = taken
        self.most = most


class SimulationReverted(ExecutionError):  # noqa: N818 - named for what happened
    """The transaction would revert; nothing was signed."""


class Unprofitable(ExecutionError):  # noqa: N818 - it reads as what it is
    """What is left after gas is below what the operator asks for."""


class GasTooDear(Unprofitable):
    """Gas takes all it would leave, or more than the caps allow, whichever way it is done."""


class JournalError(KeeperError):
    """The journal cannot be trusted: nothing is signed."""


class UnknownOutcome(KeeperError):  # noqa: N818 - named for what happened
    """Nothing more is sent from this signer until the outcome is known."""


class DeliveryError(KeeperError):
    """A message did not reach its channel; it stays in the outbox."""

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float | None = None,
        permanent: bool = False,
        maybe_taken: bool = False,
    ) -> None:
        """`retry_after_s`: the provider's own wish.  `permanent`: the chat will never take it.

        `maybe_taken`: the answer was lost on its way, so that people may have read it already.
        """
        super().__init__(message)
        self.maybe_taken = maybe_taken
        self.retry_after_s = retry_after_s
        self.permanent = permanent
