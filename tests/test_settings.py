"""Configuration: what wins, what is exact, and the one sentence for everything that is wrong."""

import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.errors import ConfigError
from keeper.model import Thresholds
from keeper.settings import Settings, load
from keeper.settings.acting import Protect
from keeper.settings.chains import MARKETS_EXAMPLE
from keeper.settings.document import env, lines, masked, toml
from keeper.settings.values import decimal_text, exact
from keeper.units import Wad

Load = Callable[..., Settings]

ADDRESS = "0x52908400098527886E0F7030069857D2E4169EE7"
ETHEREUM = '[chains.ethereum]\nrpc_urls = ["https://node.example/KEY"]\n'
POLICY = (
    'max_per_tx_usd="1"\nmax_per_day_usd="2"\nmax_gas_per_tx_eth="1"\nmax_gas_per_day_eth="2"\n'
)


@pytest.fixture
def loaded(tmp_path: Path) -> Load:
    """Load from a keeper.toml with this text, a .env with that, and variables."""

    def run(text: str = "", dotenv: str = "", **variables: str) -> Settings:
        (tmp_path / "keeper.toml").write_text(text, encoding="utf-8")
        (tmp_path / ".env").write_text(dotenv, encoding="utf-8")
        return load(tmp_path / "keeper.toml", variables, env_file=tmp_path / ".env")

    return run


@pytest.fixture
def refusal(loaded: Load, tmp_path: Path) -> Callable[..., str]:
    """The sentence with which loading is refused, with paths cut to file names."""

    def run(text: str = "", dotenv: str = "", **variables: str) -> str:
        with pytest.raises(ConfigError) as caught:
            loaded(text, dotenv, **variables)
        return str(caught.value).replace(f"{tmp_path}/", "")

    return run


# --- what wins ------------------------------------------------------------------------------


def test_the_environment_beats_dotenv_beats_the_file_beats_the_default(loaded: Load) -> None:
    text = '[log]\nlevel = "error"\nformat = "json"\n[web]\nport = 1\n'
    dotenv = "KEEPER__LOG__LEVEL=warning\nKEEPER__LOG__FORMAT=text\n"

    settings = loaded(text, dotenv, KEEPER__LOG__LEVEL="debug")

    assert (settings.log.level, settings.log.format) == ("debug", "text")
    assert (settings.web.port, settings.web.host) == (1, "127.0.0.1")
    assert settings.source("log.level") == "KEEPER__LOG__LEVEL"
    assert settings.source("log.format").endswith(".env: KEEPER__LOG__FORMAT")
    assert settings.source("web.port").endswith("keeper.toml")
    assert settings.source("web.host") == "default"


def test_a_public_chain_needs_a_url_and_nothing_else(loaded: Load) -> None:
    settings = loaded(ETHEREUM_RPC_URL="https://node.example")

    (chain,) = settings.select()
    assert (chain.name, chain.chain_id, chain.block_time_s) == ("ethereum", 1, 12.0)
    (market,) = chain.markets
    assert market.name == "aave-v3-ethereum"
    assert market.addresses_provider == "0x2f39d218133afab8f2b819b1066c7e434ad94e9e"
    assert settings.source("chains.ethereum.rpc_urls") == "ETHEREUM_RPC_URL"
    assert settings.source("chains.ethereum.chain_id") == "preset"


def test_a_stray_shorthand_adds_no_chain_to_those_configured(loaded: Load) -> None:
    settings = loaded("[chains.base]\n", BASE_RPC_URL="https://b", ETHEREUM_RPC_URL="https://e")

    assert [chain.name for chain in settings.select()] == ["base"]


def test_a_url_of_the_file_is_not_replaced_by_a_shorthand(loaded: Load) -> None:
    settings = loaded(ETHEREUM, ETHEREUM_RPC_URL="https://other.example")

    assert settings.select("ethereum")[0].rpc_urls == ("https://node.example/KEY",)


@pytest.mark.parametrize("written", ["/var/lib/geth.ipc", "ipc:///var/lib/geth.ipc"])
def test_a_node_may_be_a_socket_of_this_machine(loaded: Load, written: str) -> None:
    settings = loaded(f'[chains.ethereum]\nrpc_urls = ["{written}", "https://node.example"]\n')

    urls = settings.select("ethereum")[0].rpc_urls
    assert urls == ("ipc:///var/lib/geth.ipc", "https://node.example")
    assert settings.select("ethereum")[0].pushing == ("ipc:///var/lib/geth.ipc",)


