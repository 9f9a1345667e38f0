"""What may be done with money, by which key and within which caps."""

from pathlib import Path
from typing import Literal, Self

from pydantic import (
    Field,
    model_validator,
)

from keeper.settings.section import Section
from keeper.settings.values import (
    Addresses,
    AddressValue,
    EthValue,
    Ids,
    Names,
    OptionalAddress,
    OptionalInt,
    OptionalPath,
    OptionalSecret,
    UsdValue,
    WadValue,
)
from keeper.units import WAD, Base, Wei

STRATEGIES = ("top_up", "repay", "deleverage", "alert")
"""What `protect.strategy` may name."""


class Protect(Section):
    """One account whose health factor the keeper raises, from the keeper's own funds or, as far as
    the account allowed it, by selling some of its collateral."""

    account: AddressValue = Field(description="The account.")
    strategy: Names = Field(
        ("top_up",),
        description="In order, the first that reaches the target does: top_up and repay from the "
        "keeper's own account, deleverage by selling the account's collateral, alert only tells. "
        'Several are a list such as ["top_up", "repay"].',
    )
    below: WadValue = Field(description="Act when the health factor is below this.")
    target: WadValue = Field(description="Bring it back to this.")
    max_per_tx_usd: UsdValue = Field(
        description="The most one transaction may spend, or of a debt repay by deleveraging."
    )
    markets: Names = Field((), description="Only in these markets; all when left out.")
    assets: Names = Field((), description="Only with these symbols or addresses, best first.")
    sell: Names = Field(
        (), description="Deleveraging sells only these symbols or addresses; any when left out."
    )
    max_cost_bps: int = Field(
        100,
        ge=0,
        lt=5_000,
        description="Deleveraging sells at most this much more than it repays, by the market's own "
        "prices, in hundredths of a percent.",
    )

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        for name in self.strategy:
            if name not in STRATEGIES:
                raise ValueError(f"strategy must be {' or '.join(STRATEGIES)}, not {name!r}")
        if not self.strategy:
            raise ValueError(f"strategy must be one or more of {', '.join(STRATEGIES)}")
        if self.below <= WAD:
            raise ValueError("below must be above 1: at 1 the account can be liquidated already")
        if self.target <= self.below:
            raise ValueError("target must be above below, or it would act without end")
        if "deleverage" in self.strategy and self.target < self.below + WAD // 100:
            raise ValueError("target must be 0.01 above below, or a sale would not be worth it")
        return self


class Liquidate(Section):
    """Liquidating borrowers whose health factor is below 1, from the keeper's own funds or, with a
    liquidator contract on the chain, with borrowed money."""

    enabled: bool = Field(default=False, description="Whether borrowers are liquidated at all.")
    min_profit_usd: UsdValue = Field(
        Base(5 * 10**8), description="The least profit at oracle prices, after gas."
    )
    max_debt_usd: UsdValue = Field(
        Base(10_000 * 10**8), description="The most debt one liquidation may cover."
    )
    markets: Names = Field((), description="Only in these markets; all when left out.")
    denied_assets: Addresses = Field((), description="Tokens that are never received or paid with.")
    max_slippage_bps: int = Field(
        100,
        ge=0,
        lt=10_000,
        description="How much less than quoted the sale of what is seized may bring, in hundredths "
        "of a percent.",
    )
    max_per_transaction: int = Field(
        5,
        ge=1,
        le=10,
        description="The most accounts that one transaction of the liquidator contract liquidates, "
        "each by itself; 1: a transaction each.  The first of a block always goes alone.",
    )
    bid_share_bps: int = Field(
        0,
        ge=0,
        le=9_000,
        description="Of the profit above min_profit_usd, in hundredths of a percent: offered as "
        "priority fee, so that the block's builder takes this liquidation and not another's.",
    )
    gas_share_bps: int = Field(
        8_000,
        gt=0,
        le=10_000,
        description="The most of the expected profit that gas may cost, bids and fee rises "
        "included, in hundredths of a percent.",
    )
    profit_to: OptionalAddress = Field(
        None,
        description="Owner of the liquidator contract, who gets its profits; the key's own account "
        "by default.",
    )


RemoteMethod = Literal["eth_signTransaction", "eth1_sign"]


