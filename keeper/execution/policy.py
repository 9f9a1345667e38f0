"""What the key may sign.  Default deny: an empty policy refuses everything.  Pure.

Checked twice: on the plan before anything is journalled, with what was spent, and on the decoded
bytes right before each signature, bumps and cancellations included.

The caps of a day and the least balance are said here in words and kept a third time by the
transaction that claims, so that two processes with one key cannot both take what is left of them.
"""

from dataclasses import dataclass
from typing import Final

from keeper.alerts.render import native_symbol
from keeper.errors import CapOfDay, PolicyViolation
from keeper.execution.transaction import UnsignedTx, is_cancellation
from keeper.model import Address, Allowance, IntentKind, OpenPlan, Plan, Spent, Wallet
from keeper.strategies.text import coins, usd, usd_up
from keeper.units import Base, Rounding, Wei

APPROVE: Final = bytes.fromhex("095ea7b3")
"""approve(address,uint256)"""
DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Allowed:
    """It may be signed."""


@dataclass(frozen=True, slots=True)
class Denied:
    """It may not, and why: one sentence."""

    reason: str
    of_day: tuple[str, int, int] | None = None
    """The cap of a day that is in the way: which, what was taken of it before, and its most."""

    @property
    def error(self) -> PolicyViolation:
        """The same, to be raised."""
        if self.of_day is None:
            return PolicyViolation(self.reason)
        cap, taken, most = self.of_day
        return CapOfDay(self.reason, cap=cap, taken=taken, most=most)


