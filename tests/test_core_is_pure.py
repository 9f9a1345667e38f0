"""The core has no async, no clock, no network, no database and no logging: its syntax trees say so.

import-linter checks whole modules; this looks inside them, at what a forbidden module is not
needed for: ``async def``, ``open()``, ``print()``, ``datetime.now()``, ``random.random()``.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

KEEPER = Path(__file__).parents[1] / "keeper"
CORE = (
    "units.py",
    "errors.py",
    "model",
    "ports.py",
    "protocols",
    "oracles",
    "risk",
    "strategies",
    "alerts",
)

SHELL_MODULES = frozenset(
    {
        *("asyncio", "threading", "multiprocessing", "concurrent", "subprocess", "signal"),
        *("time", "sched", "random", "secrets", "uuid"),
        *("socket", "ssl", "http", "urllib", "aiohttp", "httpx", "requests", "websockets"),
        *("web3", "eth_account", "telegram", "sqlite3", "sqlmodel", "sqlalchemy", "aiosqlite"),
        *("asyncpg", "alembic", "logging", "structlog", "os", "shutil", "tempfile", "sys"),
    }
)
SHELL_BUILTINS = frozenset({"open", "print", "input", "breakpoint", "exec", "eval"})
CLOCKS = frozenset({"now", "utcnow", "today"})

PORTS_MAY = frozenset({"async def"})
"""ports.py names what the shell does: its Protocols have async signatures and no bodies."""


def impurities(source: str) -> Iterator[str]:
    """Yield what is impure in a module, each with its line."""
    for node in ast.walk(ast.parse(source)):
        for word in _of(node):
            yield f"line {getattr(node, 'lineno', '?')}: {word}"


def _of(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.AsyncFunctionDef():
            yield "async def"
        case ast.AsyncFor() | ast.AsyncWith() | ast.Await():
            yield type(node).__name__.lower()
        case ast.Import(names=names):
            yield from _forbidden(*(name.name for name in names))
        case ast.ImportFrom(module=str(module)):
            yield from _forbidden(module)
        case ast.Call(func=ast.Name(id=name)) if name in SHELL_BUILTINS | {"__import__"}:
            yield f"{name}()"
        case ast.Call(func=ast.Attribute(attr=name)) if name in CLOCKS:
            yield f".{name}(), a clock"


def _forbidden(*modules: str) -> Iterator[str]:
    yield from (f"import {m}" for m in modules if m.split(".")[0] in SHELL_MODULES)


def core_files() -> tuple[Path, ...]:
    found: list[Path] = []
    for name in CORE:
        path = KEEPER / name
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return tuple(found)


@pytest.mark.parametrize("path", core_files(), ids=lambda path: str(path.relative_to(KEEPER)))
def test_a_module_of_the_core_is_pure(path: Path) -> None:
    found = list(impurities(path.read_text(encoding="utf-8")))
    if path.name == "ports.py":
        found = [one for one in found if one.split(": ")[1] not in PORTS_MAY]

    assert not found


def test_the_core_is_where_it_is_looked_for() -> None:
    names = {path.relative_to(KEEPER).parts[0] for path in core_files()}

    assert names == set(CORE)


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        ("async def f() -> None: ...", "async def"),
        ("def f():\n    async def g():\n        await h()", "await"),
        ("import time", "import time"),
        ("import numpy, urllib.request", "import urllib.request"),
        ("from sqlalchemy.orm import Session", "import sqlalchemy.orm"),
        ("def f():\n    import structlog", "import structlog"),
        ("from datetime import datetime\nt = datetime.now()", ".now(), a clock"),
        ("x = open('f')", "open()"),
        ("print(1)", "print()"),
        ("m = __import__('socket')", "__import__()"),
    ],
)
def test_a_planted_impurity_is_found(planted: str, said: str) -> None:
    assert any(said in one for one in impurities(planted))


def test_what_the_core_needs_is_not_taken_for_an_impurity() -> None:
    source = "import numpy as np\nfrom keeper.units import Wad\n\ndef f(now: int):\n    yield now\n"

    assert not list(impurities(source))
