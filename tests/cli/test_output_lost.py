"""Where nothing can be printed, or Ctrl-C comes early, there is an exit code and no traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.calling import toml

ROOT = Path(__file__).parents[2]
KEEPER = f"cd {ROOT} && {sys.executable} -m keeper --config"
INTERRUPTED = """
import runpy, sys

class Finder:
    def find_spec(self, name, *_):
        if name == "typer":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Finder())
runpy.run_module("keeper", run_name="__main__")
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "keeper.toml"
    path.write_text(toml(tmp_path), encoding="utf-8")
    return path


def shell(line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "-c", line], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("command", ["watches", "watches --json", "--help", "show-config"])
def test_a_full_disk_behind_standard_output_is_one_sentence(config: Path, command: str) -> None:
    said = shell(f"{KEEPER} {config} {command} > /dev/full")

    assert (said.returncode, said.stderr) == (
        1,
        "keeper: standard output cannot be written (No space left on device)\n",
    )


@pytest.mark.parametrize("command", ["watches", "watches --json"])
def test_a_closed_standard_output_is_one_sentence(config: Path, command: str) -> None:
    said = shell(f"{KEEPER} {config} {command} >&-")

    assert (said.returncode, said.stderr) == (
        1,
        "keeper: standard output cannot be written (it is closed)\n",
    )


@pytest.mark.parametrize("redirected", ["2>&-", ">&- 2>&-", "> /dev/full 2> /dev/full"])
def test_nowhere_to_say_it_leaves_the_exit_code(config: Path, redirected: str) -> None:
    said = shell(f"{KEEPER} {config} explain 0x123 {redirected}")

    assert (said.returncode, said.stdout, said.stderr) == (2, "", "")


def test_a_reader_that_goes_away_is_no_complaint(config: Path) -> None:
    said = shell(f"({KEEPER} {config} watches; echo $? >&2) | true")

    assert said.stderr == "1\n"


def test_an_interruption_while_importing_is_no_traceback() -> None:
    said = subprocess.run(
        [sys.executable, "-c", INTERRUPTED],
        capture_output=True, text=True, check=False, timeout=60, cwd=ROOT,
    )  # fmt: skip

    assert (said.returncode, said.stdout, said.stderr) == (130, "", "")
