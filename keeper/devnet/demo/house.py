"""The keeper of the story, set up as an operator would: a keystore, a keeper.toml, approvals."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from keeper.app.act import carry_out, plan_approval
from keeper.app.chain import open_chain
from keeper.app.deploy import plan_deployment
from keeper.devnet.deployment import Deployment
from keeper.devnet.network import Devnet
from keeper.errors import ExecutionError
from keeper.execution.keystore import create_keystore
from keeper.model import Address, Submitted
from keeper.settings import Settings, load
from keeper.store.database import Database

MARKET = "aave-v3-devnet"
OPERATOR, ALICE, BOB, CAROL = 1001, 2001, 2002, 2003
"""Chat ids at the stand-in."""
NAMES = {OPERATOR: "operator", ALICE: "alice", BOB: "bob", CAROL: "carol"}
PROTECT_BELOW = {"alice": "1.12", "bob": "1.10", "carol": "1.001"}
"""Carol wants to be asked: nearly nothing is done for her by itself."""
PROTECT_MOST = {"alice": "250000", "bob": "250000", "carol": "2000000"}
PROTECT_TARGET = {"alice": "1.30", "bob": "1.30", "carol": "1.35"}
CONFIRMATIONS = 5
_LIGHT_KDF = 2**12
"""Of the keystore's scrypt: enough for a key that is thrown away after the demo."""
_ETHER = 10**18


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What was set up."""

    settings: Settings
    config: Path
    keeper: Address
    carol: Address
    telegram_is_real: bool
    liquidator: Address | None
    """The contract that liquidates with borrowed money; None: the keeper uses its own."""


async def set_up(
    *,
    devnet: Devnet,
    folder: Path,
    database: str | None,
    bot: tuple[str, str],
    environ: Mapping[str, str],
    flash: bool,
) -> House:
    """Make a key, fund it, write the configuration, and approve the Pool for what it may spend.

    `database`: a URL, or None for a SQLite file in `folder`.  `flash` deploys the liquidator.
    `bot`: URL and token of the stand-in, unused when `environ` holds a real token.
    """
    url = database or f"sqlite:///{folder / 'keeper.sqlite3'}"
    keeper = await _fund(devnet, folder)
    carol = await _near_the_edge(devnet)
    real = bool(environ.get("KEEPER__TELEGRAM__TOKEN"))
    config = folder / "keeper.toml"
    toml = _toml(devnet.deployment, folder, url, carol, None if real else bot)
    config.write_text(toml, encoding="utf-8")
    telegram = {k: v for k, v in environ.items() if k.startswith("KEEPER__TELEGRAM__")}
    settings = load(config, telegram, env_file=None)
    await _approve(devnet.deployment, settings)
    liquidator = None
    if flash:
        liquidator = await _deploy(settings, keeper)
        there = f"chain_id = {devnet.deployment.chain_id}\n"
        toml = toml.replace(there, f'{there}liquidator = "{liquidator}"\n', 1)
        config.write_text(toml, encoding="utf-8")
        settings = load(config, telegram, env_file=None)
    return House(
        settings=settings,
        config=config,
        keeper=keeper,
        carol=carol,
        telegram_is_real=real,
        liquidator=liquidator,
    )


async def _fund(devnet: Devnet, folder: Path) -> Address:
    """Move the inventory of the devnet's keeper to a key of this occasion."""
    passphrase = secrets.token_urlsafe(24)
    (folder / "passphrase").write_text(passphrase + "\n", encoding="utf-8")
    (folder / "passphrase").chmod(0o600)
    keeper = create_keystore(folder / "keystore.json", passphrase, n=_LIGHT_KDF)
    await devnet.anvil.set_balance(keeper, 50 * _ETHER)
    stock = devnet.deployment.account("keeper").address
    for reserve in devnet.deployment.reserves:
        held = await devnet.deployer.call(reserve.asset, "TestnetERC20", "balanceOf", stock)
        if held:
            await devnet.as_account(stock, reserve.asset, "TestnetERC20", "transfer", keeper, held)
    return keeper


