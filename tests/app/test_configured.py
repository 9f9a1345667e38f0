"""Rules of the configuration speak as soon as somebody watches whom they name."""

from pathlib import Path

import structlog

from keeper.app.configured import ConfiguredRules
from keeper.model import Address, Watch
from keeper.settings import Settings, load

ME = Address("0x" + "5a" * 20)
WATCH = Watch(chat="log:", account=ME, label="main")


def settings_of(folder: Path) -> Settings:
    file = folder / "keeper.toml"
    file.write_text('[alerts]\nrules = ["distance main < 10"]\n', encoding="utf-8")
    return load(file, {}, env_file=None)


def test_a_rule_is_silent_until_its_account_is_watched_and_says_so_once(tmp_path: Path) -> None:
    rules = ConfiguredRules(settings_of(tmp_path))

    with structlog.testing.capture_logs() as said:
        silent = (rules(()), rules(()), rules((Watch(chat="log:", account=ME, label="b"),)))
        found = rules((WATCH,))

    assert silent == ((), (), ())
    assert [one.text for one in found] == [f"distance {ME} < 10"]
    [line] = said
    assert (line["event"], line["rule"]) == ("rule.unwatched", "distance main < 10")
    assert line["remedy"].startswith("keeper watch ADDRESS --label main --chat log:")


def test_a_label_that_is_taken_away_again_is_said_again(tmp_path: Path) -> None:
    rules = ConfiguredRules(settings_of(tmp_path))

    with structlog.testing.capture_logs() as said:
        heard = [len(rules(watches)) for watches in ((), (WATCH,), ())]

    assert heard == [0, 1, 0]
    assert [line["event"] for line in said] == ["rule.unwatched"] * 2
