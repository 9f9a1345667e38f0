"""Keystore v3 files: read with suspicion, written with standard parameters.

Source: the Web3 Secret Storage Definition.  The derivation parameters are judged before any work
is done with them: too weak ones protect nothing, absurd ones are a way to hang the process.
"""

import asyncio
import json
import os
from pathlib import Path
from typing import Any, Final

from eth_account import Account

from keeper.errors import ConfigError
from keeper.model import Address

DEVNET: Final = 31_337
"""The one chain on which a weak keystore or a plain key is accepted."""
MOST_BYTES: Final = 64 * 1024
STANDARD_N: Final = 2**18
WEAKEST_N: Final = 2**12
"""What geth calls light; with p = 6."""
STRONGEST_N: Final = 2**20
WEAKEST_C: Final = 100_000
STRONGEST_C: Final = 10_000_000


def create_keystore(path: Path, passphrase: str, *, n: int = STANDARD_N) -> Address:
    """Write a fresh key to `path`, readable by its owner only, and return its address.

    scrypt with r = 8, p = 1; `n` below 2**18 is for a devnet and for tests.  Takes a second: call
    it in a thread where a loop runs.  Raises `ConfigError` when the file exists.
    """
    if not passphrase:
        raise ConfigError(f"{path}: an empty passphrase protects nothing; choose one.")
    account = Account.create()
    keystore = Account.encrypt(account.key, passphrase, kdf="scrypt", iterations=n)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ConfigError(f"{path}: the keystore cannot be written: {error.strerror}.") from error
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        json.dump(keystore, file)
    return Address(account.address.lower())


async def read_key(path: Path, passphrase: str, chain_id: int) -> bytes:
    """Return the private key of a keystore file; its derivation runs in a thread.

    Raises `ConfigError`, one plain sentence, for whatever is wrong with file or passphrase.
    """
    keystore = _load(path)
    _judge(keystore, path, weak_allowed=chain_id == DEVNET)
    return await asyncio.to_thread(_decrypt, keystore, passphrase, path)


def read_passphrase(source: Path | int) -> str:
    """Return the passphrase from a file or an open descriptor, one trailing line end removed.

    Raises `ConfigError` when it cannot be read or is empty.
    """
    name = f"file descriptor {source}" if isinstance(source, int) else str(source)
    try:
        with open(source, "rb", closefd=True) as file:  # noqa: PTH123 - a descriptor is no path
            raw = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{name}: the passphrase cannot be read: {error.strerror}.") from error
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: the passphrase is not UTF-8 text.") from error
    text = text.removesuffix("\n").removesuffix("\r")
    if not text or len(raw) > MOST_BYTES:
        raise ConfigError(f"{name}: the passphrase is empty or longer than {MOST_BYTES} bytes.")
    return text


def _load(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ConfigError(f"{path}: larger than any keystore; give a keystore v3 file.")
        keystore = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: the keystore cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON; give a keystore v3 file.") from error
    if not isinstance(keystore, dict):
        raise ConfigError(f"{path}: not a keystore; give a keystore v3 file.")
    return {str(key).lower(): value for key, value in keystore.items()}


def _judge(keystore: dict[str, Any], path: Path, *, weak_allowed: bool) -> None:
    """Raise `ConfigError` unless the file is a v3 keystore with parameters of sane strength."""
    crypto = keystore.get("crypto")
    if keystore.get("version") != 3 or not isinstance(crypto, dict):
        raise ConfigError(f"{path}: not version 3 of the keystore format; export the key again.")
    if crypto.get("cipher") != "aes-128-ctr":
        raise ConfigError(f"{path}: its cipher is not aes-128-ctr; export the key again.")
    parameters = crypto.get("kdfparams")
    if not isinstance(parameters, dict) or parameters.get("dklen") != 32:
        raise ConfigError(
            f"{path}: its key derivation does not give 32 bytes; export the key again."
        )
    problem = _kdf_problem(crypto.get("kdf"), parameters, weak_allowed=weak_allowed)
    for name, value, size in (
        ("salt", parameters.get("salt"), None),
        ("ciphertext", crypto.get("ciphertext"), 32),
        ("mac", crypto.get("mac"), 32),
    ):
        found = _hex_size(value)
        if found is None or (size is not None and found != size) or found < 8:
            problem = problem or f"its {name} is malformed"
    if problem:
        raise ConfigError(f"{path}: {problem}; export the key again with standard parameters.")


def _kdf_problem(  # noqa: PLR0911 - a table
    kdf: object, parameters: dict[str, Any], *, weak_allowed: bool
) -> str:
    """Return what is odd about the derivation, or nothing."""
    if kdf == "scrypt":
        n, r, p = (_count(parameters.get(name)) for name in ("n", "r", "p"))
        if n & (n - 1) or n < 2 or n > STRONGEST_N or r != 8 or not 1 <= p <= 8:
            return f"scrypt with n={n}, r={r}, p={p} is odd"
        if n * p < WEAKEST_N * 6 and not weak_allowed:
            return f"scrypt with n={n}, p={p} is too weak"
        return ""
    if kdf == "pbkdf2":
        rounds = _count(parameters.get("c"))
        if parameters.get("prf") != "hmac-sha256" or not 1 <= rounds <= STRONGEST_C:
            return f"pbkdf2 with {rounds} rounds of {str(parameters.get('prf'))[:20]} is odd"
        if rounds < WEAKEST_C and not weak_allowed:
            return f"pbkdf2 with {rounds} rounds is too weak"
        return ""
    return f"its key derivation {str(kdf)[:20]!r} is neither scrypt nor pbkdf2"


def _decrypt(keystore: dict[str, Any], passphrase: str, path: Path) -> bytes:
    try:
        key = Account.decrypt(keystore, passphrase)
    except (ValueError, TypeError, KeyError) as error:
        if "MAC" in str(error):  # the library has no type for it; it decides the wording only
            raise ConfigError(f"{path}: the passphrase does not open this keystore.") from None
        raise ConfigError(f"{path}: the keystore is damaged; export the key again.") from None
    address = Account.from_key(key).address.lower()
    claimed = str(keystore.get("address", address)).lower().removeprefix("0x")
    if claimed != address.removeprefix("0x"):
        raise ConfigError(f"{path}: it says 0x{claimed[:40]} but holds the key of {address}.")
    return bytes(key)


def _count(value: object) -> int:
    """Return an integer of a keystore, or 0, which no rule accepts."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _hex_size(value: object) -> int | None:
    try:
        return len(bytes.fromhex(value.removeprefix("0x"))) if isinstance(value, str) else None
    except ValueError:
        return None
