"""The deployed and seeded chain as a file: made once, named by all that went into it.

A state older than a week is made again, so that interest accrued between then and now stays small.
"""

import asyncio
import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from keeper.devnet.anvil import Anvil, AnvilProcess
from keeper.devnet.artifacts import JOBS, fingerprint
from keeper.devnet.deploy import PROTOCOL, deploy
from keeper.devnet.deployment import Deployment
from keeper.devnet.seed import seed
from keeper.devnet.toolchain import CACHE, CONTRACTS, Toolchain
from keeper.errors import ConfigError

T = TypeVar("T")

_MODULES: Final = (
    *("aave", "abi", "anvil", "deploy", "deployer", "deployment"),
    *("feeds", "market", "seed", "state", "uniswap"),
)
"""Of this folder: what they say decides the chain."""

_FRESH_S: Final = 7 * 86_400
_BEFORE_S: Final = 7_200
"""How long before now the chain is made to begin."""
_BUILD_GAS_LIMIT: Final = 1_000_000_000
_KEPT: Final = 8
"""States kept; older ones are removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A chain to load and what is on it; the deployment's URLs are empty."""

    file: Path
    deployment: Deployment


def state(toolchain: Toolchain, *, positions: int, number: int) -> State:
    """Return the state with `positions` borrowers of the crowd `number`, making it if need be."""
    key = _key(toolchain, positions, number)
    folder = CACHE / "devnet" / key
    found = _read(folder)
    if found is not None:
        return found
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = _read(folder)
        if found is not None:
            return found
        _build(toolchain, folder, positions, number)
        _forget_old(folder.parent)
    found = _read(folder)
    if found is None:
        raise ConfigError(f"The devnet's state could not be kept in {folder}: is the disk full?")
    return found


def run_apart(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in a loop and thread of its own, whatever loop runs here."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="devnet") as pool:
        return pool.submit(asyncio.run, coroutine).result()


def _key(toolchain: Toolchain, positions: int, number: int) -> str:
    digest = hashlib.sha256(f"{PROTOCOL} {positions} {number} {toolchain.anvil}".encode())
    digest.update(str(toolchain.anvil.stat().st_size).encode())
    for job in JOBS:
        digest.update(fingerprint(job, CONTRACTS).encode())
    for module in _MODULES:
        digest.update((Path(__file__).parent / f"{module}.py").read_bytes())
    return f"{PROTOCOL}-{positions}-{digest.hexdigest()[:16]}"


def _read(folder: Path) -> State | None:
    """The state if it is whole and fresh."""
    file = folder / "state.json"
    try:
        sealed = (folder / "seal").read_text()
        age_s = time.time() - (folder / "seal").stat().st_mtime
        if not 0 <= age_s < _FRESH_S or sealed != _seal(folder):
            return None
        return State(file=file, deployment=Deployment.read(folder / "deployment.json"))
    except (OSError, ConfigError):
        return None


def _seal(folder: Path) -> str:
    digest = hashlib.sha256((folder / "state.json").read_bytes())
    digest.update((folder / "deployment.json").read_bytes())
    return digest.hexdigest()


def _build(toolchain: Toolchain, folder: Path, positions: int, number: int) -> None:
    began = time.monotonic()
    _say(f"deploying {PROTOCOL} and making {positions} positions ...")
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".making-") as making:
        there = Path(making) / "made"
        there.mkdir()
        process = AnvilProcess(
            toolchain.anvil,
            "--auto-impersonate",
            "--preserve-historical-states",
            *("--order", "fifo"),
            *("--gas-limit", str(_BUILD_GAS_LIMIT)),
            *("--timestamp", str(int(time.time()) - _BEFORE_S)),
            *("--dump-state", str(there / "state.json")),
        )
        with process:
            made = run_apart(_populate(process, toolchain, positions, number))
            process.stop()
        (there / "deployment.json").write_text(made.to_json())
        (there / "seal").write_text(_seal(there))
        if folder.exists():
            shutil.rmtree(folder)
        there.replace(folder)
    _say(f"deploying and seeding: done in {time.monotonic() - began:.1f} s")


async def _populate(
    process: AnvilProcess, toolchain: Toolchain, positions: int, number: int
) -> Deployment:
    async with Anvil(process.http_url, process.ws_url) as anvil:
        made = await deploy(anvil, toolchain.artifacts)
        borrowers = await seed(anvil, toolchain.artifacts, made, positions, number)
        return replace(made, borrowers=borrowers, rpc_url="", ws_url="")


def _forget_old(folder: Path) -> None:
    kept = sorted(
        (path for path in folder.iterdir() if (path / "seal").exists()),
        key=lambda path: (path / "seal").stat().st_mtime,
    )
    for path in kept[:-_KEPT]:
        with suppress(OSError):
            # Renamed first, so that nobody reads a half-removed state.
            gone = folder / f".gone-{os.getpid()}-{path.name}"
            path.replace(gone)
            shutil.rmtree(gone)


def _say(what: str) -> None:
    print(f"devnet: {what}", file=sys.stderr, flush=True)  # noqa: T201 - progress
