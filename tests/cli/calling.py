"""The command line run inside the test: exit code, standard output, standard error.

The log and its level are put back afterwards; a node that answers anything is `serving`.
"""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import structlog

from keeper.cli.main import run


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on standard output."""
        return json.loads(self.out)

    @property
    def sentence(self) -> str:
        """The one plain sentence of a failure."""
        assert self.err.startswith("keeper: "), self.err
        assert self.err.count("\n") == 1, self.err
        assert "Traceback" not in self.err
        return self.err.removeprefix("keeper: ").rstrip("\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeper:
    """Calls the command line; `config` is named on each line."""

    config: Path
    capture: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> Said:
        code = run(["--config", str(self.config), *arguments])
        captured = self.capture.readouterr()
        return Said(code=code, out=captured.out, err=captured.err)


@contextmanager
def log_put_back() -> Iterator[None]:
    """Commands set up the log: undo it."""
    root, ours = logging.getLogger(), logging.getLogger("keeper.cli.coverage")
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    ours.setLevel(logging.NOTSET)
    structlog.reset_defaults()


@contextmanager
def serving(answer: Callable[[dict[str, Any]], bytes]) -> Iterator[str]:
    """Serve JSON-RPC over HTTP from a thread: each request gets the bytes of `answer`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            said = answer(json.loads(body))
            self.send_response(200)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def html(_: dict[str, Any]) -> bytes:
    """Answer as a proxy in front of a node that is down."""
    return b"<html><body>502 Bad Gateway</body></html>"


def of_chain(chain_id: int) -> Callable[[dict[str, Any]], bytes]:
    """Answer every question with a chain id."""

    def answer(request: dict[str, Any]) -> bytes:
        result = {"jsonrpc": "2.0", "id": request["id"], "result": hex(chain_id)}
        return json.dumps(result).encode()

    return answer


PROVIDER = "0x2f39d218133afab8f2b819b1066c7e434ad94e9e"


def toml(folder: Path, rpc_url: str = "http://127.0.0.1:9/key", more: str = "") -> str:
    """Return the configuration of one chain of one's own."""
    return f"""
[database]
url = "sqlite:///{folder / "keeper.sqlite3"}"
[chains.local]
chain_id = 31337
rpc_urls = ["{rpc_url}"]
block_time_s = 2
markets = [{{ name = "aave-v3-local", addresses_provider = "{PROVIDER}" }}]
{more}
"""
