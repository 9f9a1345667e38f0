"""What a URL may be, and what of it may be seen."""

import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from keeper.chain import urls
from keeper.chain.urls import GuardedResolver, check_url, redact
from keeper.errors import ConfigError
from keeper.metadata import is_metadata_address


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


SPELLINGS = (
    "169.254.169.254",
    "\u2460\u2465\u2468.254.169.254",  # circled digits
    "\uff11\uff16\uff19.254.169.254",  # full-width digits
    "169\u3002254\u3002169\u3002254",  # ideographic full stops
    "169\uff61254\uff0e169.254",  # half-width and full-width ones
    "169.254.\u00ad169.254.",  # a soft hyphen
    "169.254.169%2e254",
    "2852039166",
    "0xA9FEA9FE",
    "0251.0376.0251.0376",
    "169.254.43518",
    "[::ffff:169.254.169.254]",
    "[::ffff:0:169.254.169.254]",
    "[::169.254.169.254]",
    "[64:ff9b::a9fe:a9fe]",  # NAT64
    "[64:ff9b:1::a9fe:a9fe]",
    "[64:ff9b:1:a9fe:00a9:fe00::]",
    "[2001:db8:0:1:a9:fea9:fe00:0]",  # a translator's own prefix
    "[2002:a9fe:a9fe::1]",  # 6to4
    "[2001:0:a9fe:a9fe::]",  # Teredo: the server, and who is behind it, inverted
    "[2001::5601:5601]",
    "[fe80::5efe:a9fe:a9fe]",
    "[2001:db8::5efe:a9fe:a9fe]",  # ISATAP
    "[fd00:ec2::254]",
    "169.254.170.2",
    "[64:ff9b::6464:64c8]",
    "\uff2detadata.google.internal",
)
"""Of metadata addresses."""


@pytest.mark.parametrize("host", SPELLINGS)
def test_a_metadata_address_is_refused_however_it_is_spelt(host: str) -> None:
    for url in (f"http://{host}/latest", f"https://u:p@{host}:8545/"):
        with pytest.raises(ConfigError, match="is a cloud metadata address"):
            check_url(url)
    with pytest.raises(ConfigError, match="is a cloud metadata address"):
        check_url(f"wss://{host}/", schemes=("ws", "wss"))


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.7",
        "127.1",
        "2130706433",
        "[::1]",
        "[2001:db8::a9fe:1]",
        "[2606:4700::6810:84e5]",
        "[64:ff9b::c000:201]",
        "b\u00fccher.example",
        "169.254.169.254.example",
        "metadata.example.com",
    ],
)
def test_addresses_and_names_of_nodes_are_no_metadata_addresses(host: str) -> None:
    assert check_url(f"http://{host}:8545/") == f"http://{host}:8545/"


@pytest.mark.parametrize("address", ["169.254.169.254", "64:ff9b::a9fe:a9fe", "fd00:ec2::254"])
def test_no_socket_is_made_for_a_metadata_address(address: str) -> None:
    v6 = ":" in address
    where = (address, 80, 0, 0) if v6 else (address, 80)
    family = socket.AF_INET6 if v6 else socket.AF_INET

    with pytest.raises(OSError, match="leads to a cloud metadata address"):
        urls._socket((family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", where))


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