Verdict = Allowed | Denied


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """One kind of action in one market."""

    market: str
    """`MarketId.name`."""
    kind: IntentKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One function of one contract of one chain."""

    chain_id: int
    to: Address
    selector: bytes
    """Four bytes; empty allows a call without calldata."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningPolicy:
    """Caps and allow-lists; every field's default refuses."""

    chain_id: int = 0
    """The chain that is armed; 0 is none."""
    permissions: tuple[Permission, ...] = ()
    targets: tuple[Target, ...] = ()
    max_spend: Base = Base(0)  # noqa: RUF009 - a NewType of int is immutable
    """Per transaction, of the keeper's own tokens, base units."""
    max_spend_per_day: Base = Base(0)  # noqa: RUF009 - a NewType of int is immutable
    max_gas_wei: Wei = Wei(0)  # noqa: RUF009 - a NewType of int is immutable
    """Per transaction: gas limit times maximum fee, and a rollup's data fee."""
    max_gas_per_day_wei: Wei = Wei(0)  # noqa: RUF009 - a NewType of int is immutable
    together_with: tuple[Address, ...] = ()
    """Other keys that share the caps of a day with this one."""
    min_balance_wei: Wei = Wei(0)  # noqa: RUF009 - a NewType of int is immutable
    """Left in the signer's account after the worst case of everything in flight."""

    @property
    def empty(self) -> bool:
        """Whether it can allow nothing at all."""
        return not (self.chain_id and self.permissions and self.targets and self.max_gas_wei)

    def allowance(self, since: int, *, balance_wei: Wei | None = None, nonce: int = 0) -> Allowance:
        """Return what all plans since `since` may take together: for the claim to reserve.

        `balance_wei`, `nonce`: of the signer, read at one block; None: its balance is not kept to.
        """
        wallet = None
        if balance_wei is not None:
            wallet = Wallet(balance_wei=balance_wei, nonce=nonce, least_wei=self.min_balance_wei)
        return Allowance(
            since=since,
            value=self.max_spend_per_day,
            gas_wei=self.max_gas_per_day_wei,
            together_with=self.together_with,
            wallet=wallet,
        )

    def check(  # noqa: PLR0911 - a list of refusals
        self, plan: Plan, spent: Spent, balance_wei: Wei, reserved_wei: Wei
    ) -> Verdict:
        """Judge a plan before it is journalled.

        `spent`: of the last 24 hours, open plans at their worst, this one not included.
        `balance_wei`: of the signer now; `reserved_wei`: gas that open plans may still take of it.
        """
        position = plan.intent.position
        gas_wei = plan.most_gas_wei
        if self.empty:
            return Denied("The signing policy is empty: it allows nothing.")
        if Permission(market=position.market.name, kind=plan.intent.kind) not in self.permissions:
            return Denied(
                f"The signing policy does not allow {plan.intent.kind} in {position.market}."
            )
        if position.market.chain_id != self.chain_id:
            return Denied(
                f"The signing policy is armed for chain {self.chain_id},"
                f" {position.market} is on chain {position.market.chain_id}."
            )
        if isinstance(denied := self._destination(self.chain_id, plan.to, plan.data), Denied):
            return denied
        if plan.value_wei:
            return Denied(
                f"The transaction would send {plan.value_wei} wei: the keeper sends none."
            )
        if isinstance(denied := self._caps(plan, spent), Denied):
            return denied
        left = balance_wei - reserved_wei - gas_wei
        if left < self.min_balance_wei:
            return Denied(
                f"The signer holds {self._coins(balance_wei)}, {self._coins_up(reserved_wei)} of it"
                f" reserved: with {self._coins_up(gas_wei)} for gas it would fall below the minimum"
                f" of {self._coins_up(self.min_balance_wei)}. Fund it."
            )
        return Allowed()

    def _caps(self, plan: Plan, spent: Spent) -> Verdict:
        """Judge what it takes alone, and with everything else of the day."""
        gas_wei = plan.most_gas_wei
        value, all_gas_wei = spent.value + plan.spends, spent.gas_wei + gas_wei
        over = f"{plan.intent.kind} of {plan.intent.position} is over a cap: "
        if plan.spends > self.max_spend:
            return Denied(
                f"{over}it would spend {usd_up(plan.spends)}; the cap per transaction is"
                f" {usd(self.max_spend)}."
            )
        if value > self.max_spend_per_day:
            return Denied(
                f"{over}it would bring the day's spending to {usd_up(Base(value))}; the cap is"
                f" {usd(self.max_spend_per_day)}.",
                ("spending", spent.value, self.max_spend_per_day),
            )
        if gas_wei > self.max_gas_wei:
            return Denied(
                f"{over}its gas may cost {self._coins_up(gas_wei)}; the cap per transaction is"
                f" {self._coins(self.max_gas_wei)}."
            )
        if all_gas_wei > self.max_gas_per_day_wei:
            return Denied(
                f"{over}it may bring the day's gas to {self._coins_up(all_gas_wei)}; the cap is"
                f" {self._coins(self.max_gas_per_day_wei)}.",
                ("gas", spent.gas_wei, self.max_gas_per_day_wei),
            )
        return Allowed()

    def check_final(  # noqa: C901, PLR0911 - a list of refusals
        self, payload: UnsignedTx, open_plan: OpenPlan
    ) -> Verdict:
        """Judge decoded bytes right before they are signed: this plan, its nonce and caps."""
        plan = open_plan.plan
        if self.empty:
            return Denied("The signing policy is empty: it allows nothing.")
        if payload.chain_id != self.chain_id:
            return Denied(
                f"The transaction is for chain {payload.chain_id}, armed is chain {self.chain_id}."
            )
        if payload.nonce != open_plan.nonce:
            return Denied(
                f"The transaction has nonce {payload.nonce}, the journal gave {open_plan.nonce}."
            )
        if payload.fees.max_fee_wei > plan.max_fee_wei:
            return Denied(
                f"The transaction offers {payload.fees.max_fee_wei} wei per gas, the plan allows"
                f" {plan.max_fee_wei}."
            )
        if payload.fees.priority_fee_wei > payload.fees.max_fee_wei:
            return Denied("The transaction's priority fee is above its maximum fee.")
        most_wei = payload.most_gas_wei + plan.data_fee_wei
        if most_wei > min(self.max_gas_wei, plan.most_gas_wei):
            return Denied(
                f"The transaction's gas may cost {self._coins_up(most_wei)}: over the cap."
            )
        if is_cancellation(payload, open_plan.signer):
            return Allowed()
        if (payload.to, payload.data, payload.value_wei, payload.gas_limit) != (
            plan.to,
            plan.data,
            plan.value_wei,
            plan.gas_limit,
        ):
            return Denied("The transaction is not the one that was planned.")
        if payload.value_wei:
            return Denied(
                f"The transaction would send {payload.value_wei} wei: the keeper sends none."
            )
        if plan.spends > self.max_spend:
            return Denied(
                f"It would spend {usd_up(plan.spends)}; the cap is {usd(self.max_spend)}."
            )
        return self._destination(payload.chain_id, payload.to, payload.data)

    def _coins(self, wei: int) -> str:
        """The chain's coin as a person reads it, rounded down."""
        return f"{coins(wei, Rounding.DOWN)} {native_symbol(self.chain_id)}"

    def _coins_up(self, wei: int) -> str:
        """The same rounded up: what is above a cap never reads as the cap itself."""
        return f"{coins(wei, Rounding.UP)} {native_symbol(self.chain_id)}"

    def _destination(self, chain_id: int, to: Address, data: bytes) -> Verdict:
        """Judge where it goes; an approval also by whom it lets spend."""
        selector = data[:4]
        if Target(chain_id=chain_id, to=to, selector=selector) not in self.targets:
            return Denied(
                f"0x{selector.hex()} of {to} on chain {chain_id} is not in the signing policy."
            )
        if selector == APPROVE:
            spender = Address("0x" + data[16:36].hex())
            if len(data) != 68 or any(data[4:16]):
                return Denied(f"An approval of {to} is malformed.")
            if all((t.chain_id, t.to) != (chain_id, spender) for t in self.targets):
                return Denied(
                    f"{spender} would be let to spend {to} but is not in the signing policy."
                )
        return Allowed()
