import asyncio, time, sys, resource, structlog
from contextlib import AsyncExitStack
import bench.house as bh
from bench.house import *
from bench.written import write
from keeper.devnet.network import start
async def life(devnet, settings, until_backlog):
    async with await Database.open(settings.database.url) as database:
        passes=[]
        w=Watcher(settings, settings.select()[0], database, on_pass=lambda _,d: passes.append(d), on_progress=lambda _:None)
        t=time.monotonic()
        task=asyncio.create_task(w.run()); h=House(devnet,w,task,passes)
        await h.until(lambda: w.engine is not None and w.engine.covered)
        print("covered", round(time.monotonic()-t,2), "in book", h.borrowers, "backlog", h.market.backlog, flush=True)
        await h.until(lambda: bool(passes)); n=0
        d=await h.tick(); print("first pass ms", round(d.decision_s*1e3), "calls", d.rpc_calls)
        while h.market.backlog and until_backlog: d=await h.tick(); n+=1
        print("blocks until all read", n, "last calls", d.rpc_calls, round(time.monotonic()-t,2), flush=True)
        t=time.monotonic(); task.cancel()
        with contextlib.suppress(asyncio.CancelledError): await task
        print("ended and saved", round(time.monotonic()-t,2), flush=True)
async def main(stage,n):
    async with stage.devnet() as d:
        await write(d,n)
        with tempfile.TemporaryDirectory() as f:
            s=bh._settings(d, Path(f), ""); await d.anvil.set_automine(on=False)
            await life(d,s,True)
            import os; print("db MB", round(os.path.getsize(Path(f)/"keeper.sqlite3")/1e6,1))
            await life(d,s,False)
stage=start(100)
try: asyncio.run(main(stage,int(sys.argv[1])))
finally: stage.stop()