async def _near_the_edge(devnet: Devnet) -> Address:
    """Pick a borrower who is topped up when she says so, with a health factor nearest to 1.18."""
    accounts = [b.address for b in devnet.borrowers if b.kind == "mixed"]
    answers = await devnet.account_data_of(accounts)
    healths = {a: int(answer[5]) for a, answer in zip(accounts, answers, strict=True)}
    return min(accounts, key=lambda a: (abs(healths[a] - 118 * _ETHER // 100), a))


def _toml(
    deployment: Deployment, folder: Path, url: str, carol: Address, bot: tuple[str, str] | None
) -> str:
    """Return the configuration; what is real is left to the environment."""
    quoted = json.dumps
    alice, bob = deployment.account("alice").address, deployment.account("bob").address
    heartbeats = "\n".join(f'"{f.proxy}" = {f.heartbeat_s}' for f in deployment.feeds)
    telegram = ""
    if bot is not None:
        api_url, token = bot
        telegram = f"""
[telegram]
token = {quoted(token)}
api_url = {quoted(api_url)}
operator_chats = [{OPERATOR}]
allowed_chats = [{ALICE}, {BOB}, {CAROL}]
operators = [{CAROL}]
"""
    no_debt = next(b.address for b in deployment.borrowers if b.kind == "no_debt")
    watched = [("no debt", no_debt)]
    if bot is None:
        watched += [("alice", alice), ("bob", bob), ("carol", carol)]
    watches = "".join(
        f'\n[[watch]]\naddress = "{address}"\nlabel = "{name}"\n' for name, address in watched
    )
    protect = "".join(
        f"""
[protect.{name}]
account = "{address}"
strategy = ["{strategy}"]
below = "{PROTECT_BELOW[name]}"
target = "{PROTECT_TARGET[name]}"
max_per_tx_usd = "{PROTECT_MOST[name]}"
"""
        for name, address, strategy in (
            ("alice", alice, "top_up"),
            ("bob", bob, "repay"),
            ("carol", carol, "top_up"),
        )
    )
    return f"""# The keeper of the demo, for chain {deployment.chain_id} only.
[database]
url = {quoted(url)}

[log]
level = "error"

[web]
enabled = true
port = 0
{telegram}
[chains.devnet]
chain_id = {deployment.chain_id}
rpc_urls = [{quoted(deployment.rpc_url)}]
ws_urls = [{quoted(deployment.ws_url)}]
calls_per_second = 5000
uniswap_factory = "{deployment.uniswap.factory}"
uniswap_quoter = "{deployment.uniswap.quoter}"
confirmations = {CONFIRMATIONS}
block_time_s = 1
markets = [{{ name = "{MARKET}", addresses_provider = "{deployment.addresses_provider}" }}]

[oracles.heartbeats_s]
{heartbeats}

[alerts]
repeat_critical_s = 3600
{watches}{protect}
[liquidate]
enabled = true
min_profit_usd = "5"
max_debt_usd = "2000000"

[signing]
armed_chain_ids = [{deployment.chain_id}]
keystore = {quoted(str(folder / "keystore.json"))}
passphrase_file = {quoted(str(folder / "passphrase"))}
max_per_tx_usd = "2000000"
max_per_day_usd = "100000000"
max_gas_per_tx_eth = "0.5"
max_gas_per_day_eth = "20"
kill_switch_file = {quoted(str(folder / "keeper.stop"))}
"""


async def _approve(deployment: Deployment, settings: Settings) -> None:
    """Approve each token the keeper holds, by the same path as ``keeper approve --send``."""
    chain = settings.select()[0]
    async with (
        await Database.open(settings.database.url) as database,
        open_chain(settings, chain) as opened,
    ):
        market = opened.market(MARKET)
        for reserve in deployment.reserves:
            planned = await plan_approval(opened, market, reserve.symbol, None)
            submission, _ = await carry_out(
                settings, opened, database, planned, send=True, wait=False
            )
            if not isinstance(submission, Submitted):
                raise ExecutionError(f"{reserve.symbol} was not approved: {submission}")


async def _deploy(settings: Settings, keeper: Address) -> Address:
    """Deploy the liquidator by the same path as ``keeper deploy-liquidator --send``."""
    chain = settings.select()[0]
    async with (
        await Database.open(settings.database.url) as database,
        open_chain(settings, chain) as opened,
    ):
        deployment = await plan_deployment(settings, opened, keeper)
        submission, _ = await carry_out(
            settings, opened, database, deployment.planned, send=True, wait=False
        )
    if not isinstance(submission, Submitted):
        raise ExecutionError(f"The liquidator was not deployed: {submission}")
    return deployment.contract
