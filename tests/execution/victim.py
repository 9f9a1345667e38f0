"""A process that submits one action and kills itself at a named point, as hard as it gets.

python -m tests.execution.victim URL SQLITE_FILE FAILPOINT
"""

import asyncio
import os
import signal
import sys

from keeper.chain.rpc import Rpc
from keeper.store.database import Database
from keeper.store.journal import SqlJournal
from tests.execution.fakes import CHAIN
from tests.execution.local import executor, submit


async def main(url: str, file: str, point: str) -> None:
    def die(name: str) -> None:
        if name == point:
            os.kill(os.getpid(), signal.SIGKILL)

    rpc = await Rpc.open([url], CHAIN)
    database = await Database.open(f"sqlite:///{file}")
    armed = executor(rpc, SqlJournal(database, chain_id=CHAIN), failpoint=die)
    await submit(armed, 1, await rpc.block("latest"))


asyncio.run(main(*sys.argv[1:]))
