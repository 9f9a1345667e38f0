"""A private relay and its block builder, stood in for: block builders' own are not to be had here.

It runs in the process that kills, so that it outlives every keeper.  It takes, loses or refuses
what it is handed as it is told to, and puts what it keeps into the next block by giving it to the
node right before that is mined.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar, Final, Self

from keeper.execution.transaction import decode_signed

FAULTS: Final = ("", "", "", "refused", "lost reply", "black hole")
_BODY_CAP: Final = 1 << 20


class RelayStandIn:
    """Listens on loopback while it is a context."""

    def __init__(self) -> None:
        self.fault = ""
        """``refused``, ``lost reply``, ``black hole``, or empty."""
        self.given: set[str] = set()
        """Hashes of all that it was handed, whatever it made of them."""
        self._kept: dict[int, bytes] = {}
        """What may be in a block, by nonce, as it came."""
        self._lock = threading.Lock()
        stand_in = self

        class Handler(_Handler):
            relay = stand_in

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take(self, raw: bytes) -> dict[str, Any] | None:
        """Take one transaction as it is told to; None: say nothing."""
        signed = decode_signed(raw)
        with self._lock:
            fault = self.fault
            if fault == "refused":
                return {"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": "full"}}
            self.given.add(signed.tx_hash)
            if fault != "black hole":
                self._kept[signed.tx.nonce] = raw
        if fault == "lost reply":
            return None
        return {"jsonrpc": "2.0", "id": 1, "result": signed.tx_hash}

    def built(self, nonce: int) -> list[bytes]:
        """Hand over what the next block is to hold of it: what can follow `nonce`, in order."""
        with self._lock:
            taken = []
            while (raw := self._kept.pop(nonce, None)) is not None:
                taken.append(raw)
                nonce += 1
            self._kept = {n: raw for n, raw in self._kept.items() if n > nonce}
            return taken


class _Handler(BaseHTTPRequestHandler):
    relay: ClassVar[RelayStandIn]

    def do_POST(self) -> None:
        length = min(int(self.headers.get("Content-Length") or 0), _BODY_CAP)
        asked = json.loads(self.rfile.read(length))
        answer = self.relay.take(bytes.fromhex(asked["params"][0]["tx"].removeprefix("0x")))
        if answer is None:
            self.close_connection = True
            return
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's signature
        """Say nothing: standard error is for progress."""
