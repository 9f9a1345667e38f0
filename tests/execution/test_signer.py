"""Keys: what is accepted, what is refused in a plain sentence, and what is never shown."""

import copy
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keeper.errors import ConfigError, ExecutionError
from keeper.execution.keystore import create_keystore, read_passphrase
from keeper.execution.signer import KeystoreSigner, checked
from keeper.execution.transaction import UnsignedTx, cancellation
from keeper.model import Address, Fees
from keeper.units import Wei
from tests.execution.fakes import CHAIN, KEY, SIGNER

FEES = Fees(max_fee_wei=Wei(21_000_000_017), priority_fee_wei=Wei(3))
TX: UnsignedTx = cancellation(SIGNER.address, CHAIN, 41, FEES, 27_300)


@pytest.fixture
def keystore(tmp_path: Path) -> tuple[Path, Path, Address]:
    """A weak keystore, its passphrase file, its address."""
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse\n")
    path = tmp_path / "key.json"
    return path, passphrase, create_keystore(path, "correct horse", n=2)


async def test_a_keystore_opens_and_signs_what_was_asked(
    keystore: tuple[Path, Path, Address],
) -> None:
    path, passphrase, address = keystore

    signer = await KeystoreSigner.open(path, passphrase, CHAIN)
    attempt = await signer.sign(TX)

    assert signer.address == address
    assert checked(attempt.raw, TX, address) == attempt
    assert path.stat().st_mode & 0o077 == 0


async def test_a_passphrase_comes_from_a_descriptor_too(
    keystore: tuple[Path, Path, Address],
) -> None:
    path, passphrase, address = keystore
    descriptor = os.open(passphrase, os.O_RDONLY)

    signer = await KeystoreSigner.open(path, descriptor, CHAIN)

    assert signer.address == address


async def test_a_wrong_passphrase_is_one_plain_sentence(
    keystore: tuple[Path, Path, Address],
) -> None:
    path, passphrase, _ = keystore
    passphrase.write_text("wrong")

    with pytest.raises(ConfigError, match="passphrase does not open this keystore"):
        await KeystoreSigner.open(path, passphrase, CHAIN)


async def test_a_weak_keystore_is_refused_on_a_public_chain(
    keystore: tuple[Path, Path, Address],
) -> None:
    path, passphrase, _ = keystore

    with pytest.raises(ConfigError, match="too weak"):
        await KeystoreSigner.open(path, passphrase, 1)


def _crypto(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["crypto"].update(changes)


def _kdf(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["crypto"]["kdfparams"].update(changes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_kdf(n=3), "is odd"),
        (_kdf(n=2**30), "is odd"),  # would take 1 TiB
        (_kdf(n="2"), "is odd"),
        (_kdf(n=True), "is odd"),
        (_kdf(r=1), "is odd"),
        (_kdf(p=0), "is odd"),
        (_kdf(p=1_000_000), "is odd"),
        (_kdf(dklen=16), "32 bytes"),
        (_kdf(salt=""), "salt is malformed"),
        (_kdf(salt=7), "salt is malformed"),
        (_crypto(kdf="argon2"), "neither scrypt nor pbkdf2"),
        (_crypto(kdf="pbkdf2"), "is odd"),
        (_crypto(kdfparams=[]), "32 bytes"),
        (_crypto(cipher="aes-256-cbc"), "not aes-128-ctr"),
        (_crypto(mac="00"), "mac is malformed"),
        (_crypto(ciphertext="zz"), "ciphertext is malformed"),
        (_crypto(cipherparams={}), "damaged"),
        (lambda document: document.update(version=1), "version 3"),
        (lambda document: document.pop("crypto"), "version 3"),
        (lambda document: document.update(address="00" * 20), "holds the key of"),
    ],
)
async def test_an_odd_keystore_is_refused_before_any_work_is_done(
    keystore: tuple[Path, Path, Address], change: Callable[[dict[str, Any]], None], words: str
) -> None:
    path, passphrase, _ = keystore
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))

    with pytest.raises(ConfigError, match=words):
        await KeystoreSigner.open(path, passphrase, CHAIN)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "\x00" * 70_000])
async def test_a_file_that_is_no_keystore_is_refused(tmp_path: Path, text: str) -> None:
    path, passphrase = tmp_path / "key.json", tmp_path / "passphrase"
    path.write_text(text)
    passphrase.write_text("x")

    with pytest.raises(ConfigError, match="keystore v3"):
        await KeystoreSigner.open(path, passphrase, CHAIN)


async def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere: the passphrase cannot be read: No such file"):
        await KeystoreSigner.open(tmp_path / "key.json", tmp_path / "nowhere", CHAIN)
    (tmp_path / "passphrase").write_text("x")
    with pytest.raises(ConfigError, match=r"key.json: the keystore cannot be read"):
        await KeystoreSigner.open(tmp_path / "key.json", tmp_path / "passphrase", CHAIN)


def test_an_existing_keystore_is_never_overwritten(keystore: tuple[Path, Path, Address]) -> None:
    with pytest.raises(ConfigError, match="File exists"):
        create_keystore(keystore[0], "x", n=2)


@pytest.mark.parametrize("raw", [b"", b"\n", b"\xff\xfe", b"x" * 70_000])
def test_a_passphrase_that_is_none_is_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "passphrase"
    path.write_bytes(raw)

    with pytest.raises(ConfigError, match="passphrase"):
        read_passphrase(path)


def test_a_plain_key_is_for_the_devnet_only() -> None:
    assert KeystoreSigner.plain(KEY, CHAIN).address == SIGNER.address
    with pytest.raises(ConfigError, match="chain 31337 only, this is chain 1") as caught:
        KeystoreSigner.plain(KEY, 1)
    assert KEY[2:] not in str(caught.value)
    for bad in ("", "0x12", KEY + "00", "00" * 32, "ff" * 32):
        with pytest.raises(ConfigError, match="private key") as caught:
            KeystoreSigner.plain(bad, CHAIN)
        assert not bad or bad not in str(caught.value)


def test_a_signer_never_shows_or_gives_away_its_key() -> None:
    assert repr(SIGNER) == f"KeystoreSigner({SIGNER.address})"
    for taking in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="neither copied nor pickled"):
            taking(SIGNER)


async def test_a_signer_that_signs_something_else_is_caught() -> None:
    attempt = await SIGNER.sign(TX)

    with pytest.raises(ExecutionError, match="another transaction"):
        checked(attempt.raw, cancellation(SIGNER.address, CHAIN, 42, FEES, 27_300), SIGNER.address)
    with pytest.raises(ExecutionError, match="another transaction"):
        checked(attempt.raw, TX, Address("0x" + "aa" * 20))
