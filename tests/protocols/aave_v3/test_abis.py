"""Hand-packed selectors and topics against the published ABIs."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from eth_utils.crypto import keccak

from keeper.protocols.aave_v3 import codec, topics

ABIS = Path(__file__).parents[3] / "abis" / "aave_v3" / "3.6"


def _type(of: dict[str, Any]) -> str:
    if not of["type"].startswith("tuple"):
        return str(of["type"])
    inner = ",".join(_type(c) for c in of["components"])
    return f"({inner}){of['type'].removeprefix('tuple')}"


def _signatures(contract: str, kind: str) -> set[str]:
    said = json.loads((ABIS / f"{contract}.json").read_text())
    abi = said["abi"] if isinstance(said, dict) else said
    return {
        f"{e['name']}({','.join(_type(i) for i in e['inputs'])})" for e in abi if e["type"] == kind
    }


def _selectors_of_the_source() -> dict[str, str]:
    """Return name -> signature of every selector constant, from the text beside it."""
    source = Path(codec.__file__).read_text()
    beside = re.findall(
        r'^([A-Z_]+): Final = bytes\.fromhex\("[0-9a-f]{8}"\)(?:  # |\n""")(\w+\([\w,]*\))',
        source,
        re.MULTILINE,
    )
    return dict(beside)


SELECTORS = _selectors_of_the_source()


@pytest.mark.parametrize("name", sorted(SELECTORS))
def test_a_selector_is_the_hash_of_its_signature(name: str) -> None:
    assert getattr(codec, name) == keccak(text=SELECTORS[name])[:4]


def test_every_selector_says_its_signature() -> None:
    packed = {
        name
        for name, value in vars(codec).items()
        if name.isupper() and isinstance(value, bytes) and len(value) == 4
    }

    assert packed == set(SELECTORS)


def test_every_selector_is_a_function_of_the_published_contracts() -> None:
    published = set[str]()
    for contract in ("Pool", "PoolAddressesProvider", "AaveOracle", "AToken", "VariableDebtToken"):
        published |= _signatures(contract, "function")
    published |= _signatures("PriceOracleSentinel", "function")

    # gone since 3.2, or of the instance and not of the interface
    not_in_3_6 = {"POOL_REVISION()", "getSupplyData()"}
    assert set(SELECTORS.values()) - published - not_in_3_6 == set()


@pytest.mark.parametrize(
    ("contract", "ours"),
    [
        ("PoolConfigurator", topics.CONFIGURATOR),
        ("AaveOracle", topics.ORACLE),
        ("PoolAddressesProvider", topics.PROVIDER),
    ],
)
def test_every_event_of_a_parameter_contract_is_heard(contract: str, ours: dict[str, str]) -> None:
    assert _signatures(contract, "event") - set(ours) <= {
        "Initialized(uint64)",
        "OwnershipTransferred(address,address)",
    }


@pytest.mark.parametrize("table", [topics.CONFIGURATOR, topics.ORACLE, topics.PROVIDER])
def test_a_topic_is_the_hash_of_its_signature(table: dict[str, str]) -> None:
    for signature, topic in table.items():
        assert topic == "0x" + keccak(text=signature).hex()


def test_the_topics_of_accounts_are_the_pools_and_the_tokens() -> None:
    events = _signatures("Pool", "event") | _signatures("AToken", "event")

    for topic, signature in (
        (topics.TRANSFER, "Transfer(address,address,uint256)"),
        (
            topics.RESERVE_USED_AS_COLLATERAL_ENABLED,
            "ReserveUsedAsCollateralEnabled(address,address)",
        ),
        (
            topics.RESERVE_USED_AS_COLLATERAL_DISABLED,
            "ReserveUsedAsCollateralDisabled(address,address)",
        ),
        (topics.USER_E_MODE_SET, "UserEModeSet(address,uint8)"),
        (
            topics.LIQUIDATION_CALL,
            "LiquidationCall(address,address,address,uint256,uint256,address,bool)",
        ),
    ):
        assert topic == "0x" + keccak(text=signature).hex()
        assert signature in events
