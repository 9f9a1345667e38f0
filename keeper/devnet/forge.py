"""Forge, which tests our contracts against tokens, markets and callers that mean harm.

Source: npm package @foundry-rs/forge-linux-amd64, pinned by ``contracts/forge/package-lock.json``
and fetched on first use.  It compiles with solc's published wasm build, the one that ships our
contracts too, behind a script that speaks solc's command line; nothing is asked of the network.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from keeper.devnet import toolchain
from keeper.devnet.toolchain import CACHE, CONTRACTS
from keeper.errors import ConfigError, KeeperError

FORGE: Final = CONTRACTS / "forge"
PACKAGED: Final = FORGE / "node_modules/@foundry-rs/forge-linux-amd64/bin/forge"
_WORD: Final = "test"


def ensure_forge() -> tuple[Path, Path]:
    """Return forge and the solc it is to use, installing what is missing.

    ``$FORGE``, the npm package, then PATH.  Raises `ConfigError` in one sentence where there is
    none for this system.
    """
    toolchain.ensure_packages()
    solc = CACHE / "forge" / "solc"
    node = toolchain.node().node
    script = f'#!/bin/sh\nexec "{node}" "{FORGE / "solc.js"}" "$@"\n'
    toolchain.write_executable(solc, script)
    return _forge(), solc


def _forge() -> Path:
    named = os.environ.get("FORGE")
    if named:
        if not os.access(named, os.X_OK):
            raise ConfigError(f"FORGE names {named}, which is not an executable file.")
        return Path(named)
    toolchain.ensure_packages(FORGE, what="bringing forge from npm")
    if os.access(PACKAGED, os.X_OK):
        return PACKAGED
    on_path = shutil.which("forge")
    if on_path is None:
        raise ConfigError("npm has no forge for this system: install Foundry, or set FORGE.")
    return Path(on_path)


def run(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run ``forge test`` with further `words` over contracts/test and return what it said."""
    forge, solc = ensure_forge()
    return subprocess.run(  # noqa: S603 - found or fetched above
        command(forge, solc, words),
        cwd=CONTRACTS,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def command(forge: Path, solc: Path, words: Sequence[str]) -> list[str]:
    """Return the command line."""
    fixed = ["--root", str(CONTRACTS), "--use", str(solc), "--offline"]
    return [str(forge), _WORD, *fixed, *words]


def main(words: Sequence[str]) -> int:  # noqa: RET503 - execv does not return
    """Become forge; 1 with one sentence where that cannot be."""
    try:
        forge, solc = ensure_forge()
    except KeeperError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a script of the command line
        return 1
    os.execv(forge, command(forge, solc, words))  # noqa: S606 - replaces this process


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
