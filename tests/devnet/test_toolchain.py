"""What is found, cached and refused, without a network."""

import hashlib
import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from keeper.devnet import toolchain
from keeper.devnet.artifacts import JOBS, Artifact, Artifacts, fingerprint, own_job
from keeper.errors import ConfigError


def _library_user(bytecode: str) -> Artifact:
    return Artifact(
        name="Bank",
        abi=(),
        bytecode=bytecode,
        deployed_bytecode="",
        link_references={"src/Vault.sol": {"Vault": ((2, 20),)}},
    )


def _checkout(tmp_path: Path) -> Path:
    contracts = tmp_path / "contracts"
    (contracts / "src").mkdir(parents=True)
    (contracts / "package-lock.json").write_text("{}")
    (contracts / "compile.js").write_text("//")
    (contracts / "src" / "Lens.sol").write_text("contract Lens {}")
    return contracts


def test_a_library_is_linked_at_its_place() -> None:
    placeholder = "60" * 2 + "__$0123456789abcdef0123456789abcdef01$__"[:40] + "5b"

    linked = _library_user(placeholder).linked({"Vault": "0x" + "Ab" * 20})

    assert linked.hex() == "6060" + "ab" * 20 + "5b"


def test_a_library_without_an_address_is_named() -> None:
    with pytest.raises(ConfigError, match="Bank needs the library Vault"):
        _library_user("00" * 23).linked({})


def test_an_unknown_contract_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No contract is called 'Pond'"):
        Artifacts(modules=tmp_path, files={}).get("Pond")


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[:-7],
        lambda whole: whole.replace(b"6080", b"6081"),
        lambda whole: b"",
        lambda whole: whole[70:],
    ],
)
def test_a_damaged_cache_is_not_taken_for_whole(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    content = json.dumps({"Lens": {"bytecode": "6080"}}).encode()
    whole = hashlib.sha256(content).hexdigest().encode() + b"\n" + content
    path = tmp_path / "lens.json"

    path.write_bytes(whole)
    assert toolchain._intact(path)
    path.write_bytes(damage(whole))
    assert not toolchain._intact(path)


def test_a_file_is_written_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"

    toolchain._write(path, b"one")
    toolchain._write(path, b"two")

    assert path.read_bytes() == b"two"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_our_own_source_is_part_of_the_hash(tmp_path: Path) -> None:
    contracts = _checkout(tmp_path)
    before = fingerprint(own_job(contracts), contracts)

    (contracts / "src" / "Lens.sol").write_text("contract Lens { }")

    assert fingerprint(own_job(contracts), contracts) != before


def test_lock_and_settings_are_part_of_the_hash_and_the_folder_is_not(tmp_path: Path) -> None:
    contracts, elsewhere = _checkout(tmp_path / "a"), _checkout(tmp_path / "b")
    job = JOBS[0]
    before = fingerprint(job, contracts)

    assert fingerprint(job, elsewhere) == before
    assert fingerprint(replace(job, settings={}), contracts) != before
    (contracts / "package-lock.json").write_text('{"lockfileVersion": 3}')
    assert fingerprint(job, contracts) != before


def test_an_anvil_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANVIL", "/nowhere/anvil")

    with pytest.raises(ConfigError, match="ANVIL names /nowhere/anvil"):
        toolchain._anvil()


def test_an_anvil_for_a_newer_system_is_said(tmp_path: Path) -> None:
    fake = tmp_path / "anvil"
    fake.write_text('#!/bin/sh\necho "version \\`GLIBC_2.35\' not found" >&2\nexit 1\n')
    fake.chmod(0o755)

    with pytest.raises(ConfigError, match=r"glibc 2\.35 or newer"):
        toolchain._proven(fake)


def test_a_machine_without_node_is_told_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    with pytest.raises(ConfigError, match="Node 18 or newer was not found"):
        toolchain.node()


def test_the_lock_pins_every_package_by_hash_and_names_no_host() -> None:
    lock = json.loads((toolchain.CONTRACTS / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}

    assert packages
    assert all(entry["integrity"].startswith("sha512-") for entry in packages.values())
    assert not any("resolved" in entry for entry in packages.values())
    assert "@foundry-rs/anvil-linux-amd64" in str(sorted(packages))
