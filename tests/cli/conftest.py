"""The command line in an empty folder, with a configuration whose node nobody answers at."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.calling import Keeper, log_put_back, toml


@pytest.fixture
def cli(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Keeper]:
    """Call it like ``cli("watches", "--json")``."""
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "keeper.toml"
    config.write_text(toml(tmp_path), encoding="utf-8")
    with log_put_back():
        yield Keeper(config=config, capture=capsys)
