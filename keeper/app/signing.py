"""The configured key, and the executor that may use it as far as the settings arm its chain."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from keeper.app.chain import OpenChain
from keeper.app.hands import flash_of, policy_of, pricing_of
from keeper.app.registry import DATA_FEES
from keeper.chain.urls import check_url, redact
from keeper.errors import ConfigError
from keeper.execution.data_fee import DataFeeKind
from keeper.execution.deleveraging import Permits
from keeper.execution.executor import TxExecutor
from keeper.execution.pair import LIQUIDATING, PairedExecutor
from keeper.execution.planning import ExecutionSettings
from keeper.execution.policy import Permission, SigningPolicy, Target
from keeper.execution.progress import ProgressRules
from keeper.execution.remote import RemoteSigner
from keeper.execution.sending import Failpoint, PrivateRoute, no_failpoint
from keeper.execution.signer import KeystoreSigner, Signer
from keeper.execution.tracking import OnSettled
from keeper.model import Address, IntentKind
from keeper.settings import Chain, Settings
from keeper.store.journal import SqlJournal
from keeper.units import Bps


async def signer_for(settings: Settings, chain: Chain) -> Signer | None:
    """Return the configured key, or None.  Raises ConfigError for one that cannot be used."""
    signing = settings.signing
    if signing.keystore is not None and signing.passphrase_file is not None:
        return await KeystoreSigner.open(signing.keystore, signing.passphrase_file, chain.chain_id)
    if signing.private_key is not None:
        return KeystoreSigner.plain(signing.private_key.get_secret_value(), chain.chain_id)
    if signing.remote_url is not None and signing.remote_address is not None:
        url = check_url(signing.remote_url.get_secret_value())
        return RemoteSigner(
            url,
            signing.remote_address,
            way=signing.remote_method,
            public_key=signing.remote_public_key,
            shown=f"the remote signer {redact(url)}",
        )
    return None


async def liquidating_signer_for(settings: Settings, chain: Chain) -> Signer | None:
    """Return the key of its own that liquidates, or None: then one key does everything.

    Raises ConfigError for one that cannot be used.
    """
    signing = settings.signing
    path, phrase = signing.liquidate_keystore, signing.liquidate_passphrase_file
    if path is not None and phrase is not None:
        return await KeystoreSigner.open(path, phrase, chain.chain_id)
    if signing.liquidate_private_key is not None:
        key = signing.liquidate_private_key.get_secret_value()
        return KeystoreSigner.plain(key, chain.chain_id)
    return None


def owner_of(settings: Settings, signer: Signer | None) -> Address | None:
    """Return whose account is acted from, or rehearsed with; None where nothing is."""
    return settings.signing.rehearse_as if signer is None else signer.address


def data_fee_of(chain: Chain) -> DataFeeKind:
    """Return how the chain charges for data."""
    if chain.data_fee == "auto":
        return DATA_FEES.get(chain.chain_id, DataFeeKind.NONE)
    return DataFeeKind(chain.data_fee)


def private_of(chain: OpenChain) -> PrivateRoute | None:
    """Return what goes to the chain's relay; None without one."""
    if chain.relay is None:
        return None
    return PrivateRoute(
        relay=chain.relay,
        kinds=frozenset(IntentKind(kind) for kind in chain.config.relay_kinds),
        public_after=chain.config.relay_public_after_blocks,
    )


