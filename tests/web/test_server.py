import asyncio
import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from keeper.errors import (
    ConfigError,
    KeeperError,
    ObservationError,
    Unavailable,
)
from keeper.listening import cannot_listen
from keeper.web import server as server_module
from keeper.web.metrics import Metrics
from keeper.web.server import WebServer
from keeper.web.status import Status
from tests.web.fakes import chain, hostile, status


class Source:
    """Counts how often it was asked; answers, raises or hangs."""

    def __init__(self, answer: Status | Exception | None) -> None:
        self.answer = answer
        self.asked = 0

    async def __call__(self) -> Status:
        self.asked += 1
        if self.answer is None:
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        assert isinstance(self.answer, Status)
        return self.answer


@asynccontextmanager
async def serving(
    answer: Status | Exception | None, hosts: tuple[str, ...] = ()
) -> AsyncIterator[tuple[WebServer, Source, aiohttp.ClientSession]]:
    source = Source(answer)
    server = WebServer(source, Metrics("0.1.0"), hosts=hosts)
    await server.start()
    try:
        async with aiohttp.ClientSession(server.url) as session:
            yield server, source, session
    finally:
        await server.stop()


async def raw(server: WebServer, request: bytes) -> bytes:
    """Send bytes that no decent client would."""
    port = int(server.url.rsplit(":", 1)[1].strip("/"))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    await writer.drain()
    answer = await asyncio.wait_for(reader.read(65_536), 5)
    writer.close()
    await writer.wait_closed()
    return answer


async def test_it_listens_on_loopback_only() -> None:
    async with serving(status()) as (server, _, _session):
        assert server.url.startswith("http://127.0.0.1:")


async def test_the_page_comes_with_a_policy_that_allows_nothing_but_its_own_style() -> None:
    async with serving(hostile()) as (_, _, session), session.get("/") as answer:
        body = await answer.text()

        assert answer.status == 200
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Server"] == "keeper"
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "<script" not in body


async def test_health_is_good_while_heads_are_fresh() -> None:
    async with serving(status()) as (_, _, session), session.get("/healthz") as answer:
        assert (answer.status, await answer.text()) == (200, "ok\n")


@pytest.mark.parametrize(
    ("age_s", "reason"),
    [
        (60.1, "ethereum: the last head is 60 s old, the limit is 60 s\n"),
        (None, "ethereum: no head has arrived yet\n"),
        (float("nan"), "ethereum: the last head is nan s old, the limit is 60 s\n"),
    ],
)
async def test_health_is_bad_with_the_reason(age_s: float | None, reason: str) -> None:
    late = status(chains=(chain(head_age_s=age_s),))

    async with serving(late) as (_, _, session), session.get("/healthz") as answer:
        assert (answer.status, await answer.text()) == (503, reason)


async def test_one_late_chain_of_two_is_bad_health() -> None:
    both = status(chains=(chain(), chain(name="base", head_age_s=99.0)))

    async with serving(both) as (_, _, session), session.get("/healthz") as answer:
        assert answer.status == 503
        assert (await answer.text()).startswith("base: ")


async def test_watching_nothing_is_bad_health() -> None:
    async with serving(status(chains=())) as (_, _, session), session.get("/healthz") as answer:
        assert (answer.status, await answer.text()) == (503, "no chain is configured\n")


async def test_a_status_that_cannot_be_made_is_bad_health_and_tells_nothing_inside() -> None:
    failing = ObservationError("https://node.example/v2/SECRETKEY did not answer")

    async with serving(failing) as (_, _, session):
        for path in ("/healthz", "/", "/api/status"):
            async with session.get(path) as answer:
                assert answer.status == 503
                assert "SECRETKEY" not in await answer.text()


async def test_a_status_that_never_comes_is_bad_health(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "STATUS_TIMEOUT_S", 0.05)

    async with serving(None) as (_, _, session), session.get("/healthz") as answer:
        assert answer.status == 503
        assert "was not ready" in await answer.text()


