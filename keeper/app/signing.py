"""The configured key, and the executor that may use it as far as the settings arm its chain."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from keeper.app.chain import OpenChain
from keeper.app.hands import flash_of, policy_of, pricing_of
from keeper.app.registry import DATA_FEES
from keeper.chain.urls import check_url, redact
from keeper.execution.data_fee import DataFeeKind
from keeper.execution.executor import TxExecutor
from keeper.execution.planning import ExecutionSettings
from keeper.execution.policy import Permission, Target
from keeper.execution.progress import ProgressRules
from keeper.execution.remote import RemoteSigner
from keeper.execution.sending import PrivateRoute
from keeper.execution.signer import KeystoreSigner, Signer
from keeper.model import Address, AuditEvent, IntentKind, Message, Outcome
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
    on_settled: Callable[[Outcome], tuple[Sequence[Message], Sequence[AuditEvent]]],
    needs: Sequence[tuple[Permission, Target]] = (),
) -> TxExecutor:
    """Return the chain's executor, armed if the settings arm this chain.

    `needs`: what a command asked for by name may sign besides, where the chain is armed.
    """
    policy = policy_of(settings, chain.config, chain.markets)
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
            adopt_nonce=settings.signing.adopt_nonce,
            protect_share=Bps(settings.signing.protect_gas_share_bps),
            liquidate_share=Bps(settings.liquidate.gas_share_bps),
            bid_share=Bps(settings.liquidate.bid_share_bps),
            most_reverts=settings.signing.max_reverts,
            floor=settings.liquidate.min_profit_usd,
            data_fee=data_fee_of(chain.config),
        ),
        rehearse_as=settings.signing.rehearse_as,
        kill_switch=settings.signing.kill_switch_file,
        flash=flash_of(settings, chain.config, chain.markets, chain.rpc),
        private=private_of(chain),
    )
    if settings.signing.armed(chain.config.chain_id):
        executor.arm(chain.config.chain_id)
    return executor
