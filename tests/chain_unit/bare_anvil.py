"""A bare Anvil for tests that need a chain but no protocol: no mining but on demand."""

import asyncio
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from keeper.chain.provider import Limits
from keeper.chain.rpc import Rpc
from keeper.model import Address

ROOT: Final = Path(__file__).parents[2]
FREELY: Final = Limits(calls_per_second=100_000)


def anvil_path() -> Path:
    """Return the binary: $ANVIL, PATH, ~/.foundry/bin, or the npm package."""
    named = os.environ.get("ANVIL") or shutil.which("anvil")
    candidates = [Path(named)] if named else []
    candidates.append(Path.home() / ".foundry/bin/anvil")
    candidates += (ROOT / "contracts/node_modules/@foundry-rs").glob("anvil-linux-*/bin/anvil")
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise FileNotFoundError("no anvil: run ./run devnet once, or set ANVIL")


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Gate:
    """Lets reads through together and blocks through alone.

    While Anvil mines it answers a call pinned to the hash of its head with the state of the block
    that is being made.  No node does that, so whoever stands in for one waits here.
    """

    def __init__(self) -> None:
        self._reading = 0
        self._free = asyncio.Condition()
        self._alone = asyncio.Lock()

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Read the state, not while a block is made."""
        async with self._alone:
            self._reading += 1
        try:
            yield
        finally:
            self._reading -= 1
            async with self._free:
                self._free.notify_all()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Make a block, not while the state is read."""
        async with self._alone:
            async with self._free:
                await self._free.wait_for(lambda: not self._reading)
            yield


class Anvil:
    """One Anvil process that can be stopped and started again on its port."""

    def __init__(self, *options: str) -> None:
        self.port = free_port()
        self._options = options
        self._process: asyncio.subprocess.Process | None = None
        self._states = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.gate = Gate()
        self.rpc: Rpc

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start and open `rpc` to it."""
        await self.start_process()
        self.rpc = await Rpc.open([self.url], 31337, limits=FREELY)

    async def start_process(self) -> None:
        """Start and wait until it answers."""
        self._process = await asyncio.create_subprocess_exec(
            str(anvil_path()),
            *("--port", str(self.port), "--chain-id", "31337", "--no-mining", "--silent"),
            *("--cache-path", self._states.name),
            *self._options,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        for _ in range(400):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return
        raise TimeoutError("anvil does not listen")

    async def stop_process(self, how: signal.Signals) -> None:
        """End the process; SIGTERM lets it write its state."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(how)
            await self._process.wait()

    async def stop(self) -> None:
        """End it for good."""
        await self.rpc.close()
        await self.stop_process(signal.SIGKILL)
        self._states.cleanup()

    async def mine(self, count: int = 1) -> None:
        """Mine `count` blocks."""
        async with self.gate.alone():
            await self.rpc.call("anvil_mine", [hex(count), "0x1"])

    async def reorg(self, depth: int) -> None:
        """Replace the last `depth` blocks."""
        async with self.gate.alone():
            await self.rpc.call("anvil_reorg", [depth, []])

    async def set_code(self, address: Address, code: str) -> None:
        """Put runtime code at `address`."""
        await self.rpc.call("anvil_setCode", [address, "0x" + code])

    async def control(self, method: str, *params: Any) -> Any:
        """Any other method."""
        return await self.rpc.call(method, params)


@asynccontextmanager
async def bare_anvil(*options: str) -> AsyncIterator[Anvil]:
    """Run an Anvil for as long as the context lasts."""
    anvil = Anvil(*options)
    await anvil.start()
    try:
        yield anvil
    finally:
        await anvil.stop()
