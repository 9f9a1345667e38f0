"""``keeper check`` looks at everything, whatever failed before."""

import json
from pathlib import Path
from typing import Any

import pytest

from keeper.execution.keystore import create_keystore
from tests.cli.calling import Keeper, html, of_chain, serving, toml


def test_a_failed_check_does_not_end_the_next_one(cli: Keeper) -> None:
    said = cli("check")

    lines = [line.split(maxsplit=1) for line in said.out.splitlines()]
    states = [(line[0], line[1].split(": ")[0]) for line in lines if line[0] != "->"]
    assert said.code == 1
    assert said.sentence == "1 of 5 checks failed"
    assert states[:5] == [
        ("failed", "local"),
        ("warning", "local"),
        ("ok", "local"),
        ("ok", "database"),
        ("ok", "telegram"),
    ]
    assert lines[-1] == ["3", "ok, 1 warning, 1 failed"]


def test_each_failure_says_what_to_do_and_keeps_the_key_of_the_url(
    cli: Keeper, tmp_path: Path
) -> None:
    with serving(html) as url:
        cli.config.write_text(toml(tmp_path, f"{url}/secret-key-of-mine"), encoding="utf-8")

        [node] = [c for c in cli("check", "--json").json["checks"] if "node" in c["what"]]

    assert node == {
        "state": "failed",
        "what": f"local: node {url}",
        "said": "answered eth_chainId with HTML.",
        "remedy": "correct rpc_urls of the chain, or wait for the node",
    }


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize("place", ["/v3/{key}", "/rpc?apikey={key}", "/rpc?network=mainnet&{key}"])
def test_a_node_that_repeats_the_key_of_its_url_does_not_get_it_printed(
    cli: Keeper, tmp_path: Path, command: str, place: str
) -> None:
    key = "CANARY0123456789abcdef"

    def refuses(request: dict[str, Any]) -> bytes:
        error = {"code": -32000, "message": f"project {key} is out of credits"}
        return json.dumps({"jsonrpc": "2.0", "id": request["id"], "error": error}).encode()

    with serving(refuses) as url:
        cli.config.write_text(toml(tmp_path, url + place.format(key=key)), encoding="utf-8")
        said = cli(command)

    assert "project *** is out of credits" in said.out + said.err
    assert "CANARY" not in said.out + said.err


def test_a_database_that_cannot_be_opened_fails_the_check(cli: Keeper, tmp_path: Path) -> None:
    (tmp_path / "keeper.sqlite3").write_bytes(b"not a database at all")

    found = {c["what"]: c for c in cli("check", "--json").json["checks"]}

    assert found["database"]["state"] == "failed"
    assert found["database"]["said"].endswith(
        "is damaged or not a SQLite database; restore a backup, or name another file"
    )
    assert found["telegram"]["state"] == "ok"


def test_a_token_that_is_none_fails_the_check_and_is_not_printed(
    cli: Keeper, tmp_path: Path
) -> None:
    more = '[telegram]\ntoken = "canary-canary"\n'
    cli.config.write_text(toml(tmp_path, more=more), encoding="utf-8")

    said = cli("check")

    assert "failed   telegram: telegram.token is not a bot token" in said.out
    assert "canary" not in said.out + said.err


def test_without_any_chain_it_says_how_to_name_one(cli: Keeper) -> None:
    cli.config.write_text("", encoding="utf-8")

    said = cli("check")

    assert said.code == 1
    assert said.out.startswith(
        "failed   configuration: no chain is configured: set ETHEREUM_RPC_URL"
    )
    assert f"or uncomment a chain in {cli.config}" in said.out
    assert "ok       telegram" in said.out


def test_without_any_chain_no_database_is_made(
    cli: Keeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cli.config.write_text("", encoding="utf-8")

    said = cli("check")

    assert "database" not in said.out
    assert not list(tmp_path.glob("*.sqlite3*"))


def test_a_keystore_that_others_may_read_is_a_warning(cli: Keeper, tmp_path: Path) -> None:
    owner = create_keystore(tmp_path / "key.json", "pass word", n=2**12)
    (tmp_path / "phrase").write_text("pass word\n", encoding="utf-8")
    (tmp_path / "phrase").chmod(0o644)
    more = f'[signing]\nkeystore = "{tmp_path}/key.json"\npassphrase_file = "{tmp_path}/phrase"\n'
    cli.config.write_text(toml(tmp_path, more=more), encoding="utf-8")

    found = {c["what"]: c for c in cli("check", "--json").json["checks"]}

    assert found["local: key"]["said"] == (f"{owner}, not armed: it rehearses and sends nothing")
    assert found["signing.passphrase_file"]["remedy"] == f"chmod 600 {tmp_path}/phrase"
    assert "signing.keystore" not in found


def test_a_relay_is_asked_for_something_harmless_and_its_keys_are_not_shown(
    cli: Keeper, tmp_path: Path
) -> None:
    auth = "4b" * 32
    with serving(of_chain(31337)) as url:
        more = f'relay_url = "{url}/RELAYKEY"\nrelay_auth_key = "{auth}"\n'
        before = toml(tmp_path, url).replace("block_time_s = 2\n", f"block_time_s = 2\n{more}")
        cli.config.write_text(before, encoding="utf-8")
        asked = cli("check", "--json")
        shown = cli("show-config").out + cli("show-config", "--json").out

        cli.config.write_text(before.replace(url + "/RELAYKEY", "http://127.0.0.1:9/RELAYKEY"))
        away = cli("check", "--json")

    [relay] = [c for c in asked.json["checks"] if c["what"] == "local: relay"]
    assert relay["state"] == "ok"
    assert relay["said"].endswith(
        "answers; liquidate, deleverage go there, never to the public pool"
    )
    [gone] = [c for c in away.json["checks"] if c["what"] == "local: relay"]
    assert (gone["state"], "did not answer" in gone["said"]) == ("failed", True)
    for said in (asked.out, asked.err, away.out, away.err, shown):
        assert "RELAYKEY" not in said
        assert auth not in said
