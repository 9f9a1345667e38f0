"""The keeper.toml that a devnet prints is one that loads."""

from dataclasses import replace
from pathlib import Path

from keeper.devnet.__main__ import keeper_toml
from keeper.devnet.deployment import DeployedFeed
from keeper.model import Address
from keeper.settings import load
from tests.devnet.test_crowd import DEPLOYMENT


def test_what_a_devnet_prints_is_a_configuration_of_it(tmp_path: Path) -> None:
    feed = DeployedFeed(
        name="ETH/USD",
        proxy=Address("0x" + "fe" * 20),
        aggregator=Address("0x" + "fa" * 20),
        decimals=8,
        heartbeat_s=3_600,
        price="2500.1",
    )
    there = replace(
        DEPLOYMENT, rpc_url="http://127.0.0.1:8545", ws_url="ws://127.0.0.1:8545", feeds=(feed,)
    )
    path = tmp_path / "keeper.toml"
    path.write_text("\n".join(keeper_toml(there)), encoding="utf-8")

    settings = load(path, {})

    [chain] = settings.select()
    assert (chain.chain_id, chain.rpc_urls) == (31337, ("http://127.0.0.1:8545",))
    assert chain.markets[0].addresses_provider == there.addresses_provider
    assert dict(settings.oracles.heartbeats_s) == {feed.proxy: 3_600}
