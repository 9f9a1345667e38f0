"""Our contracts against tokens, markets and callers that mean harm: what ``./run forge`` runs."""

import json

import pytest

from keeper.devnet import forge
from keeper.devnet.artifacts import OWN_SETTINGS
from keeper.devnet.toolchain import CONTRACTS
from keeper.errors import ConfigError

pytestmark = pytest.mark.chain


def test_forge_finds_nothing_wrong_with_our_contracts() -> None:
    done = forge.run(["--json"])

    suites = json.loads(done.stdout[done.stdout.index("{") :]) if "{" in done.stdout else {}
    outcomes = {
        f"{suite.rpartition(':')[2]}.{name}": test
        for suite, found in suites.items()
        for name, test in found["test_results"].items()
    }
    failed = {
        name: test["reason"] for name, test in outcomes.items() if test["status"] != "Success"
    }
    assert not failed, failed
    assert done.returncode == 0, done.stderr[-2_000:]
    assert len(outcomes) >= 60


def test_forge_compiles_as_what_is_shipped_is_compiled() -> None:
    settings = (CONTRACTS / "foundry.toml").read_text()
    optimizer = OWN_SETTINGS["optimizer"]
    assert isinstance(optimizer, dict)

    assert f'evm_version = "{OWN_SETTINGS["evmVersion"]}"' in settings
    assert f"optimizer_runs = {optimizer['runs']}" in settings
    assert "via_ir" not in settings
    assert OWN_SETTINGS["viaIR"] is False


def test_a_forge_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORGE", "/nowhere/forge")

    with pytest.raises(ConfigError, match="FORGE names /nowhere/forge"):
        forge.ensure_forge()


def test_the_lock_of_forge_is_pinned_by_hash_and_names_no_host() -> None:
    lock = json.loads((forge.FORGE / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}

    assert "node_modules/@foundry-rs/forge-linux-amd64" in packages
    assert all(entry["integrity"].startswith("sha512-") for entry in packages.values())
    assert not any("resolved" in entry for entry in packages.values())
