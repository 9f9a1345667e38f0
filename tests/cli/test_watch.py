"""Watches from the command line, and the database they are kept in."""

import sqlite3
from pathlib import Path

from tests.cli.calling import Keeper, toml

ACCOUNT = "0xdFa62Ef8a40071E8656984F133a5f43164F00d14"
OTHER = "0x2a3bdc86cc07b9ed2c94dbcb54b19e852f6cb497"


def test_a_watch_is_kept_listed_and_ended(cli: Keeper) -> None:
    kept = cli("watch", ACCOUNT, "--label", "whale", "--thresholds", "1.5/1.2/1.125")

    assert (kept.code, kept.err) == (0, "")
    assert kept.out == f"Watching {ACCOUNT} (whale) for log:, at 1.5 / 1.2 / 1.125\n"
    listed = cli("watches", "--json").json["watches"]
    assert listed == [
        {
            "chat": "log:",
            "address": ACCOUNT.lower(),
            "label": "whale",
            "thresholds_wad": [
                "1500000000000000000",
                "1200000000000000000",
                "1125000000000000000",
            ],
            "note": "",
        }
    ]
    assert cli("unwatch", "WHALE").out == f"No longer watching {ACCOUNT} (whale) for log:\n"
    assert cli("watches").out == "Nobody watches anything yet: keeper watch ADDRESS\n"


def test_a_label_means_one_account(cli: Keeper) -> None:
    cli("watch", ACCOUNT, "--label", "main")

    said = cli("watch", OTHER, "--label", "Main")

    assert said.code == 2
    assert said.sentence == (
        f"log: calls {ACCOUNT} 'main' already: choose another --label, "
        "or `keeper unwatch` that one first"
    )


def test_a_watch_again_replaces_the_first(cli: Keeper) -> None:
    cli("watch", ACCOUNT)

    said = cli("watch", ACCOUNT, "--label", "main")

    assert said.out.startswith(f"Still watching, as told now: {ACCOUNT} (main) for log:")
    assert len(cli("watches", "--json").json["watches"]) == 1


def test_watches_of_the_configuration_are_listed_too(cli: Keeper, tmp_path: Path) -> None:
    more = f'[[watch]]\naddress = "{ACCOUNT}"\nlabel = "mine"\n'
    cli.config.write_text(toml(tmp_path, more=more), encoding="utf-8")

    [line] = [line for line in cli("watches").out.splitlines() if ACCOUNT in line]

    assert line.split()[1:4] == ["mine", "log:", "global"]
    assert line.rstrip().endswith("from the configuration")


def test_the_database_is_described_checked_copied_and_audited(cli: Keeper, tmp_path: Path) -> None:
    cli("watch", ACCOUNT)
    copy = tmp_path / "copy.sqlite3"

    told = cli("db", "info", "--json").json
    assert told["rows"]["watches"] == 1
    assert told["open_plans"] == 0
    assert cli("db", "check", "--json").json["ok"] is True
    assert cli("db", "backup", str(copy)).out.startswith(f"Wrote {copy}, ")
    assert cli("db", "backup", str(copy)).sentence == (
        f"{copy} exists already; name another file for the backup"
    )
    audited = cli("db", "audit", "--json").json
    assert (audited["ok"], audited["rows"]) == (True, 1)
    assert audited["last"][0]["event"] == "watch.set"


def test_an_audit_trail_that_was_changed_is_a_fault(cli: Keeper, tmp_path: Path) -> None:
    cli("watch", ACCOUNT)
    connection = sqlite3.connect(tmp_path / "keeper.sqlite3")
    connection.execute("UPDATE audit SET fields = replace(fields, 'log:', 'lag:')")
    connection.commit()
    connection.close()

    audited, checked = cli("db", "audit"), cli("db", "check", "--json")

    assert audited.code == 1
    assert "the audit trail is broken at row 1: it was changed after it was written" in (
        audited.sentence
    )
    assert checked.code == 1
    assert checked.json["faults"] == ["audit: row 1: it was changed after it was written"]
