"""Configuration of who is told what: rules, Alertmanagers, the webhook."""

from collections.abc import Callable
from pathlib import Path

import pytest

from keeper.errors import ConfigError
from keeper.model import Address, Watch
from keeper.settings import Settings, load

ADDRESS = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
OTHER = Address("0x" + "3c" * 20)
WATCH = f'[[watch]]\naddress="{ADDRESS}"\nlabel="Main"\n'
Load = Callable[[str], Settings]


@pytest.fixture
def loaded(tmp_path: Path) -> Load:
    def run(text: str) -> Settings:
        (tmp_path / "keeper.toml").write_text(text, encoding="utf-8")
        return load(tmp_path / "keeper.toml", {}, env_file=None)

    return run


def test_a_rule_is_a_line_for_the_operators_or_for_the_chat_it_names(loaded: Load) -> None:
    settings = loaded(
        "[alerts]\nrules = ['price WETH < 2000/1800', 'distance main < 10', "
        "'telegram:77 utilisation USDC > 95']\n" + WATCH
    )

    rules, unwatched = settings.rules(())
    assert unwatched == ()
    assert [(one.chat, one.text) for one in rules] == [
        ("log:", "price WETH < 2000/1800"),
        ("log:", f"distance {ADDRESS.lower()} < 10"),
        ("telegram:77", "utilisation USDC > 95"),
    ]


def test_a_rule_may_name_an_account_that_only_the_database_watches(loaded: Load) -> None:
    settings = loaded(
        "[alerts]\nrules = ['telegram:7 distance main < 10', "
        f"'moved {ADDRESS} > 500', 'distance my old wallet < 5']\n"
    )
    theirs = Watch(chat="telegram:7", account=OTHER, label="Main")
    elsewhere = Watch(chat="telegram:8", account=OTHER, label="main")

    before, silent = settings.rules((elsewhere,))
    after, still = settings.rules((theirs,))

    moved = ("log:", f"moved {ADDRESS.lower()} > 500")
    assert [(one.chat, one.text) for one in before] == [moved]
    assert [(one.chat, one.text, one.account) for one in silent] == [
        ("telegram:7", "distance main < 10", "main"),
        ("log:", "distance my old wallet < 5", "my old wallet"),
    ]
    assert silent[1].remedy == (
        "keeper watch ADDRESS --label 'my old wallet' --chat log:, or write its address under "
        "alerts.rules"
    )
    assert [(one.chat, one.text) for one in after] == [
        ("telegram:7", f"distance {OTHER} < 10"),
        moved,
    ]
    assert still == silent[1:]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "[alerts]\nrules = ['weather WETH < 1']\n",
            "alerts.rules: weather is nothing that a rule",
        ),
        ("[alerts]\nrules = ['price WETH < 1/2']\n", "must be less than the first"),
        ("[alerts]\nrules = ['smoke:7 price WETH < 1']\n", "the chat must be"),
        ("[alerts.alertmanagers]\nops = 'ftp://x'\n", "alertmanagers.ops must begin with https://"),
        ("[alerts]\nescalate_to = ['alertmanager:ops']\n", "alertmanagers has no 'ops'"),
        (
            "[telegram]\nwebhook_url = 'http://a.example/telegram'\n",
            "webhook_url must begin with https://",
        ),
        ("[telegram]\nwebhook_url = 'https://a.example/t'\n", "webhook_secret must be 16 to 256"),
        (
            "[telegram]\nwebhook_secret = 'with spaces in it !'\nwebhook_url = 'https://a.b'\n",
            "webhook_secret must be 16 to 256",
        ),
    ],
)
def test_what_is_wrong_is_said_at_the_start(loaded: Load, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        loaded(text)

    assert says in str(refused.value)
    assert "with spaces" not in str(refused.value)


def test_secrets_of_the_webhook_and_of_alertmanagers_are_hidden(loaded: Load) -> None:
    settings = loaded(
        "[telegram]\nwebhook_url = 'https://a.example/t'\nwebhook_secret = 'abcdefghij0123456789'\n"
        "[alerts]\nescalate_to = ['alertmanager:ops']\n"
        "[alerts.alertmanagers]\nops = 'https://u:p@am.example'\n"
    )

    assert {"abcdefghij0123456789", "https://u:p@am.example"} <= set(settings.secrets())
    assert "abcdefghij" not in repr(settings)