def executor_for(
    settings: Settings,
    chain: OpenChain,
    *,
    journal: SqlJournal,
    signer: Signer | None,
    on_settled: OnSettled,
    liquidating: Signer | None = None,
    needs: Sequence[tuple[Permission, Target]] = (),
    failpoint: Failpoint = no_failpoint,
    permits: Permits | None = None,
) -> TxExecutor | PairedExecutor:
    """Return the chain's executor, armed if the settings arm this chain.

    `liquidating`: a key of its own for liquidations; its balances are not looked at, so that it
    can only spend borrowed money.  `needs`: what a command asked for by name may sign besides,
    where the chain is armed.  `permits`: what borrowers signed.  Raises ConfigError.
    """
    build = partial(
        _executor,
        settings,
        chain,
        journal=journal,
        on_settled=on_settled,
        needs=needs,
        failpoint=failpoint,
        permits=permits,
    )
    if liquidating is None:
        return build(signer=signer, kinds=frozenset(IntentKind))
    if signer is None or signer.address == liquidating.address:
        raise ConfigError("signing: the liquidating key needs another one besides it, to protect.")
    if settings.liquidate.enabled and chain.config.liquidator is None and not needs:
        raise ConfigError(
            f"{chain.config.name}: a liquidating key of its own spends borrowed money only: deploy "
            "a liquidator with `keeper deploy-liquidator` and name it, or use one key."
        )
    return PairedExecutor(
        protecting=build(
            signer=signer, kinds=frozenset(IntentKind) - LIQUIDATING, other=liquidating.address
        ),
        liquidating=build(signer=liquidating, kinds=LIQUIDATING, other=signer.address),
    )


def _executor(
    settings: Settings,
    chain: OpenChain,
    *,
    journal: SqlJournal,
    signer: Signer | None,
    on_settled: OnSettled,
    needs: Sequence[tuple[Permission, Target]],
    kinds: frozenset[IntentKind],
    failpoint: Failpoint,
    permits: Permits | None,
    other: Address | None = None,
) -> TxExecutor:
    """`other`: the keeper's other key, where it has two."""
    policy = policy_of(settings, chain.config, chain.markets, kinds)
    if other is not None:
        policy = shared_caps(policy, settings, other, kinds)
    needs = [(permission, target) for permission, target in needs if permission.kind in kinds]
    if needs and settings.signing.armed(chain.config.chain_id):
        policy = replace(
            policy,
            permissions=(*policy.permissions, *(permission for permission, _ in needs)),
            targets=(*policy.targets, *(target for _, target in needs)),
        )
    executor = TxExecutor(
        node=chain.rpc,
        journal=journal,
        signer=signer,
        policy=policy,
        chain_id=chain.config.chain_id,
        pricing=pricing_of(chain.config, chain.markets),
        on_settled=on_settled,
        settings=ExecutionSettings(
            progress=ProgressRules(confirmations=chain.config.confirmations),
            adopt_nonce=settings.signing.liquidate_adopt_nonce
            if kinds == LIQUIDATING
            else settings.signing.adopt_nonce,
            adopted_by="liquidate_adopt_nonce" if kinds == LIQUIDATING else "adopt_nonce",
            protect_share=Bps(settings.signing.protect_gas_share_bps),
            liquidate_share=Bps(settings.liquidate.gas_share_bps),
            bid_share=Bps(settings.liquidate.bid_share_bps),
            most_reverts=settings.signing.max_reverts,
            reverts_judged_at=settings.signing.reverts_judged_at,
            floor=settings.liquidate.min_profit_usd,
            most_gas_wei=settings.signing.max_gas_per_tx_eth or None,
            data_fee=data_fee_of(chain.config),
        ),
        rehearse_as=settings.signing.rehearse_as,
        kill_switch=settings.signing.kill_switch_file,
        flash=flash_of(
            settings,
            chain.config,
            chain.markets,
            chain.rpc,
            permits=permits,
            sources=chain.aggregators,
        ),
        private=private_of(chain),
        failpoint=failpoint,
    )
    # a key whose policy allows nothing has nothing to be armed for
    if settings.signing.armed(chain.config.chain_id) and not (
        policy.empty and kinds != frozenset(IntentKind)
    ):
        executor.arm(chain.config.chain_id)
    return executor


def shared_caps(
    policy: SigningPolicy, settings: Settings, other: Address, kinds: frozenset[IntentKind]
) -> SigningPolicy:
    """Return the policy of one of two keys: what a day may cost holds for both together.

    Unless the liquidating key has a cap for itself: it spends nothing but gas.
    """
    own = settings.signing.liquidate_max_gas_per_day_eth
    if not own:
        return replace(policy, together_with=(other,))
    return replace(policy, max_gas_per_day_wei=own) if kinds == LIQUIDATING else policy
