"""Whatever is wrong is one plain sentence with the remedy, and an exit code that is not 0."""

import fcntl
import sqlite3
from pathlib import Path

import pytest

from keeper.store.migrations import VERSION_TABLE
from tests.cli.calling import Keeper, Said, html, of_chain, serving, toml

ACCOUNT = "0xdfa62ef8a40071e8656984f133a5f43164f00d14"
WRONG_CHECKSUM = "0xDFa62Ef8a40071E8656984F133a5f43164F00d14"
CAPS = """
max_per_tx_usd = "1"
max_per_day_usd = "1"
max_gas_per_tx_eth = "1"
max_gas_per_day_eth = "1"
"""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("explain", "0x123"), "0x123 is not an address: it must be 0x and 40 hexadecimal digits."),
        (("topup", "hello"), "hello is not an address: it must be 0x and 40 hexadecimal digits."),
        (
            ("watch", WRONG_CHECKSUM),
            (
                f"The capital letters of {WRONG_CHECKSUM} do not match its checksum, so a "
                "character may be wrong: copy it again."
            ),
        ),
        (
            ("explain", "maker"),
            (
                "maker is neither an account (0x and 40 hex digits), nor an intent's id (16 hex "
                "digits, see `keeper actions`), nor a label (see `keeper watches`)"
            ),
        ),
        (
            ("positions", "--market", "nope"),
            "no market 'nope' is configured: there is aave-v3-local",
        ),
        (("oracles", "--chain", "nope"), "no chain 'nope' is configured: there is local"),
        (("positions", "--below", "-1"), "--below must be a decimal number from 0 up, not '-1'"),
        (
            ("repay", ACCOUNT, "--target", "high"),
            "--target must be a decimal number such as \"1.05\", not 'high'",
        ),
        (
            ("watch", ACCOUNT, "--thresholds", "1.05/1.15/1.30"),
            (
                "The thresholds 1.05/1.15/1.30 are out of order: they must fall, such as "
                "1.30/1.15/1.05."
            ),
        ),
        (
            ("watch", ACCOUNT, "--chat", "sms:1"),
            '--chat must be "telegram:" and a chat id, or "log:", not \'sms:1\'',
        ),
        (
            ("watch", ACCOUNT, "--chat", "telegram:1"),
            "telegram:1 cannot hear anything: telegram.token is not set",
        ),
        (
            ("oracles", "--png", "y.png"),
            "--png is for --history: add --history ETH/USD, or whichever feed or asset it is",
        ),
        (
            ("oracles", "--since", "3d"),
            "--since is for --history: add --history ETH/USD, or whichever feed or asset it is",
        ),
        *(
            (
                (command, ACCOUNT, "--amount", "1", "--target", "1.5"),
                "--amount and --target are two answers to how much: leave one of them out",
            )
            for command in ("topup", "repay", "deleverage")
        ),
        (
            ("unwatch", "nobody"),
            "log: watches nothing called nobody: `keeper watches` lists them all",
        ),
    ],
)
def test_a_wrong_word_is_one_sentence(
    cli: Keeper, arguments: tuple[str, ...], sentence: str
) -> None:
    said = cli(*arguments)

    assert (said.code, said.out, said.sentence) == (2, "", sentence)


@pytest.mark.parametrize(
    "arguments",
    [("positions",), ("explain", ACCOUNT), ("oracles",), ("topup", ACCOUNT), ("approve", "USDC")],
)
def test_a_node_that_is_down_is_named_without_its_key(
    cli: Keeper, arguments: tuple[str, ...]
) -> None:
    said = cli(*arguments)

    assert said.code == 1
    assert said.sentence.startswith("http://127.0.0.1:9 cannot be reached (")
    assert said.sentence.endswith(
        ": correct rpc_urls of chain 'local', or wait until the node answers."
    )


def test_a_node_that_answers_html_is_one_sentence(cli: Keeper, tmp_path: Path) -> None:
    with serving(html) as url:
        cli.config.write_text(toml(tmp_path, url), encoding="utf-8")

        said = cli("positions", "--json")

    assert (said.code, said.out) == (1, "")
    assert said.sentence == (
        f"{url} answered eth_chainId with HTML: correct rpc_urls of chain 'local', or wait until "
        "the node answers."
    )


@pytest.mark.parametrize("command", ["positions", "run"])
def test_another_chain_behind_the_url_is_one_sentence(
    cli: Keeper, tmp_path: Path, command: str
) -> None:
    more = '[log]\nlevel = "error"\n'
    with serving(of_chain(10)) as url:
        cli.config.write_text(toml(tmp_path, url, more), encoding="utf-8")

        said = cli(command)

    assert said.code == 2
    assert said.sentence == (
        f"{url} answers for chain 10, the configuration says 31337: correct the URL or the "
        "chain_id."
    )


def _with(cli: Keeper, tmp_path: Path, more: str, *command: str) -> Said:
    cli.config.write_text(toml(tmp_path, more=more), encoding="utf-8")
    return cli(*command)


