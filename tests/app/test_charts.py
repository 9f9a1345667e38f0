"""What a chart is called: as the chat that asked calls the account."""

from pathlib import Path

import pytest

from keeper.alerts.machine import DEFAULT_THRESHOLDS
from keeper.app import charts
from keeper.model import PassRecord
from keeper.store.database import Database
from keeper.store.history import SqlHistory
from keeper.store.records import SqlRecords
from keeper.store.watches import SqlWatches
from tests.store.builders import MARKET, assessed, block, position, watch

pytest.importorskip("matplotlib", reason="keeper[charts] is not installed")


async def test_the_account_is_called_what_the_chat_calls_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []

    def draw(name: str, *_: object) -> bytes:
        called.append(name)
        return b"png"

    monkeypatch.setattr(charts, "draw", draw)
    async with await Database.open(str(tmp_path / "keeper.sqlite3")) as database:
        await SqlRecords(database).record(PassRecord(block=block(), history=(assessed(),)))
        watches = SqlWatches(database)
        await watches.add(watch(label="Main"))
        picture = charts.drawer(SqlHistory(database), watches, DEFAULT_THRESHOLDS)
        assert picture is not None
        what = f"{MARKET.chain_id}/{MARKET.name}/{position().account}/86400"

        assert await picture(what, "telegram:12345") == b"png"
        assert await picture(what, "telegram:6") == b"png"

    assert called == ["Main", "0x0000..11ce"]
