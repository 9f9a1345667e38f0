"""``keeper deploy-liquidator`` and ``deploy-deleverager`` as a person would type them."""

import asyncio
import json
from pathlib import Path

import pytest
from eth_utils.crypto import keccak

from keeper.cli.main import run
from keeper.devnet.network import Devnet
from keeper.execution import deleverager, liquidator

pytestmark = pytest.mark.chain


def _config(devnet: Devnet, folder: Path, more: str = "", signing: str = "") -> Path:
    there = devnet.deployment
    file = folder / "keeper.toml"
    file.write_text(
        f"""
[database]
url = {json.dumps(f"sqlite:///{folder / 'keeper'}.sqlite3")}
[chains.devnet]
chain_id = {there.chain_id}
rpc_urls = ["{there.rpc_url}"]
calls_per_second = 5000
confirmations = 1
markets = [{{ name = "aave-v3-devnet", addresses_provider = "{there.addresses_provider}" }}]
{more}
[signing]
{signing}
""",
        encoding="utf-8",
    )
    return file


def document_of(name: str) -> tuple[int, str]:
    """The version and the hash that the plan shows, from what is shipped."""
    module = {"liquidator": liquidator, "deleverager": deleverager}[name]
    return module.SPEAKS, "0x" + keccak(module.creation_code()).hex()


async def _keeper(file: Path, *words: str, name: str = "liquidator") -> int:
    return await asyncio.to_thread(run, ["--config", str(file), f"deploy-{name}", *words])


@pytest.mark.parametrize("name", ["liquidator", "deleverager"])
async def test_it_is_planned_first_and_then_sent(
    devnet: Devnet, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    uniswap = devnet.deployment.uniswap
    places = (
        f'uniswap_factory = "{uniswap.factory}"\nuniswap_quoter = "{uniswap.quoter}"\n'
        "[liquidate]\nenabled = true\n"
    )
    key = f'private_key = "{devnet.deployment.account("keeper").private_key}"\n'
    caps = (
        'armed_chain_ids = [31337]\nmax_per_tx_usd = "1"\nmax_per_day_usd = "1"\n'
        'max_gas_per_tx_eth = "0.5"\nmax_gas_per_day_eth = "5"\n'
    )

    assert await _keeper(_config(devnet, tmp_path, places, key), name=name) == 0
    planned = capsys.readouterr().out
    assert f"{name} on devnet, version {document_of(name)[0]}" in planned
    assert f"keccak256 {document_of(name)[1]}, as shipped" in planned
    assert "rehearsed it would succeed with gas of at most" in planned
    assert await _keeper(_config(devnet, tmp_path, places, key), "--send", name=name) == 2
    assert "is not armed" in capsys.readouterr().err
    file = _config(devnet, tmp_path, places, key + caps)
    assert await _keeper(file, "--send", "--no-wait", "--json", name=name) == 0
    document = json.loads(capsys.readouterr().out)
    await devnet.anvil.mine()

    code = await devnet.anvil.rpc("eth_getCode", document["contract"], "latest")
    assert document["state"] == "submitted"
    assert f'{name} = "{document["contract"]}"' in planned
    assert len(code) > 2_000
    assert await _keeper(file, name=name) == 1
    assert f"already: set {name} of the chain" in capsys.readouterr().err


async def test_what_is_missing_is_said_in_a_sentence(
    devnet: Devnet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = f'private_key = "{devnet.deployment.account("keeper").private_key}"\n'
    nowhere = f'uniswap_factory = "0x{"12" * 20}"\nuniswap_quoter = "0x{"34" * 20}"\n'

    for more, signing, said in (
        ("", "", "There is no key"),
        ("", key, "set uniswap_factory and uniswap_quoter"),
        (nowhere, key, "has no contract at 0x1212"),
    ):
        assert await _keeper(_config(devnet, tmp_path, more, signing)) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
