"""The keeper.toml that a devnet prints is one that loads."""

import re
from dataclasses import replace
from pathlib import Path

from keeper.devnet.__main__ import keeper_toml
from keeper.devnet.deployer import account
from keeper.devnet.deployment import DeployedFeed, Deployment
from keeper.model import Address
from keeper.settings import load
from tests.devnet.test_crowd import DEPLOYMENT


def deployed() -> Deployment:
    feed = DeployedFeed(
        name="ETH/USD",
        proxy=Address("0x" + "fe" * 20),
        aggregator=Address("0x" + "fa" * 20),
        decimals=8,
        heartbeat_s=3_600,
        price="2500.1",
    )
    return replace(
        DEPLOYMENT,
        accounts=(account("keeper"),),
        rpc_url="http://127.0.0.1:8545",
        ws_url="ws://127.0.0.1:8545",
        feeds=(feed,),
    )


def test_what_a_devnet_prints_is_a_configuration_of_it(tmp_path: Path) -> None:
    there = deployed()
    [feed] = there.feeds
    path = tmp_path / "keeper.toml"
    path.write_text("\n".join(keeper_toml(there)), encoding="utf-8")

    settings = load(path, {})

    [chain] = settings.select()
    assert (chain.chain_id, chain.rpc_urls) == (31337, ("http://127.0.0.1:8545",))
    assert chain.markets[0].addresses_provider == there.addresses_provider
    assert dict(settings.oracles.heartbeats_s) == {feed.proxy: 3_600}


def test_its_commented_lines_let_the_keeper_act_on_it(tmp_path: Path) -> None:
    there = deployed()
    path = tmp_path / "keeper.toml"
    lines = (re.sub(r"^#(?=\S)", "", line) for line in keeper_toml(there))
    path.write_text("\n".join(lines), encoding="utf-8")

    settings = load(path, {})

    [chain] = settings.select()
    assert settings.signing.armed(chain.chain_id)
    assert settings.signing.private_key is not None
    assert settings.signing.private_key.get_secret_value() == there.account("keeper").private_key
    assert settings.signing.max_gas_per_tx_eth > 0
    assert (chain.uniswap_factory, chain.uniswap_quoter) == (
        there.uniswap.factory,
        there.uniswap.quoter,
    )
    assert settings.liquidate.enabled