async def test_metrics_are_prometheus_text() -> None:
    async with serving(status()) as (_, source, session), session.get("/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        assert "keeper_heads_total" in await answer.text()
        # a scrape never waits for the status
        assert source.asked == 0


async def test_the_document_is_json() -> None:
    async with serving(status()) as (_, _, session), session.get("/api/status") as answer:
        assert answer.headers["Content-Type"].startswith("application/json")
        assert (await answer.json())["ok"] is True


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "PROPFIND"]
)
@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics", "/api/status", "/api/pause"])
async def test_nothing_but_get_is_answered(method: str, path: str) -> None:
    async with (
        serving(status()) as (_, source, session),
        session.request(method, path, data=None if method == "TRACE" else b"x=1") as answer,
    ):
        assert answer.status == 405
        assert answer.headers["Allow"] == "GET"
        assert source.asked == 0


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8787",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil.example#127.0.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "[::2]",
        "",
    ],
)
async def test_a_foreign_host_name_is_turned_away(host: str) -> None:
    async with (
        serving(status()) as (_, source, session),
        session.get("/api/status", headers={"Host": host}) as answer,
    ):
        assert answer.status == 421
        assert "positions" not in await answer.text()
        assert source.asked == 0


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost:9", "LOCALHOST", "[::1]:8787", "keeper:8787"]
)
async def test_loopback_and_configured_names_are_answered(host: str) -> None:
    async with (
        serving(status(), hosts=("Keeper",)) as (_, _, session),
        session.get("/healthz", headers={"Host": host}) as answer,
    ):
        assert answer.status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
    ],
)
async def test_scripts_and_frames_of_other_sites_are_turned_away(headers: dict[str, str]) -> None:
    async with (
        serving(status()) as (_, source, session),
        session.get("/api/status", headers=headers) as answer,
    ):
        assert answer.status == 403
        assert source.asked == 0


async def test_a_person_may_follow_a_link_from_elsewhere() -> None:
    link = {
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "navigate",
        "Sec-Fetch-Dest": "document",
    }

    async with serving(status()) as (_, _, session), session.get("/", headers=link) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    "target",
    [
        b"/../../etc/passwd",
        b"/..%2f..%2fetc%2fpasswd",
        b"/%2e%2e/%2e%2e/keeper.toml",
        b"//etc/passwd",
        b"/api/status/../../keeper.sqlite3",
        b"/static/..\\..\\.env",
        b"/<script>",
        b"http://169.254.169.254/latest/meta-data",
    ],
)
async def test_there_are_no_files_behind_any_path(target: bytes) -> None:
    async with serving(status()) as (server, source, _):
        answer = await raw(
            server, b"GET " + target + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        )

        assert answer.split(b" ", 2)[1] in {b"400", b"404", b"421"}
        assert b"root:" not in answer
        assert b"<script>" not in answer
        assert source.asked == 0


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"\x00\x01\x02\xff\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nConnection: close\r\n\r\nG",
    ],
)
async def test_broken_requests_get_an_error_and_nothing_else(request_bytes: bytes) -> None:
    async with serving(status()) as (server, source, session):
        answer = await raw(server, request_bytes)

        assert answer.split(b" ", 2)[1][:1] == b"4"
        assert b"ethereum" not in answer
        assert source.asked == 0
        # and the next decent request is served
        async with session.get("/healthz") as fine:
            assert fine.status == 200


def test_several_host_names_are_none() -> None:
    assert server_module._hostname(["127.0.0.1", "127.0.0.1"]) == ""
    assert server_module._hostname([]) == ""


async def test_a_port_that_is_taken_is_one_plain_sentence() -> None:
    async with serving(status()) as (server, source, _):
        port = int(server.url.rsplit(":", 1)[1].strip("/"))

        second = WebServer(source, Metrics(), port=port)

        with pytest.raises(Unavailable, match=f"cannot listen on 127.0.0.1 port {port}"):
            await second.start()


@pytest.mark.parametrize(
    ("code", "kind"), [(errno.EACCES, ConfigError), (errno.EADDRINUSE, Unavailable)]
)
def test_only_a_port_that_may_become_free_is_worth_a_restart(
    code: int, kind: type[KeeperError]
) -> None:
    error = cannot_listen("web", "127.0.0.1", 80, OSError(code, os.strerror(code)))

    assert type(error) is kind
    assert f"cannot listen on 127.0.0.1 port 80 ({os.strerror(code)}): stop what" in str(error)


async def test_stopping_frees_the_port_and_may_be_done_twice() -> None:
    async with serving(status()) as (server, _, _session):
        await server.stop()
        await server.stop()

        with pytest.raises(OSError):
            await raw(server, b"GET / HTTP/1.1\r\n\r\n")
