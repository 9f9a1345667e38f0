"""``keeper new-config``, ``keeper show-config`` and what every command has in common."""

import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from keeper.cli.context import hoist
from keeper.cli.main import run

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def keeper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    """Run the command line in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def call(*arguments: str, **variables: str) -> tuple[int, str, str]:
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            code = run(list(arguments))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    yield call
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_a_new_config_is_written_once_and_never_overwritten(keeper: Run, tmp_path: Path) -> None:
    assert keeper("new-config")[0] == 0
    (tmp_path / "keeper.toml").write_text("mine", encoding="utf-8")

    code, out, err = keeper("new-config")

    assert (code, out) == (2, "")
    assert err == (
        "keeper: keeper.toml exists already and is left as it is: "
        "name another file, or move it away\n"
    )
    assert (tmp_path / "keeper.toml").read_text(encoding="utf-8") == "mine"


def test_a_new_config_is_what_show_config_then_reads(keeper: Run) -> None:
    keeper("new-config", "other.toml")

    code, out, err = keeper("show-config", "--config", "other.toml", "--json")

    assert (code, err) == (0, "")
    assert json.loads(out)["settings"]["chains"] == {}


def test_a_config_that_cannot_be_written_is_one_sentence(keeper: Run) -> None:
    code, _, err = keeper("new-config", "absent/keeper.toml")

    assert (code, err) == (
        2,
        "keeper: absent/keeper.toml cannot be written: No such file or directory\n",
    )


def test_show_config_says_where_each_value_came_from(keeper: Run) -> None:
    code, out, _ = keeper(
        "show-config",
        ETHEREUM_RPC_URL="https://user:pw@node.example/canary",
        KEEPER__LOG__LEVEL="warning",
        KEEPER__TELEGRAM__TOKEN="123456:canary",
    )

    lines = [line.split() for line in out.splitlines()]
    assert code == 0
    assert ["log.level", "warning", "KEEPER__LOG__LEVEL"] in lines
    assert [
        "chains.ethereum.rpc_urls",
        "https://node.example/***",
        "ETHEREUM_RPC_URL",
    ] in lines
    assert ["chains.ethereum.chain_id", "1", "preset"] in lines
    assert ["telegram.token", "***", "KEEPER__TELEGRAM__TOKEN"] in lines
    assert "Precedence: environment > .env > keeper.toml > presets > defaults." in out
    assert "canary" not in out
    assert "..." not in out.partition("Commands:")[2]


def test_show_config_as_json_is_one_document(keeper: Run) -> None:
    code, out, _ = keeper("--json", "show-config", BASE_RPC_URL="https://node.example")

    document = json.loads(out)
    assert code == 0
    assert document["settings"]["chains"]["base"]["chain_id"] == 8453
    assert document["sources"]["chains.base.rpc_urls"] == "BASE_RPC_URL"
    assert document["settings"]["thresholds"]["critical"] == "1.05"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("show-config", "--config", "absent.toml"), 2, "there is no file absent.toml"),
        (
            ("no-such-word",),
            2,
            "keeper: no such command 'no-such-word'; `keeper -h` shows how it is called\n",
        ),
        (("top-up",), 2, "Did you mean 'topup'? `keeper -h` shows how it is called\n"),
        (
            ("show-config", "--no-such-option"),
            2,
            "keeper: no such option: --no-such-option; `keeper show-config -h` shows how",
        ),
        (
            ("topup",),
            2,
            "keeper: missing argument 'ADDRESS'; `keeper topup -h` shows how it is called\n",
        ),
        (("check", "--chain"), 2, "keeper: --chain needs a value after it\n"),
    ],
)
def test_a_wrong_command_line_exits_2_without_a_traceback(
    keeper: Run, arguments: tuple[str, ...], code: int, said: str
) -> None:
    got, out, err = keeper(*arguments)

    assert (got, out) == (code, "")
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("text", ['KEEPER_A="b\nKEEPER_C=d\n', "# a\nA=b\n= c\n"])
def test_a_line_of_dotenv_that_says_nothing_is_refused_and_named(keeper: Run, text: str) -> None:
    Path(".env").write_text(text, "utf-8")
    line = 1 if '"' in text else 3

    code, out, err = keeper("show-config")

    assert (code, out) == (2, "")
    assert err == (
        f"keeper: .env: line {line} is no NAME=value: close its quotes and name what it sets, or "
        "comment it out\n"
    )


def test_a_wrong_variable_is_one_sentence_on_standard_error(keeper: Run) -> None:
    code, out, err = keeper("show-config", KEEPER__THRESHOLDS__INFO="1.0")

    assert (code, out) == (2, "")
    assert err.startswith("keeper: KEEPER__THRESHOLDS__INFO: [thresholds] thresholds are out of")
    assert err.count("\n") == 1


def test_the_version_is_that_of_the_project(keeper: Run) -> None:
    assert keeper("--version")[1] == "keeper 0.1.0\n"


@pytest.mark.parametrize(
    ("given", "hoisted"),
    [
        (["positions", "--json"], ["--json", "positions"]),
        (
            ["positions", "--chain", "base", "--below", "1.1", "--config=x"],
            ["--chain", "base", "--config=x", "positions", "--below", "1.1"],
        ),
        (["watch", "--", "--json"], ["watch", "--", "--json"]),
        ([], []),
    ],
)
def test_common_options_may_stand_anywhere(given: list[str], hoisted: list[str]) -> None:
    assert hoist(given) == hoisted


def test_no_summary_of_a_command_is_cut(keeper: Run) -> None:
    _, out, _ = keeper("--help")

    assert "kill-switch" in out
    assert "..." not in out.partition("Commands:")[2]


def test_help_is_instant_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from keeper.cli.main import run; run(['--help']);"
        "heavy = {'pydantic', 'web3', 'numpy', 'sqlalchemy', 'telegram', 'rich', 'aiohttp',"
        " 'structlog', 'eth_utils'} & set(sys.modules); sys.exit(str(heavy) if heavy else 0)"
    )
    started = time.perf_counter()

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.stderr == ""
    assert done.returncode == 0
    assert "show-config" in done.stdout
    assert time.perf_counter() - started < 2  # 0.1 s when the machine has nothing else to do
