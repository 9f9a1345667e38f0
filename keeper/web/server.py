"""The HTTP server: four pages to read, nothing to write.

Who may ask: whoever reaches the socket, which is on loopback.  Web pages in the operator's own
browser reach it too, so that a request must name a loopback host (against DNS rebinding) and must
not come from another site's script.  Only GET is answered; there is no state to change.

    /             the status page
    /api/status   the same as JSON
    /healthz      200 while every chain has a fresh head, else 503 with the reasons
    /metrics      Prometheus' text format
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import structlog
from aiohttp import web

from keeper.errors import KeeperError
from keeper.listening import cannot_listen
from keeper.web.document import document
from keeper.web.metrics import CONTENT_TYPE, Metrics
from keeper.web.page import STYLE_HASH, page
from keeper.web.status import Status, StatusSource, unwatched

log = structlog.get_logger()

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
STATUS_TIMEOUT_S: Final = 5.0
MAX_BODY_BYTES: Final = 1024

HEADERS: Final = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "keeper",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class WebServer:
    """Serves the status page, health and metrics until it is stopped."""

    def __init__(
        self,
        status: StatusSource,
        metrics: Metrics,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        hosts: Iterable[str] = (),
    ) -> None:
        """`port` 0 takes any free one; `hosts`: further names it may be asked under.

        Those are for a scraper in another container; anything but loopback is to be reached
        through a proxy that asks who is there.
        """
        self._status = status
        self._metrics = metrics
        self._host = host
        self._port = port
        self._hosts = LOOPBACK | {h.strip().lower() for h in hosts if h.strip()}
        self._runner: web.AppRunner | None = None
        self.url = ""
        """Where it listens, once it is started."""

    async def start(self) -> None:
        """Listen.  Raises Unavailable while the port is taken; ConfigError."""
        runner = web.AppRunner(self.application(), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        site = web.TCPSite(runner, self._host, self._port)
        try:
            await site.start()
        except OSError as error:
            await runner.cleanup()
            raise cannot_listen("web", self._host, self._port, error) from error
        self._runner = runner
        address = runner.addresses[0]
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        self.url = f"http://{host}:{address[1]}/"
        log.info("web.started", host=address[0], port=address[1])

    async def stop(self) -> None:
        """Close the socket; harmless when it was never opened."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
            log.info("web.stopped")

    def application(self) -> web.Application:
        """Return the aiohttp application, for `start` and for tests."""
        app = web.Application(middlewares=[self._guard], client_max_size=MAX_BODY_BYTES)
        app.router.add_get("/", self._page, allow_head=False)
        app.router.add_get("/api/status", self._api, allow_head=False)
        app.router.add_get("/healthz", self._health, allow_head=False)
        app.router.add_get("/metrics", self._metrics_page, allow_head=False)
        app.on_response_prepare.append(_harden)
        return app

    # --- who may ask --------------------------------------------------------------------------

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method != "GET":
            return _plain(405, "only GET is answered, nothing can be changed here", Allow="GET")
        if _hostname(request.headers.getall("Host", [])) not in self._hosts:
            return _plain(421, "ask under a loopback name, such as http://127.0.0.1")
        if _is_script_of_another_site(request):
            return _plain(403, "other sites may not read this")
        try:
            return await handler(request)
        except web.HTTPException as error:
            return _plain(error.status, error.reason.lower())

    # --- what is answered ---------------------------------------------------------------------

    async def _page(self, _: web.Request) -> web.StreamResponse:
        status = await self._picture()
        if isinstance(status, str):
            return _plain(503, status)
        return web.Response(text=page(status), content_type="text/html", charset="utf-8")

    async def _api(self, _: web.Request) -> web.StreamResponse:
        status = await self._picture()
        if isinstance(status, str):
            return web.json_response({"ok": False, "reasons": [status]}, status=503)
        body = json.dumps(document(status), ensure_ascii=True, allow_nan=False)
        return web.Response(text=body, content_type="application/json")

    async def _health(self, _: web.Request) -> web.StreamResponse:
        status = await self._picture()
        reasons = (status,) if isinstance(status, str) else unwatched(status)
        return _plain(503, "\n".join(reasons)) if reasons else _plain(200, "ok")

    async def _metrics_page(self, _: web.Request) -> web.StreamResponse:
        return web.Response(body=self._metrics.exposition(), headers={"Content-Type": CONTENT_TYPE})

    async def _picture(self) -> Status | str:
        """The status, or the sentence that says why there is none."""
        try:
            async with asyncio.timeout(STATUS_TIMEOUT_S):
                return await self._status()
        except TimeoutError:
            log.warning("web.status_slow", timeout_s=STATUS_TIMEOUT_S)
            return f"the status was not ready within {STATUS_TIMEOUT_S:.0f} s"
        except KeeperError as error:
            log.warning("web.status_failed", reason=str(error))
            return "the status cannot be made now, the log says why"


async def _harden(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


def _plain(status: int, sentence: str, **headers: str) -> web.Response:
    return web.Response(status=status, text=f"{sentence}\n", headers=headers)


def _is_script_of_another_site(request: web.Request) -> bool:
    """A person who follows a link from elsewhere is welcome: the page cannot be framed or read."""
    headers = request.headers
    if "Origin" in headers:
        return True
    navigates = (headers.get("Sec-Fetch-Mode"), headers.get("Sec-Fetch-Dest")) == (
        "navigate",
        "document",
    )
    return headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"} and not navigates


def _hostname(hosts: list[str]) -> str:
    """Return the one host asked for, without its port; "" where there is none or several."""
    if len(hosts) != 1:
        return ""
    host = hosts[0].strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
