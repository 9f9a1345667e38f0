"""How a devnet goes back to what it was, for the next test or trial."""

from keeper.devnet.anvil import Anvil


async def still(anvil: Anvil) -> None:
    """Let nothing be mined by itself any more.

    A block that is in the making while Anvil goes back is put on top of what was undone: a head
    without parents.  Anvil makes one block at a time, so ours comes after one that was begun.
    """
    await anvil.set_interval_mining(0)
    await anvil.set_automine(on=False)
    await anvil.drop_all_transactions()
    await anvil.mine()


async def head_of(anvil: Anvil) -> object:
    """Return the head's hash, and its parent's as far as Anvil has the parent."""
    head = await anvil.rpc("eth_getBlockByNumber", "latest", False)
    parent = await anvil.rpc("eth_getBlockByHash", head["parentHash"], False)
    return head["hash"], parent and parent["hash"]
