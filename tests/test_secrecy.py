"""What of a URL is a secret, as providers write them; and texts without it."""

import pytest

from keeper.secrecy import masked, secrets_of

HEX = "9aa3d95b3bc440fa88ea12eaa4456161"
UUID = "1f0e2a52-9bd2-4c55-a1b4-3f0f6f1f7a10"


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        (f"https://mainnet.infura.io/v3/{HEX}", HEX),
        ("https://eth-mainnet.g.alchemy.com/v2/aB3_dE-fGh", "aB3_dE-fGh"),
        (f"https://rpc.example.com/ext/bc/C/rpc/{UUID}/", UUID),
        (f"wss://rpc.example.com/?apikey={HEX}", HEX),
        (f"https://lb.example.org/ogrpc?network=ethereum&dkey={HEX}", HEX),
        (f"https://rpc.example.com/{HEX}?network=mainnet", HEX),
        (f"https://rpc.example.com/?{HEX}", HEX),
        (f"https://rpc.example.com/key={HEX}", HEX),
        ("https://rpc.example.com/correct-horse-battery", "correct-horse-battery"),
        ("https://user:hunter22@rpc.example.com", "hunter22"),
        (f"https://{HEX}@rpc.example.com", HEX),
        ("https://token77:@rpc.example.com", "token77"),
        ("https://rpc.example.com/?token=abcdef", "abcdef"),
        ("postgresql://keeper:s3cr3t!!@db/keeper", "s3cr3t!!"),
        ("postgresql://keeper@db/keeper?password=s3cr3t!!&sslmode=require", "s3cr3t!!"),
        ("slack://T0AB12CD3/B0EF45GH6/xyzXYZ0123456789", "T0AB12CD3"),
        ("mailto://me:hunter22@example.com", "hunter22"),
    ],
)
def test_the_key_in_a_url_is_found_and_taken_out_of_what_repeats_it(url: str, secret: str) -> None:
    secrets = secrets_of(url)

    assert secret in secrets
    assert masked(f"project {secret} is out of credits", secrets) == (
        "project *** is out of credits"
    )
    assert masked(f"project {secret.upper()} is", secrets) == "project *** is"


@pytest.mark.parametrize(
    "url",
    [
        "https://rpc.example.com/v3/eth/mainnet/rpc?network=ethereum&chain=eth-mainnet",
        "https://rpc.example.com/ext/bc/C/rpc",
        "https://arb1.example.io/arbitrum-one/rpc-http/42161/11155111",
        "https://rpc.example.com/public?archive=true",
        "http://127.0.0.1:8545/",
        "postgresql+asyncpg://keeper:keeper@db/keeper_production?sslmode=verify-full",
        "ipc:///home/somebody-0123456789/geth.ipc",
        "keeper-0123456789.sqlite3",
        "sqlite:////var/lib/somebody-0123456789/keeper.sqlite3",
        "https://hooks.example.com/services/webhooks/",
    ],
)
def test_words_that_are_no_key_are_left_in_the_text(url: str) -> None:
    assert secrets_of(url) == frozenset()


def test_a_key_is_known_percent_encoded_and_decoded() -> None:
    secrets = secrets_of("https://u:p%40ss%2Fw0rd@rpc.example.com/a%20b%2Bc%3Dd0123?key=x+y%20z12")

    for form in ("p%40ss%2fw0rd", "p@ss/w0rd", "a b+c=d0123", "a%20b%2Bc%3Dd0123", "x y z12"):
        assert masked(f"<{form}>", secrets) == "<***>"
    assert masked("Basic dTpwQHNzL3cwcmQ=", secrets) == "Basic ***"


def test_of_a_url_that_is_broken_everything_is_a_secret() -> None:
    url = f"tgram://123456789:{HEX}/987654321"

    assert {url, HEX} <= secrets_of(url)


def test_a_secret_that_begins_another_leaves_nothing_of_it() -> None:
    assert masked("abcdef-0123", {"abcdef", "abcdef-0123"}) == "***"
    assert masked("nothing", set()) == "nothing"
