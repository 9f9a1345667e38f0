"""``keeper kill-switch`` works on the file alone: no database, no node."""

from pathlib import Path

from keeper.execution.arming import Arming
from tests.cli.calling import Keeper
from tests.execution.fakes import CHAIN, policy


def test_on_makes_the_file_that_a_running_keeper_obeys_and_off_takes_it_away(
    cli: Keeper, tmp_path: Path
) -> None:
    file = tmp_path / "keeper.stop"
    assert cli("kill-switch", "--json").json == {"kill_switch": "off", "file": str(file)}
    running = Arming(policy(), CHAIN, file)
    running.arm(CHAIN)
    assert running.refusal() == ""

    said = cli("kill-switch", "on")

    assert said.code == 0
    assert "is on" in said.out
    assert file.stat().st_mode & 0o077 == 0
    assert "kill switch" in running.refusal()
    assert not (tmp_path / "keeper.sqlite3").exists()

    assert "restart the keeper to arm it again" in cli("kill-switch", "off").out
    assert not file.exists()
    assert "kill switch" in running.refusal()  # a person arms again, not a file
    assert cli("kill-switch", "off").code == 0


def test_a_file_that_cannot_be_made_is_one_sentence(cli: Keeper, tmp_path: Path) -> None:
    cli.config.write_text(
        cli.config.read_text() + f'[signing]\nkill_switch_file = "{tmp_path}/no/such/stop"\n'
    )

    said = cli("kill-switch", "on")

    assert said.code == 2
    assert "cannot be changed" in said.sentence
