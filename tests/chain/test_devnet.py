"""The devnet is what it says: real contracts in the state described, movable and restorable."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from keeper.devnet.abis import FOLDERS, abi_document
from keeper.devnet.anvil import Anvil, AnvilProcess
from keeper.devnet.deployment import Deployment
from keeper.devnet.network import Devnet, Stage
from keeper.devnet.toolchain import LENS, ROOT, Toolchain, lens_document
from keeper.devnet.typed import Typed
from keeper.errors import RpcError
from keeper.model import Hash

pytestmark = pytest.mark.chain

WAD = 10**18
UINT256_MAX = 2**256 - 1


async def test_the_pool_is_aave_of_revision_ten(devnet: Devnet) -> None:
    pool = devnet.deployment.pool

    assert await devnet.deployer.call(pool, "PoolInstance", "POOL_REVISION") == 10
    listed = await devnet.deployer.call(pool, "IPool", "getReservesList")
    assert [asset.lower() for asset in listed] == [r.asset for r in devnet.deployment.reserves]


async def test_the_pool_has_code_from_its_deployment_block_on(devnet: Devnet) -> None:
    there = devnet.deployment
    block = there.deployment_block

    assert await devnet.anvil.rpc("eth_getCode", there.pool, hex(block - 1)) == "0x"
    assert len(await devnet.anvil.rpc("eth_getCode", there.pool, hex(block))) > 2


async def test_several_prices_move_in_one_block(devnet: Devnet) -> None:
    head = await devnet.anvil.block_number()

    await devnet.push_prices({"ETH/USD": "3001.5", "BTC/USD": "90001.25", "XIS/USD": "6.99"})

    assert await devnet.anvil.block_number() == head + 1
    assert await devnet.asset_price("WBTC") == Decimal("90001.25")


async def test_the_crowd_is_mixed_and_exactly_one_of_it_has_no_debt(devnet: Devnet) -> None:
    kinds = Counter(borrower.kind for borrower in devnet.borrowers)
    data = await devnet.account_data_of([b.address for b in devnet.borrowers])

    assert len(devnet.borrowers) == 60
    assert {"mixed", "e_mode", "isolated", "dust"} <= set(kinds)
    assert (kinds["alice"], kinds["bob"], kinds["no_debt"]) == (1, 1, 1)
    assert [b.kind for b, d in zip(devnet.borrowers, data, strict=True) if d[1] == 0] == ["no_debt"]
    healths = [entry[5] for entry in data if entry[5] != UINT256_MAX]
    assert min(healths) > WAD
    assert min(healths) < WAD * 105 // 100
    assert max(healths) > WAD * 2


async def test_alice_and_bob_stand_at_a_quarter_above_one(devnet: Devnet) -> None:
    for name in ("alice", "bob"):
        data = await devnet.account_data(devnet.deployment.account(name).address)

        assert Decimal("1.24") < Decimal(data[5]) / WAD < Decimal("1.26")


async def test_a_round_reaches_the_markets_price_and_everyone_who_holds_it(devnet: Devnet) -> None:
    alice = devnet.deployment.account("alice").address
    before = await devnet.account_data(alice)

    await devnet.push_price("ETH/USD", "3161.135537577")  # 10 % less

    after = await devnet.account_data(alice)
    assert await devnet.asset_price("WETH") == Decimal("3161.13553757")
    assert Decimal("0.899") < Decimal(after[5]) / before[5] < Decimal("0.901")


async def test_falls_of_ether_endanger_more_and_more_people(devnet: Devnet) -> None:
    first = await devnet.price("ETH/USD")
    below: list[int] = []
    for left in ("0.95", "0.90", "0.75"):
        await devnet.push_price("ETH/USD", first * Decimal(left))
        data = await devnet.account_data_of([b.address for b in devnet.borrowers])
        below.append(sum(entry[5] < WAD for entry in data))

    assert 0 < below[0] < below[1] < below[2] < 60


async def test_a_feed_grows_old_when_nobody_reports(devnet: Devnet) -> None:
    proxy = devnet.deployment.feed("USDC/USD").proxy
    await devnet.anvil.increase_time(90_314)
    await devnet.refresh_feeds("USDC/USD")

    stale = await devnet.deployer.call(proxy, "EACAggregatorProxy", "latestRoundData")
    fresh = await devnet.deployer.call(
        devnet.deployment.feed("ETH/USD").proxy, "EACAggregatorProxy", "latestRoundData"
    )

    now = await devnet.anvil.timestamp()
    assert now - stale[3] >= 90_314
    assert now - fresh[3] < 60


async def test_a_rotated_aggregator_starts_a_phase_and_keeps_the_price(devnet: Devnet) -> None:
    feed = devnet.deployment.feed("BTC/USD")
    price = await devnet.price("BTC/USD")

    fresh = await devnet.rotate_aggregator("BTC/USD")

    behind = await devnet.deployer.call(feed.proxy, "EACAggregatorProxy", "aggregator")
    round_id = (await devnet.deployer.call(feed.proxy, "EACAggregatorProxy", "latestRoundData"))[0]
    assert behind.lower() == fresh != feed.aggregator
    assert round_id >> 64 == 2
    assert await devnet.price("BTC/USD") == price
    await devnet.push_price("BTC/USD", "90001.5")
    assert await devnet.price("BTC/USD") == Decimal("90001.5")


async def test_the_staked_tokens_price_is_base_times_ratio_up_to_its_cap(devnet: Devnet) -> None:
    source = devnet.deployment.reserve("wstETH").source
    ratio = await devnet.deployer.call(source, "RatioAdapter", "getRatio")
    base = int(await devnet.price("ETH/USD") * 10**8)

    assert await devnet.deployer.call(source, "RatioAdapter", "latestAnswer") == (
        base * ratio // WAD
    )
    assert await devnet.deployer.call(source, "RatioAdapter", "isCapped") is False
    await devnet.set_ratio(Decimal(ratio) / WAD * 2)
    capped = await devnet.deployer.call(source, "RatioAdapter", "latestAnswer")
    assert await devnet.deployer.call(source, "RatioAdapter", "isCapped") is True
    assert capped < base * ratio // WAD * 101 // 100


async def test_millions_are_sold_at_little_loss(devnet: Devnet) -> None:
    there = devnet.deployment
    usdc, weth = there.reserve("USDC"), there.reserve("WETH")
    sold = 1_500 * WAD  # 5.3 million dollars

    quoted = await devnet.deployer.call(
        there.uniswap.quoter, "QuoterV2", "quoteExactInputSingle",
        (weth.asset, usdc.asset, sold, 500, 0),
    )  # fmt: skip

    got_usd = Decimal(quoted[0]) / 10**6 * await devnet.asset_price("USDC")
    worth_usd = 1_500 * await devnet.asset_price("WETH")
    assert Decimal("0.97") < got_usd / worth_usd < 1


async def test_pools_follow_the_oracle_when_told(devnet: Devnet) -> None:
    await devnet.push_price("ETH/USD", "2634.27")

    assert await devnet.align_pools() == 3
    assert await devnet.align_pools() == 0


async def test_someone_below_one_can_be_liquidated_by_the_keepers_account(devnet: Devnet) -> None:
    there = devnet.deployment
    keeper = there.account("keeper").address
    alice = there.account("alice").address
    usdc, weth = there.reserve("USDC").asset, there.reserve("WETH").asset
    await devnet.as_account(keeper, usdc, "TestnetERC20", "approve", there.pool, UINT256_MAX)
    await devnet.push_price("ETH/USD", "2700")
    before = await devnet.account_data(alice)

    await devnet.as_account(
        keeper, there.pool, "IPool", "liquidationCall", weth, usdc, alice, UINT256_MAX, False
    )

    after = await devnet.account_data(alice)
    assert before[5] < WAD
    assert after[1] < before[1]


async def test_the_keepers_account_has_an_inventory_and_has_approved_nothing(
    devnet: Devnet,
) -> None:
    there = devnet.deployment
    keeper = there.account("keeper").address

    for symbol in ("WETH", "wstETH", "WBTC", "USDC", "DAI"):
        asset = there.reserve(symbol).asset
        assert await devnet.deployer.call(asset, "TestnetERC20", "balanceOf", keeper) > 0
        assert (
            await devnet.deployer.call(asset, "TestnetERC20", "allowance", keeper, there.pool) == 0
        )


async def test_a_reorg_replaces_blocks_and_forgets_what_was_in_them(devnet: Devnet) -> None:
    before = await devnet.price("ETH/USD")
    head = await devnet.anvil.block_number()
    await devnet.push_price("ETH/USD", "2222.2")
    await devnet.anvil.mine(2)
    old = await devnet.anvil.rpc("eth_getBlockByNumber", hex(head + 2), False)

    await devnet.anvil.reorg(3)

    new = await devnet.anvil.rpc("eth_getBlockByNumber", hex(head + 2), False)
    assert new["hash"] != old["hash"]
    assert await devnet.price("ETH/USD") == before


async def test_blocks_before_the_load_can_be_left_far_behind(devnet: Devnet) -> None:
    head = await devnet.anvil.block_number()

    await devnet.anvil.reorg(50)

    assert await devnet.anvil.block_number() == head


async def test_chain_time_is_near_ours_and_feeds_are_fresh(stage: Stage) -> None:
    stage.restart()
    async with stage.devnet() as fresh:
        now = await fresh.anvil.timestamp()
        rounds = [
            await fresh.deployer.call(feed.proxy, "EACAggregatorProxy", "latestRoundData")
            for feed in fresh.deployment.feeds
        ]

    assert abs(now - time.time()) < 30
    assert all(now - entry[3] < 30 for entry in rounds)


async def test_each_test_finds_the_chain_as_it_was(stage: Stage, devnet: Devnet) -> None:
    snapshot = await devnet.anvil.snapshot()
    head = await devnet.anvil.block_number()
    await devnet.push_price("ETH/USD", "1234.5")

    await devnet.anvil.revert(snapshot)

    assert await devnet.anvil.block_number() == head
    with pytest.raises(RpcError, match="no snapshot"):
        await devnet.anvil.revert("0xdead")


async def test_an_anvil_that_is_stopped_leaves_no_process(stage: Stage) -> None:
    stage.restart()
    pid = stage.process.pid
    port = stage.process.port

    stage.stop()

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    stage.restart()
    assert stage.process.port == port


def test_the_document_survives_json(deployment: Deployment) -> None:
    assert Deployment.from_json(deployment.to_json()) == deployment
    assert deployment.feed("WETH") == deployment.feed("ETH/USD")
    with pytest.raises(KeyError, match="wstETH"):
        deployment.feed("wstETH")


async def test_the_old_market_is_revision_one_with_people_in_it(devnet_v3_0: Devnet) -> None:
    there = devnet_v3_0.deployment
    data = await devnet_v3_0.account_data_of([b.address for b in there.borrowers])

    assert await devnet_v3_0.deployer.call(there.pool, "v3.0.2/Pool", "POOL_REVISION") == 1
    assert len(data) == 40
    assert all(entry[5] > WAD for entry in data)
    assert sum(entry[1] == 0 for entry in data) == 1


def test_the_interfaces_in_abis_are_those_of_the_packages(toolchain: Toolchain) -> None:
    for folder, files in FOLDERS.items():
        for name, sources in files.items():
            kept = (ROOT / "abis" / folder / f"{name}.json").read_text()

            assert kept == abi_document(toolchain.artifacts, sources), f"{folder}/{name}"


def test_the_shipped_lens_is_what_its_source_compiles_to() -> None:
    shipped = json.loads(LENS.read_text())

    assert shipped["bytecode"] == json.loads(lens_document())["bytecode"]


def test_an_anvil_dies_with_the_process_that_started_it(toolchain: Toolchain) -> None:
    program = (
        "import os, pathlib, signal, sys\n"
        "from keeper.devnet.anvil import AnvilProcess\n"
        "print(AnvilProcess(pathlib.Path(sys.argv[1])).pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )

    said = subprocess.run(
        [sys.executable, "-c", program, str(toolchain.anvil)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )

    pid = int(said.stdout)
    for _ in range(100):
        if not _runs(pid):
            break
        time.sleep(0.02)
    assert not _runs(pid)


def test_an_anvil_leaves_none_of_its_states_behind(
    toolchain: Toolchain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    with AnvilProcess(toolchain.anvil, "--no-mining") as process:
        asyncio.run(_mine(process, 3_000))  # more than it keeps in memory
        written = [path for path in tmp_path.rglob("*") if path.is_file()]

    assert written
    assert not list(tmp_path.iterdir())


async def _mine(process: AnvilProcess, blocks: int) -> None:
    async with Anvil(process.http_url, process.ws_url) as anvil:
        await anvil.mine(blocks)


def test_a_devnet_kept_up_writes_its_document_and_ends_with_its_input(tmp_path: Path) -> None:
    document = tmp_path / "devnet.json"
    devnet = subprocess.Popen(
        [
            *(sys.executable, "-m", "keeper.devnet"),
            *("--json", str(document), "--positions", "60", "--block-time", "1"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert devnet.stdin is not None
    assert devnet.stdout is not None
    with devnet:
        try:
            first = devnet.stdout.readline()
            there = Deployment.read(document)
            devnet.stdin.close()
            ended = devnet.wait(20)
        finally:
            devnet.kill()

    assert first == "Aave v3.6 with 60 positions, chain 31337\n"
    assert len(there.borrowers) == 60
    assert ended == 0
    port = int(there.rpc_url.rsplit(":", 1)[1])
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_devnet_does_what_is_typed_and_goes_on_after_what_cannot_be_done() -> None:
    typed = (
        *("nonsense", "x" * 200_000, "", "price DOGE -5%", "price BTC/USD +9900%"),
        *("price WETH -20%", "wait 2h"),
    )
    devnet = subprocess.Popen(
        [*(sys.executable, "-m", "keeper.devnet"), "--positions", "60", "--block-time", "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    with devnet:
        try:
            said, wrong = devnet.communicate("\n".join((*typed, "positions", "mine 3", "")), 60)
        finally:
            devnet.kill()

    assert devnet.returncode == 0
    moved, later, positions = said.split("end of its input.\n")[1].splitlines()[:3]
    assert moved == "ETH/USD: 2,809.90 instead of 3,512.37"
    assert "outside what the aggregator takes" in wrong
    assert later.endswith(" UTC by the chain")
    assert positions == "  59 with debt, 15 below 1; the worst:"
    assert "'nonsense' is no word here: price, wait, " in wrong
    assert "no feed 'DOGE', it has ETH/USD, " in wrong


async def test_a_word_and_feeds_that_report_take_turns_of_a_block_each(
    devnet: Devnet, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed, anvil = Typed(devnet, {"USDC/USD"}), devnet.anvil
    push, pushed = devnet.push_price, Counter[str]()

    async def counted(feed: str, price: Decimal | str) -> Hash:
        pushed[feed] += 1
        return await push(feed, price)

    monkeypatch.setattr(devnet, "push_price", counted)
    await anvil.increase_time(2 * 86_400)
    await anvil.mine()
    before, rounds = await devnet.price("ETH/USD"), await _rounds(devnet)
    await anvil.set_automine(on=False)
    await anvil.set_interval_mining(2)
    try:
        _, said = await asyncio.gather(typed.report(), typed.carry_out("price ETH/USD -20%"))
    finally:
        await anvil.set_interval_mining(0)
        await anvil.set_automine(on=True)

    assert said.startswith("ETH/USD: ")
    assert await devnet.price("ETH/USD") == round(before * Decimal("0.8"), 8)
    answered = {name: now - rounds[name] for name, now in (await _rounds(devnet)).items()}
    assert answered == dict.fromkeys(answered, 1) | {"ETH/USD": 2, "USDC/USD": 0}
    assert pushed == +Counter(answered)


async def _rounds(devnet: Devnet) -> dict[str, int]:
    found = {}
    for feed in devnet.deployment.feeds:
        said = await devnet.deployer.call(feed.proxy, "EACAggregatorProxy", "latestRoundData")
        found[feed.name] = int(said[0])
    return found


def _runs(pid: int) -> bool:
    """Whether it runs: a zombie waiting for its reaper does not."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
