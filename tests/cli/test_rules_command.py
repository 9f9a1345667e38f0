"""``keeper rules`` and what ``keeper check`` says of them, without a chain that answers."""

import asyncio
from pathlib import Path

from sqlalchemy import insert

from keeper.alerts.rules import parse_rule
from keeper.model import Address, Watch
from keeper.store.database import Database
from keeper.store.rules import SqlRules
from keeper.store.tables import RuleRow
from keeper.store.watches import SqlWatches
from tests.cli.calling import Keeper, toml

ME = Address("0x" + "5a" * 20)


def kept(cli: Keeper, folder: Path, *, watched: bool) -> None:
    """A chat's rule about an account, and a row of a newer keeper."""

    async def keep() -> None:
        async with await Database.open(f"sqlite:///{folder / 'keeper.sqlite3'}") as database:
            if watched:
                await SqlWatches(database).add(Watch(chat="telegram:7", account=ME, label="main"))
            rule = parse_rule(f"distance {ME} < 10", "telegram:7", Address)
            await SqlRules(database).add(rule, by="ann")
            async with database.write("test") as session:
                row = {"chat": "telegram:7", "text": "weather WETH < 1", "by": "ann", "at": 1.0}
                await session.execute(insert(RuleRow).values(row))

    asyncio.run(keep())
    cli.capture.readouterr()  # what the store logged


def test_without_rules_it_says_how_to_write_one(cli: Keeper) -> None:
    said = cli("rules")

    assert said.code == 0
    assert said.out.startswith("No rules yet: write them under alerts.rules")


def test_a_rule_that_never_speaks_says_why_and_what_to_do(cli: Keeper, tmp_path: Path) -> None:
    kept(cli, tmp_path, watched=False)

    found = {one["rule"]: one for one in cli("rules", "--json").json["rules"]}

    assert found[f"distance {ME} < 10"]["fault"] == (
        f"{ME} is not watched for telegram:7, so it never speaks"
    )
    assert found[f"distance {ME} < 10"]["remedy"] == (
        f"keeper watch {ME} --chat telegram:7, or end it in telegram:7 with /unrule"
    )
    assert found["weather WETH < 1"]["fault"].startswith(
        "weather is nothing that a rule can measure"
    )
    assert found["weather WETH < 1"]["remedy"] == "write it anew in telegram:7 with /rule"


def test_check_names_the_rules_that_are_wrong(cli: Keeper, tmp_path: Path) -> None:
    kept(cli, tmp_path, watched=True)

    lines = cli("check").out.splitlines()

    [unread] = [line for line in lines if "weather" in line and "rule weather" in line]
    assert unread.startswith("warning  rule weather WETH < 1 for telegram:7: weather is nothing")
    [silent] = [line for line in lines if "rule distance" in line]
    assert "local was not read: " in silent


def test_a_table_of_rules_has_no_traceback_and_the_remedy_below(
    cli: Keeper, tmp_path: Path
) -> None:
    kept(cli, tmp_path, watched=False)

    said = cli("rules")

    assert said.code == 0
    assert "never" in said.out
    assert said.out.rstrip().endswith("write it anew in telegram:7 with /rule")


def test_a_rule_of_the_configuration_finds_who_is_watched_in_the_database(
    cli: Keeper, tmp_path: Path
) -> None:
    cli.config.write_text(
        toml(tmp_path, more="[alerts]\nrules = ['distance main < 10']\n"), encoding="utf-8"
    )

    before = cli("rules", "--json")
    watched = cli("watch", ME, "--label", "main")
    after = cli("rules", "--json")
    ended = cli("unwatch", "main")

    assert [one.code for one in (before, watched, after, ended)] == [0, 0, 0, 0]
    [silent] = before.json["rules"]
    assert silent["rule"] == "distance main < 10"
    assert silent["fault"] == "main is not watched for log:, so it never speaks"
    assert silent["remedy"].startswith("keeper watch ADDRESS --label main --chat log:, or write")
    [found] = after.json["rules"]
    assert found["rule"] == f"distance {ME} < 10"
    assert "local was not read" in found["fault"]  # there is no node: it would be read


def test_check_names_the_rule_whose_account_nobody_watches(cli: Keeper, tmp_path: Path) -> None:
    cli.config.write_text(
        toml(tmp_path, more="[alerts]\nrules = ['distance main < 10']\n"), encoding="utf-8"
    )

    [line] = [line for line in cli("check").out.splitlines() if "rule distance" in line]

    assert line.startswith(
        "warning  rule distance main < 10 for log:: main is not watched for log:, so it never"
    )
