"""``keeper foresee``: what is refused before any node is asked."""

import pytest

from tests.cli.calling import Keeper

WHO = "0x" + "5e" * 20


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--from", WHO), "--from, --to and --data belong together: say all three, or none"),
        (("--from", WHO, "--to", WHO), "--from, --to and --data belong together"),
        (("--from", WHO, "--to", WHO, "--data", "beef"), "--data 'beef' is not hex"),
        (("--from", WHO, "--to", WHO, "--data", "0xbee"), "--data '0xbee' is not hex"),
        (("--from", WHO, "--to", WHO, "--data", "0x" + "zz" * 99), "--data '0xzzzz"),
        (("--from", WHO, "--to", WHO, "--data", "0x12 34"), "--data '0x12 34' is not hex"),
        (("--from", "me", "--to", WHO, "--data", "0x"), "me is not an address"),
        (("0x12",), "0x12 is not an address"),
        (("--market", "nowhere"), "no market 'nowhere' is configured"),
    ],
)
def test_bad_input_is_one_sentence(cli: Keeper, words: tuple[str, ...], sentence: str) -> None:
    said = cli("foresee", *words)

    assert said.code == 2
    assert said.sentence.startswith(sentence), said.sentence


def test_a_node_that_is_not_there_is_said(cli: Keeper) -> None:
    said = cli("foresee", WHO)

    assert said.code == 1
    assert "correct rpc_urls of chain 'local'" in said.sentence


def test_waiting_transactions_need_a_websocket(
    cli: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEEPER__CHAINS__LOCAL__PENDING", "true")

    assert "pending needs ws_urls" in cli("show-config").sentence