class Signing(Section):
    """The key and what it may sign; nothing is signed unless a chain is armed here."""

    armed_chain_ids: Ids = Field(
        (), description="Ids of the chains on which transactions are sent; none by default."
    )
    keystore: OptionalPath = Field(None, description="Encrypted keystore (version 3) of the key.")
    passphrase_file: OptionalPath = Field(None, description="File that holds its passphrase.")
    private_key: OptionalSecret = Field(
        None, description="A key in plain text: only on the development chain, id 31337."
    )
    liquidate_keystore: OptionalPath = Field(
        None,
        description="A keystore of its own for liquidations by flash loan, so that the key above "
        "only protects.",
    )
    liquidate_passphrase_file: OptionalPath = Field(
        None, description="File that holds its passphrase."
    )
    liquidate_private_key: OptionalSecret = Field(
        None, description="The same in plain text: only on the development chain, id 31337."
    )
    remote_url: OptionalSecret = Field(
        None, description="A remote signer (web3signer) that keeps the key instead."
    )
    remote_address: OptionalAddress = Field(None, description="The address of its key.")
    remote_method: RemoteMethod = Field(
        "eth_signTransaction",
        description="How it is asked: eth_signTransaction, or eth1_sign (api/v1/eth1/sign).",
    )
    remote_public_key: str = Field(
        "", description="What eth1_sign knows the key by: its public key in hex."
    )
    max_per_tx_usd: UsdValue = Field(
        Base(0), description="The most value one transaction may move; 0 allows none."
    )
    max_per_day_usd: UsdValue = Field(
        Base(0),
        description="The most value all transactions of 24 hours may move, of all keys and on all "
        "chains of this database together.",
    )
    max_gas_per_tx_eth: EthValue = Field(
        Wei(0), description="The most one transaction may pay for gas, in the chain's coin."
    )
    max_gas_per_day_eth: EthValue = Field(
        Wei(0),
        description="The most all transactions of 24 hours may pay for gas on each chain, of both "
        "keys together.",
    )
    liquidate_max_gas_per_day_eth: EthValue = Field(
        Wei(0),
        description="Where set, the liquidating key pays within this for itself, and the cap above "
        "is left to the key that protects.",
    )
    min_gas_balance_eth: EthValue = Field(
        Wei(10**16), description="Below this balance of the chain's coin an alarm is raised."
    )
    max_reverts: int = Field(
        5,
        ge=1,
        description="Transactions that may revert in a row within an hour; the last one disarms.",
    )
    reverts_judged_at: int = Field(
        0,
        ge=0,
        lt=2**63,
        description="You looked at the reverts of what was decided before this instant, in seconds "
        "since 1970; see executor.disarmed.",
    )
    protect_gas_share_bps: int = Field(
        5_000,
        gt=0,
        le=10_000,
        description="The most that gas of a protection may cost, of what a liquidation would cost "
        "the account's owner, in hundredths of a percent.",
    )
    rehearse_as: OptionalAddress = Field(
        None,
        description="Without a key: whose balances and allowances are taken for the keeper's when "
        "it rehearses what it would do.",
    )
    adopt_nonce: OptionalInt = Field(
        None,
        description="You vouch for the key's transactions below this nonce; see executor.disarmed.",
    )
    liquidate_adopt_nonce: OptionalInt = Field(
        None, ge=0, description="The same for the liquidating key."
    )
    kill_switch_file: Path = Field(
        Path("keeper.stop"), description="While this file exists nothing is signed."
    )

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if self.keystore is not None and self.private_key is not None:
            raise ValueError("has both keystore and private_key: keep one")
        if self.remote_url is not None:
            if self.keystore is not None or self.private_key is not None:
                raise ValueError("has a remote signer and a key of its own: keep one")
            if self.remote_address is None:
                raise ValueError("has remote_url but no remote_address: name the key's address")
            if self.remote_method == "eth1_sign" and not self.remote_public_key:
                raise ValueError("remote_method eth1_sign needs remote_public_key")
        return self

    @model_validator(mode="after")
    def _two_keys(self) -> Self:
        if self.liquidate_keystore is not None and self.liquidate_private_key is not None:
            raise ValueError("has both liquidate_keystore and liquidate_private_key: keep one")
        if (self.liquidate_keystore is None) != (self.liquidate_passphrase_file is None):
            raise ValueError("needs liquidate_keystore and liquidate_passphrase_file together")
        second = self.liquidate_keystore or self.liquidate_private_key
        if second and not (self.keystore or self.private_key or self.remote_url):
            raise ValueError("has a key for liquidations only: name it as the only key instead")
        return self

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.armed_chain_ids:
            return self
        if self.keystore is None and self.private_key is None and self.remote_url is None:
            raise ValueError(
                "arms a chain but names no key: set keystore and passphrase_file, "
                "or leave armed_chain_ids empty to watch only"
            )
        if self.keystore is not None and self.passphrase_file is None:
            raise ValueError("has a keystore but no passphrase_file")
        caps = ("max_per_tx_usd", "max_per_day_usd", "max_gas_per_tx_eth", "max_gas_per_day_eth")
        unset = [name for name in caps if not getattr(self, name)]
        if unset:
            raise ValueError(f"arms a chain without a policy: {', '.join(unset)} must be above 0")
        if self.max_per_day_usd < self.max_per_tx_usd:
            raise ValueError("max_per_day_usd is less than max_per_tx_usd")
        if self.max_gas_per_day_eth < self.max_gas_per_tx_eth:
            raise ValueError("max_gas_per_day_eth is less than max_gas_per_tx_eth")
        return self

    def armed(self, chain_id: int) -> bool:
        """Whether transactions may be sent on this chain at all."""
        return chain_id in self.armed_chain_ids
