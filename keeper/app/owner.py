"""Whose account the keeper acts from: for commands that only read, without opening the key."""

import asyncio
import json
import re
from pathlib import Path

from keeper.app.signing import owner_of, signer_for
from keeper.model import Address
from keeper.settings import Chain, Settings

_MOST_BYTES = 64 * 1024


async def owner_address(settings: Settings, chain: Chain) -> Address | None:
    """Return the address of the configured key, or whose account it rehearses with.

    Taken from the keystore's own text where it is there: nothing is signed by its word, and a
    keystore that lies is refused when it is opened.  Raises ConfigError as `signer_for` does.
    """
    keystore = settings.signing.keystore
    if keystore is not None:
        named = await asyncio.to_thread(_named, keystore)
        if named is not None:
            return named
    signer = await signer_for(settings, chain)
    return owner_of(settings, signer)


def _named(keystore: Path) -> Address | None:
    """Return the address that a keystore names; None for whatever is not one that does."""
    try:
        if keystore.stat().st_size > _MOST_BYTES:
            return None
        found = json.loads(keystore.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    said = found.get("address") if isinstance(found, dict) else None
    digits = said.lower().removeprefix("0x") if isinstance(said, str) else ""
    return Address(f"0x{digits}") if re.fullmatch("[0-9a-f]{40}", digits) else None