def test_heads_are_pushed_by_what_ws_urls_names_a_socket_too(loaded: Load) -> None:
    node = 'rpc_urls = ["/run/one.ipc", "https://node.example"]\n'
    named = loaded(f'[chains.ethereum]\n{node}ws_urls = ["/run/two.ipc", "wss://node.example"]\n')

    assert named.select("ethereum")[0].pushing == ("ipc:///run/two.ipc", "wss://node.example")


def test_without_a_socket_or_ws_urls_nobody_pushes_heads(loaded: Load) -> None:
    assert loaded(ETHEREUM).select("ethereum")[0].pushing == ()


def test_variables_find_a_table_whatever_its_case_and_hyphens(loaded: Load) -> None:
    text = f'[protect.Main-Wallet]\naccount="{ADDRESS}"\nbelow=1.1\ntarget=1.2\nmax_per_tx_usd=9\n'

    settings = loaded(text, KEEPER__PROTECT__MAIN_WALLET__TARGET="1.3")

    assert list(settings.protect) == ["Main-Wallet"]
    assert settings.protect["Main-Wallet"].target == Wad(1_300_000_000_000_000_000)


def test_an_empty_variable_is_as_good_as_none(loaded: Load) -> None:
    assert loaded(KEEPER__LOG__LEVEL="").log.level == "info"
    assert loaded(KEEPER__TELEGRAM__TOKEN=" ").telegram.token is None


def test_settings_cannot_be_changed(loaded: Load) -> None:
    settings = loaded()

    with pytest.raises(ValueError, match="frozen"):
        settings.log.level = "debug"  # type: ignore[misc]


def test_nothing_is_armed_and_nothing_listens_by_default(loaded: Load) -> None:
    settings = loaded(ETHEREUM)

    assert not settings.signing.armed(1)
    assert not settings.liquidate.enabled
    assert not settings.protect
    assert not settings.web.enabled


# --- exact values ---------------------------------------------------------------------------


def test_decimals_are_exact_to_the_last_wei(loaded: Load) -> None:
    settings = loaded("[thresholds]\ninfo = 1.300000000000000001\n")

    assert settings.thresholds.info == 1_300_000_000_000_000_001


@given(st.integers(min_value=0, max_value=10**40))
def test_a_written_decimal_reads_back_as_itself(value: int) -> None:
    assert exact(decimal_text(value, 18), 18) == value
    assert exact(Decimal(decimal_text(value, 8)), 8) == value


@pytest.mark.parametrize("bad", [1.05, True, "", "1,05", "-1", "nan", "inf", "1e400", "0x1"])
def test_what_is_not_an_exact_decimal_is_refused(bad: object) -> None:
    with pytest.raises(ValueError, match=r"^must be a decimal number"):
        exact(bad, 18)


def test_thresholds_are_three_words_or_one_line(loaded: Load) -> None:
    settings = loaded(f'[[watch]]\naddress="{ADDRESS}"\nlabel="a"\nthresholds="1.5/1.2/1.1"\n')

    (watch,) = settings.watches()
    assert watch.chat == "log:"
    assert watch.account == ADDRESS.lower()
    assert watch.thresholds == Thresholds(
        info=Wad(15 * 10**17), warning=Wad(12 * 10**17), critical=Wad(11 * 10**17)
    )


def test_a_watch_without_a_chat_is_heard_by_every_operator(loaded: Load) -> None:
    settings = loaded(
        f'[[watch]]\naddress="{ADDRESS}"\n[telegram]\ntoken="1:x"\noperator_chats=[7, -100]\n'
    )

    assert [w.chat for w in settings.watches()] == ["telegram:7", "telegram:-100"]
    assert settings.watches()[0].label == "0x5290..9ee7"


