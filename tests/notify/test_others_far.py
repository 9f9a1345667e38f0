"""Slack, Discord and e-mail by apprise: their own addresses, answered by a stand-in here.

The stand-in is at the transport: a proxy that takes every https connection itself, and a mail
server.  What apprise makes of a message is real.
"""

import asyncio
import email
import email.header
import json
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import Message as Mail
from pathlib import Path
from typing import Any

import pytest

from keeper.errors import DeliveryError
from keeper.model import Severity
from keeper.notify.others import OtherChannels
from tests.notify.build import message

pytest.importorskip("apprise", reason="keeper[channels] is not installed")
OPENSSL = shutil.which("openssl")
pytestmark = [
    pytest.mark.filterwarnings("default"),  # apprise's own, and that nobody vouches for the proxy
    pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed: no certificate"),
]

TEXT = "🔴 main: health factor 1.043 (critical < 1.05)\nAave v3 · Ethereum · block 21 034 511"
SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/?verify=no"
DISCORD = "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js/?verify=no"


class Internet:
    """Every https server, through a proxy: says `status` to all."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self.tls = tls
        self.status = "200 OK"
        self.heard: list[tuple[str, str, dict[str, Any]]] = []
        """Host, path and body."""

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        host = asked.split()[1].decode().partition(":")[0]
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await writer.start_tls(self.tls)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lengths = [x for x in head.splitlines() if x.lower().startswith("content-length:")]
        body = await reader.readexactly(int(lengths[0].partition(":")[2]))
        self.heard.append((host, head.split()[1], json.loads(body)))
        writer.write(f"HTTP/1.1 {self.status}\r\nContent-Length: 2\r\n\r\nok".encode())
        writer.close()


@pytest.fixture
async def internet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Internet]:
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=nobody")
    assert OPENSSL is not None
    await asyncio.to_thread(
        subprocess.run,
        [OPENSSL, *made, "-keyout", str(key), "-out", str(cert)],
        check=True,
        capture_output=True,
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
    there = Internet(tls)
    async with await asyncio.start_server(there.connected, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        yield there


@pytest.mark.parametrize(
    ("url", "host", "path"),
    [
        (SLACK, "hooks.slack.com", "/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"),
        (DISCORD, "discord.com", "/api/webhooks/4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js"),
    ],
    ids=["slack", "discord"],
)
async def test_a_chat_service_takes_a_message(
    internet: Internet, url: str, host: str, path: str
) -> None:
    channel = OtherChannels({"team": url})
    await channel.send(message(TEXT, chat="apprise:team", severity=Severity.CRITICAL))

    [(asked, where, body)] = internet.heard
    assert asked == host
    assert where.partition("?")[0] == path
    told = json.dumps(body, ensure_ascii=False)
    assert "main: health factor 1.043" in told
    assert "block 21 034 511" in told


@pytest.mark.parametrize("url", [SLACK, DISCORD], ids=["slack", "discord"])
async def test_a_chat_service_that_says_no_is_tried_again(internet: Internet, url: str) -> None:
    internet.status = "503 Service Unavailable"

    with pytest.raises(DeliveryError, match="apprise:team did not take the message") as failed:
        await OtherChannels({"team": url}).send(message(TEXT, chat="apprise:team"))

    assert not failed.value.permanent
    assert internet.heard


@asynccontextmanager
async def mail_server(refused: bool = False) -> AsyncIterator[tuple[list[Mail], int]]:
    """SMTP (RFC 5321), as much of it as one mail takes."""
    taken: list[Mail] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        while line := await reader.readline():
            word = line[:4].upper().strip()
            if word == b"DATA":
                writer.write(b"354 go on\r\n")
                body = await reader.readuntil(b"\r\n.\r\n")
                taken.append(email.message_from_bytes(body[:-5]))
                writer.write(b"250 taken\r\n")
            elif word == b"RCPT" and refused:
                writer.write(b"550 nobody of that name\r\n")
            elif word == b"QUIT":
                writer.write(b"221 bye\r\n")
                break
            else:
                writer.write(b"250 fine\r\n")
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        yield taken, server.sockets[0].getsockname()[1]


def by_mail(port: int) -> OtherChannels:
    address = f"mailto://127.0.0.1:{port}/?from=keeper@example.org&to=ops@example.org&mode=insecure"
    return OtherChannels({"mail": address})


async def test_a_mail_server_takes_a_message() -> None:
    async with mail_server() as (taken, port):
        await by_mail(port).send(message(TEXT, chat="apprise:mail", severity=Severity.CRITICAL))

    [mail] = taken
    assert "ops@example.org" in str(mail["To"])
    subject = str(email.header.make_header(email.header.decode_header(mail["Subject"])))
    assert subject == TEXT.splitlines()[0]
    parts = [part.get_payload(decode=True) for part in mail.walk() if not part.is_multipart()]
    assert any(b"block 21 034 511" in part for part in parts if isinstance(part, bytes))


async def test_a_mail_server_that_refuses_whom_it_is_for_is_a_failure() -> None:
    async with mail_server(refused=True) as (taken, port):
        with pytest.raises(DeliveryError, match="apprise:mail did not take the message"):
            await by_mail(port).send(message(TEXT, chat="apprise:mail"))

    assert taken == []
