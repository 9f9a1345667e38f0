"""What a URL may be, and what of it may be seen."""

import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from keeper.chain.urls import GuardedResolver, check_url, is_metadata_address, redact
from keeper.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://eth.example.com/v2/abcdefghijklmnop", "https://eth.example.com"),
        ("wss://user:pass@node.example.org:8546/x?key=1", "wss://node.example.org:8546"),
        ("http://[::1]:8545/", "http://[::1]:8545"),
        ("not a url at all", "<malformed URL>"),
        ("http://[::1", "<malformed URL>"),
    ],
)
def test_scheme_and_host_are_all_that_is_shown(url: str, shown: str) -> None:
    assert redact(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ws://node.example.com",
        "https://",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/",
        "http://[::ffff:169.254.169.254]/",
        "http://metadata.google.internal./computeMetadata",
        "http://[::1",
        "http://node.example.com:99999",
    ],
)
def test_an_unusable_url_is_refused_without_showing_its_path(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_url(url)

    assert "passwd" not in str(caught.value)
    assert "meta-data" not in str(caught.value)


def test_a_socket_of_this_machine_is_taken_for_requests_by_its_whole_path() -> None:
    assert check_url("ipc:///var/lib/geth/geth.ipc") == "ipc:///var/lib/geth/geth.ipc"
    assert redact("ipc:///var/lib/geth/geth.ipc") == "ipc:///var/lib/geth/geth.ipc"
    with pytest.raises(ConfigError, match="must have a whole path: ipc:///PATH"):
        check_url("ipc://geth.ipc")
    with pytest.raises(ConfigError, match="it must be wss:// or ws://HOST"):
        check_url("ipc:///var/lib/geth/geth.ipc", schemes=("wss", "ws"))


def test_a_websocket_url_is_taken_where_one_is_wanted() -> None:
    assert check_url("wss://node.example.com/key", schemes=("ws", "wss"))


def test_ordinary_private_addresses_are_nodes() -> None:
    assert not is_metadata_address("10.0.0.7")
    assert not is_metadata_address("127.0.0.1")
    assert not is_metadata_address("node.example.com")


class Names(AbstractResolver):
    """Resolves every name to one address."""

    def __init__(self, address: str) -> None:
        self.address = address

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host, host=self.address, port=port, family=family, proto=0, flags=0
            )
        ]

    async def close(self) -> None:
        """Nothing to close."""


async def test_a_name_that_leads_to_a_metadata_address_does_not_resolve() -> None:
    with pytest.raises(OSError, match="metadata"):
        await GuardedResolver(Names("169.254.169.254")).resolve("node.example.com", 443)

    [found] = await GuardedResolver(Names("203.0.113.9")).resolve("node.example.com", 443)
    assert found["host"] == "203.0.113.9"