# --- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '[chains.ethereum]\nrcp_urls = ["https://a"]\n',
            "keeper.toml: [chains.ethereum] has no key 'rcp_urls', did you mean 'rpc_urls'?",
        ),
        ("[chain.ethereum]\n", "keeper.toml: has no section 'chain', did you mean 'chains'?"),
        (
            '[chains.etherium]\nrpc_urls = ["https://a"]\n',
            "[chains.etherium] is not a chain that is known by name, did you mean 'ethereum'?",
        ),
        (
            '[chains.ethereum]\nchain_id = 5\nrpc_urls = ["https://a"]\n',
            "[chains.ethereum] has chain_id 5, and ethereum is known as chain 1",
        ),
        ("[chains.ethereum]\n", "keeper.toml: [chains.ethereum] needs 'rpc_urls': HTTP endpoints"),
        (
            '[chains.ethereum]\nrpc_urls = ["ftp://a/KEY"]\n',
            "[chains.ethereum] rpc_urls, entry 1, must be a URL starting with https:// or http://",
        ),
        (
            '[chains.ethereum]\nrpc_urls = ["http://169.254.169.254/latest"]\n',
            "must not point at 169.254.169.254, where clouds hand out credentials",
        ),
        (
            '[chains.ethereum]\nrpc_urls = ["http://[64:ff9b::a9fe:a9fe]/latest"]\n',
            "must not point at 64:ff9b::a9fe:a9fe, where clouds hand out credentials",
        ),
        (
            ETHEREUM + 'markets = ["aave-v3-etherum"]\n',
            "'aave-v3-etherum', which is no known market, did you mean 'aave-v3-ethereum'?",
        ),
        (
            ETHEREUM + 'markets = ["aave-v3-base"]\n',
            "'aave-v3-base' is the market of chain 8453 (base), this chain has id 1",
        ),
        (
            '[thresholds]\ninfo = 1.1\nwarning = "1.2"\n',
            (
                "keeper.toml: [thresholds] thresholds are out of order: info, warning, critical "
                "must fall strictly, and these are 1.1 / 1.2 / 1.05"
            ),
        ),
        (
            "[thresholds]\ncritical = 1\n",
            "[thresholds] critical must be above 1, where liquidation begins",
        ),
        (
            "[thresholds]\ncritical = 1.0500000000000000001\n",
            "[thresholds] critical has more than 18 decimals: '1.0500000000000000001'",
        ),
        (
            '[[watch]]\naddress = "0x123"\n',
            "[[watch]] entry 1 address must be an address, 0x and 40 hex digits, not '0x123'",
        ),
        (
            '[[watch]]\naddress = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD"\n',
            "[[watch]] entry 1 address 0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD has a wrong",
        ),
        (
            f'[[watch]]\naddress = "{ADDRESS}"\nchat = "slack:1"\n',
            '[[watch]] entry 1 chat must be "telegram:" and a chat id, or "log:", not \'slack:1\'',
        ),
        (
            f'[protect.a]\naccount="{ADDRESS}"\nbelow=1.2\ntarget=1.1\nmax_per_tx_usd=1\n',
            "keeper.toml: [protect.a] target must be above below",
        ),
        (
            (
                f'[protect.a]\naccount="{ADDRESS}"\nbelow=1.2\ntarget=1.205\nmax_per_tx_usd=1\n'
                'strategy=["top_up", "deleverage"]\n'
            ),
            "keeper.toml: [protect.a] target must be 0.01 above below, or a sale would not be",
        ),
        (
            (
                f'[protect.a]\naccount="{ADDRESS}"\nbelow=1.2\ntarget=1.3\nmax_per_tx_usd=1\n'
                'strategy=["sell"]\n'
            ),
            "strategy must be top_up or repay or deleverage or alert, not 'sell'",
        ),
        (
            "[signing]\narmed_chain_ids = [1]\n" + ETHEREUM,
            (
                "keeper.toml: [signing] arms a chain but names no key: set keystore and "
                "passphrase_file, or leave armed_chain_ids empty to watch only"
            ),
        ),
        (
            '[signing]\narmed_chain_ids = [1]\nkeystore = "k"\npassphrase_file = "p"\n',
            (
                "arms a chain without a policy: max_per_tx_usd, max_per_day_usd, "
                "max_gas_per_tx_eth, max_gas_per_day_eth must be above 0"
            ),
        ),
        (
            f'[signing]\narmed_chain_ids=[1]\nkeystore="k"\npassphrase_file="p"\n{POLICY}{ETHEREUM}',
            "signing.keystore: there is no file k, and a chain is armed",
        ),
        (
            f'[signing]\narmed_chain_ids=[10]\nkeystore="k"\npassphrase_file="p"\n{POLICY}{ETHEREUM}',
            "signing.armed_chain_ids names 10, and no chain with this id is configured",
        ),
        (
            f'[signing]\nprivate_key = "0xcafe"\n{ETHEREUM}',
            (
                "signing.private_key is a key in plain text, which is allowed only on chain 31337, "
                "and 'ethereum' has id 1: use signing.keystore and signing.passphrase_file"
            ),
        ),
        ("[web]\nport = 'x'\n", "keeper.toml: [web] port must be a whole number"),
        ("[log]\nlevel = 'loud'\n", "[log] level must be 'debug', 'info', 'warning' or 'error'"),
        ("[web\n", "keeper.toml is not valid TOML: expected ']'"),
        ("log = 3\n", "keeper.toml: [log] must be a table of keys and values"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    refusal: Callable[..., str], text: str, expected: str
) -> None:
    said = refusal(text)

    assert expected in said
    assert "\n" not in said
    for leak in ("KEY", "cafe", "pydantic", "Traceback", "validation error"):
        assert leak not in said