def test_arming_without_a_key_is_refused(cli: Keeper, tmp_path: Path) -> None:
    said = _with(cli, tmp_path, f"[signing]\narmed_chain_ids = [31337]{CAPS}", "run")

    assert (said.code, said.out) == (2, "")
    assert "[signing] arms a chain but names no key: set keystore" in said.sentence


def test_a_plain_key_next_to_a_public_chain_is_refused_and_not_repeated(
    cli: Keeper, tmp_path: Path
) -> None:
    key = "0x" + "11" * 32
    more = (
        '[chains.ethereum]\nrpc_urls = ["https://node.example"]\n'
        f'[signing]\narmed_chain_ids = [1]\nprivate_key = "{key}"{CAPS}'
    )

    said = _with(cli, tmp_path, more, "run")

    assert (said.code, said.out) == (2, "")
    assert "allowed only on chain 31337, and 'ethereum' has id 1: use signing.keystore" in (
        said.sentence
    )
    assert key not in said.err


def test_sending_on_a_chain_that_is_not_armed_changes_nothing(cli: Keeper) -> None:
    said = cli("liquidate", ACCOUNT, "--send")

    assert said.code == 1  # the node is asked first, and nobody answers
    assert not cli.config.with_name("keeper.sqlite3").exists()


def test_a_key_that_does_not_exist_in_the_configuration_is_named(
    cli: Keeper, tmp_path: Path
) -> None:
    said = _with(cli, tmp_path, '[telegramm]\ntoken = "x"\n', "positions")

    assert (said.code, said.out) == (2, "")
    assert said.sentence.endswith("has no section 'telegramm', did you mean 'telegram'?")


def test_a_damaged_database_is_one_sentence_and_left_as_it_is(cli: Keeper, tmp_path: Path) -> None:
    file = tmp_path / "keeper.sqlite3"
    file.write_bytes(b"SQLite format 3\x00" + b"x" * 5_000)

    said = cli("actions")

    assert said.code == 2
    assert said.sentence == (
        f"database: {file} is damaged (file is not a database); restore a backup"
    )
    assert file.read_bytes() == b"SQLite format 3\x00" + b"x" * 5_000


def test_the_database_of_a_newer_keeper_is_not_touched(cli: Keeper, tmp_path: Path) -> None:
    assert cli("db", "info").code == 0
    connection = sqlite3.connect(tmp_path / "keeper.sqlite3")
    connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    connection.commit()
    connection.close()

    said = cli("watches")

    assert said.code == 2
    assert "was written by a newer keeper (schema 9999, this one knows up to " in said.sentence
    assert "update keeper, or restore a backup made before" in said.sentence


def test_a_terminal_is_not_steered_by_what_was_typed(cli: Keeper) -> None:
    said = cli("explain", "\x1b[2Jname")

    assert said.code == 2
    assert said.sentence.startswith("?[2Jname is neither an account")


def test_an_account_is_explained_by_its_label(cli: Keeper) -> None:
    assert cli("watch", ACCOUNT, "--label", "Main").code == 0

    said = cli("explain", " mAIN")

    assert said.sentence.startswith("http://127.0.0.1:9 cannot be reached (")


def test_a_label_of_two_accounts_is_not_guessed(cli: Keeper, tmp_path: Path) -> None:
    other = "0x" + "12" * 20
    entry = f'[[watch]]\naddress = "{other}"\nlabel = "main"\n'
    assert cli("watch", ACCOUNT, "--label", "Main").code == 0

    said = _with(cli, tmp_path, entry, "explain", "main")

    assert said.code == 2
    assert said.sentence == (
        f"main is the label of {other} and {WRONG_CHECKSUM.replace('DF', 'dF')}: say which by its"
        " address"
    )


@pytest.mark.parametrize("command", ["run", "watches"])
def test_a_database_that_does_not_answer_is_no_fault_of_the_configuration(
    cli: Keeper, tmp_path: Path, command: str
) -> None:
    file = f"sqlite:///{tmp_path / 'keeper.sqlite3'}"
    there = toml(tmp_path).replace(file, "postgresql://keeper@127.0.0.1:1/x")
    cli.config.write_text(there, encoding="utf-8")

    said = cli(command)

    assert said.code == 1  # systemd starts it again; after 2 it would not
    assert "cannot be opened ([Errno 111] Connect call failed" in said.sentence


@pytest.mark.parametrize("there", [False, True])
def test_a_second_keeper_on_a_database_is_told_of_the_first(
    cli: Keeper, tmp_path: Path, there: bool
) -> None:
    with (tmp_path / "keeper.sqlite3.running").open("wb") as file:
        if there:
            fcntl.flock(file, fcntl.LOCK_SH)

        said = cli("run")

    assert said.code == 1  # there is no node: it went on to look for one
    assert ("keeper.second" in said.err) is there
    assert ("stop one, unless both are meant to run" in said.err) is there