def test_a_misspelt_variable_is_named_with_the_nearest_one(refusal: Callable[..., str]) -> None:
    said = refusal(KEEPER__CHAINS__BASE__RPC_URL="https://a")

    assert said.startswith(
        "KEEPER__CHAINS__BASE__RPC_URL: [chains.base] has no key 'rpc_url', "
        "did you mean 'rpc_urls'?"
    )


def test_a_variable_that_starts_like_json_and_is_not_is_named(refusal: Callable[..., str]) -> None:
    said = refusal(KEEPER__WATCH='[{"address": ]')

    assert said == "KEEPER__WATCH starts like JSON and is not: expecting value at character 14"


def test_a_line_of_dotenv_is_named_as_such(refusal: Callable[..., str]) -> None:
    said = refusal(dotenv="KEEPER__WEB__PORT=many\n")

    assert said == ".env: KEEPER__WEB__PORT: [web] port must be a whole number"


def test_two_tables_for_one_chain_are_refused(refusal: Callable[..., str]) -> None:
    twice = (
        '[chains.mine]\nchain_id = 1\nrpc_urls = "http://a"\n'
        f'markets = [{{name = "m", addresses_provider = "{ADDRESS}"}}]\n'
    )

    assert "both have id 1: one chain is one table" in refusal(ETHEREUM + twice)


def test_a_file_that_was_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no file .*: write one with `keeper new-con"):
        load(tmp_path / "absent.toml", {}, env_file=None)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "keeper.toml"
    file.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(ConfigError, match=r"keeper\.toml is not a text file in UTF-8$"):
        load(file, {}, env_file=None)


def test_without_any_chain_the_remedy_is_said(loaded: Load) -> None:
    with pytest.raises(ConfigError, match="set ETHEREUM_RPC_URL="):
        loaded().select()


def test_an_unknown_chain_is_named_with_those_there_are(loaded: Load) -> None:
    with pytest.raises(ConfigError, match="no chain 'base' is configured: there is ethereum"):
        loaded(ETHEREUM).select("base")


def test_a_chain_in_other_letters_is_named_as_it_is(loaded: Load) -> None:
    with pytest.raises(ConfigError, match=r"is configured: did you mean ethereum\?"):
        loaded(ETHEREUM).select("ETHEREUM")


def test_without_any_chain_a_file_that_is_there_is_to_be_edited(loaded: Load) -> None:
    with pytest.raises(ConfigError, match=r"or uncomment a chain in .*keeper\.toml$"):
        loaded(toml()).select()


# --- arming ---------------------------------------------------------------------------------


def test_a_chain_is_armed_by_id_key_and_policy_together(loaded: Load, tmp_path: Path) -> None:
    for name in ("key.json", "passphrase"):
        (tmp_path / name).write_text("x", encoding="utf-8")

    settings = loaded(
        f'[signing]\narmed_chain_ids = [1]\nkeystore = "{tmp_path}/key.json"\n'
        f'passphrase_file = "{tmp_path}/passphrase"\n{POLICY}{ETHEREUM}'
    )

    assert settings.signing.armed(1)
    assert not settings.signing.armed(8453)
    assert settings.signing.max_per_tx_usd == 10**8
    assert settings.signing.max_gas_per_tx_eth == 10**18


def test_a_plain_key_is_taken_on_the_development_chain(loaded: Load) -> None:
    chain = (
        f'[chains.dev]\nchain_id = 31337\nrpc_urls = "http://127.0.0.1:8545"\n'
        f'markets = [{{name = "m", addresses_provider = "{ADDRESS}"}}]\n'
    )

    settings = loaded(chain, KEEPER__SIGNING__PRIVATE_KEY="0xcafe")

    assert settings.secrets() == ("0xcafe",)


def test_what_could_be_a_key_in_any_url_is_a_secret(loaded: Load) -> None:
    settings = loaded(
        "[database]\nurl = 'postgresql://keeper:canary-00@db/keeper'\n"
        "[telegram]\napi_url = 'https://bots.example/canary-01'\n"
        "webhook_url = 'https://us.example/canary-02'\nwebhook_secret = 'canary-03-canary-03'\n"
        "[alerts]\nheartbeat_url = 'https://ping.example/canary-04'\n"
        "[alerts.channels]\nops = 'slack://canary-05/canary-06'\n"
        "[alerts.alertmanagers]\nops = 'https://u:canary-07@am.example'\n"
        "[signing]\nremote_url = 'https://signer.example/canary-08'\n"
        f"remote_address = '{ADDRESS}'\n"
        "[chains.ethereum]\n"
        "rpc_urls = ['https://a.example/v3/canary-09', 'https://b.example/?apikey=canary-10']\n"
        "ws_urls = ['wss://canary-11:@a.example/v2']\n"
        "relay_url = 'https://relay.example/canary-12'\n"
        "[[chains.ethereum.aggregators]]\nkind = '0x'\nurl = 'https://c.example/canary-13'\n"
        f"targets = ['{ADDRESS}']\n"
    )

    hidden = settings.secrets()
    shown = str(masked(settings)) + str(lines(settings))

    assert {f"canary-{n:02d}" for n in range(14)} - {"canary-03"} <= set(hidden)
    assert not {"v3", "v2", "keeper", "apikey"} & set(hidden)
    assert "canary" not in shown


def test_a_url_of_any_spelling_is_shown_without_its_key(loaded: Load) -> None:
    settings = loaded(
        "[chains.ethereum]\n"
        "rpc_urls = ['http://[::1]:8545/v2/canary-00', \"http://a.example/x'canary-01)canary-02\"]\n"
    )

    shown = str(masked(settings)) + str(lines(settings))

    assert "http://[::1]:8545/***" in shown
    assert "canary" not in shown


# --- the documents --------------------------------------------------------------------------


def test_what_is_shown_holds_no_secret(loaded: Load) -> None:
    settings = loaded(
        ETHEREUM,
        KEEPER__TELEGRAM__TOKEN="12345678:canary-token",
        KEEPER__DATABASE__URL="postgresql://keeper:canary-pw@db/keeper",
        KEEPER__CHAINS__ETHEREUM__WS_URLS="wss://u:canary-user@node.example/canary-path",
    )

    shown = str(masked(settings)) + str(lines(settings)) + repr(settings)

    assert "https://node.example" in shown
    for canary in ("canary", "/KEY"):
        assert canary not in shown


def _uncommented(text: str, assignment: str) -> str:
    return "\n".join(
        line[1:] for line in text.splitlines() if re.match(rf"#({assignment}|\[)", line)
    )


def test_every_line_of_a_new_keeper_toml_can_be_uncommented(loaded: Load) -> None:
    settings = loaded(_uncommented(toml(), r"[a-z_]+ ="))

    assert settings.select()[0].chain_id == 1
    assert settings.watch[0].label == "main"
    assert settings.protect["main"].strategy == Protect.model_fields["strategy"].default
    for name in ("thresholds", "alerts", "oracles", "liquidate", "signing", "web", "telegram"):
        assert getattr(settings, name) == getattr(Settings(), name), name


def test_a_new_keeper_toml_has_a_market_of_ones_own_to_copy(loaded: Load) -> None:
    lines = [line.removeprefix("#   ") for line in toml().splitlines() if line.startswith("#   ")]
    provider = re.sub('"0x[^"]*"', '"0x' + "ab" * 20 + '"', "\n".join(lines))

    [chain] = loaded(provider).select()

    assert [market.name for market in chain.markets] == ["my-market"]


@pytest.mark.parametrize(
    "markets",
    [
        '[chains.own.markets.one]\naddresses_provider = "0x12"',
        '[chains.own.markets]\naddresses_provider = "0x12"',
        "",
    ],
)
def test_markets_written_otherwise_are_answered_with_a_line_to_copy(
    refusal: Callable[..., str], markets: str
) -> None:
    said = refusal(f'[chains.own]\nchain_id = 31337\nrpc_urls = ["http://n.example"]\n{markets}')

    assert MARKETS_EXAMPLE in said, said


def test_a_new_keeper_toml_changes_nothing_as_it_is(loaded: Load) -> None:
    assert loaded(toml()).model_dump() == Settings().model_dump()


def test_every_line_of_env_example_can_be_uncommented(loaded: Load) -> None:
    settings = loaded(dotenv=_uncommented(env(), r"KEEPER__\w+=|[A-Z]+_URL="))

    assert list(settings.protect) == ["main"]
    for name in ("thresholds", "alerts", "oracles", "liquidate", "signing", "web", "telegram"):
        assert getattr(settings, name) == getattr(Settings(), name), name


def test_env_example_has_every_setting_with_one_comment_each() -> None:
    text = (Path(__file__).parents[1] / ".env.example").read_text(encoding="utf-8")

    assert text == env(), "write it again: python -m keeper.settings.document > .env.example"
    for section, field in Settings.model_fields.items():
        for key in getattr(field.annotation, "model_fields", {}):
            assert f"\n#KEEPER__{section.upper()}__{key.upper()}=" in text
    for block in text.split("\n\n")[1:]:
        comment, *variables = block.strip().splitlines()
        assert comment.startswith("# ")
        assert len(variables) == 1


# --- aggregators ----------------------------------------------------------------------------

SALES = (
    ETHEREUM
    + """
[[chains.ethereum.aggregators]]
kind = "0x"
targets = ["0x0000000000001fF3684f28c67538d4D072C22734"]
"""
)
TABLE = "[[chains.ethereum.aggregators]]\n"
HOLDER = "0x0000000000001ff3684f28c67538d4d072c22734"


def test_no_aggregator_is_asked_unless_it_is_named(loaded: Load) -> None:
    assert loaded(ETHEREUM).select()[0].aggregators == ()


def test_an_aggregator_has_careful_defaults(loaded: Load) -> None:
    chain = loaded(SALES).select()[0]
    [one] = chain.aggregators

    assert (one.where, one.targets, one.may_take) == ("https://api.0x.org", (HOLDER,), (HOLDER,))
    assert one.api_key_file is None
    # 500 ms, and an eighth of a block where that is less
    assert chain.patience_s(one) == 0.5
    assert chain.model_copy(update={"block_time_s": 2.0}).patience_s(one) == 0.25


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('url = "http://api.example"', "must start with https://: a key would go to api.example"),
        ('url = "https://169.254.169.254/"', "where clouds hand out credentials"),
        ("timeout_ms = 3001", "waits a quarter of block_time_s at the most: 3000"),
        ("timeout_ms = 0", "timeout_ms must be at least 1, not 0"),
        ("calls_per_second = 0", "calls_per_second"),
        (f'{TABLE}kind = "0x"\ntargets = ["{HOLDER}"]', "has two of"),
        (f'{TABLE}kind = "1inch"\ntargets = []', "targets must name"),
        (f'{TABLE}kind = "3x"\ntargets = ["{HOLDER}"]', "kind"),
    ],
)
def test_what_an_aggregator_cannot_be_is_said(
    refusal: Callable[..., str], more: str, said: str
) -> None:
    assert said in refusal(f"{SALES}{more}\n")


def test_an_aggregator_of_this_machine_may_be_asked_in_the_open(loaded: Load) -> None:
    for host in ("127.0.0.1:1", "[::1]:1", "localhost"):
        [one] = loaded(f'{SALES}url = "http://{host}/x"\n').select()[0].aggregators
        assert one.where == f"http://{host}/x"


def test_what_lies_in_an_aggregators_url_is_not_shown(loaded: Load) -> None:
    shown = masked(loaded(f'{SALES}url = "https://sales.example/secret-path"\n'))

    assert "secret-path" not in str(shown)
    assert shown["chains"]["ethereum"]["aggregators"][0]["url"].startswith("https://sales.example")
