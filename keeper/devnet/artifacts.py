"""Compiled contracts: what is compiled from which source, with which settings, and how it links.

Compiled output lives in ``.cache/artifacts``, one file a job, named by the hash of all that went
into it.  Contracts that npm packages publish with bytecode are read from the package.  Bytecode
is never committed, but for our own lens.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from keeper.errors import ConfigError

AAVE: Final = "@aave-dao/aave-v3-origin/src/contracts"
CHAINLINK: Final = "@chainlink/contracts/src/v0.6"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One source file and the contracts wanted from it."""

    file: str
    contracts: tuple[str, ...]
    abi_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run of one compiler."""

    name: str
    compiler: str
    """Folder under ``contracts/node_modules``."""
    settings: Mapping[str, Any]
    entries: tuple[Entry, ...]
    remappings: tuple[tuple[str, str], ...] = ()
    own: bool = False
    """True: the sources are ours, below ``contracts/``, and their text is part of the hash."""


def _entries(base: str, *names: str, abi_only: bool = False) -> tuple[Entry, ...]:
    return tuple(
        Entry(file=f"{base}/{name}.sol", contracts=(name.rsplit("/", 1)[-1],), abi_only=abi_only)
        for name in names
    )


def _settings(evm: str, **more: object) -> dict[str, object]:
    return {"optimizer": {"enabled": True, "runs": 200}, "evmVersion": evm, **more}


_AAVE_SETTINGS = _settings("shanghai", viaIR=False, metadata={"bytecodeHash": "none"})
_AAVE_REMAPPINGS = (
    ("openzeppelin-contracts/contracts/", "@openzeppelin/contracts/"),
    (
        "openzeppelin-contracts-upgradeable/contracts/",
        "@openzeppelin/contracts-upgradeable/",
    ),
    ("solidity-utils/contracts/", "@bgd-labs/solidity-utils/src/contracts/"),
)

OWN_SETTINGS: Final = _settings(
    "paris", viaIR=False, metadata={"bytecodeHash": "none", "appendCBOR": False}
)

JOBS: Final[tuple[Job, ...]] = (
    Job(
        name="aave-pool",
        compiler="solc0827",
        settings=_AAVE_SETTINGS,
        remappings=_AAVE_REMAPPINGS,
        entries=_entries(
            AAVE,
            "instances/PoolInstance",
            "protocol/libraries/logic/BorrowLogic",
            "protocol/libraries/logic/FlashLoanLogic",
            "protocol/libraries/logic/LiquidationLogic",
            "protocol/libraries/logic/PoolLogic",
            "protocol/libraries/logic/SupplyLogic",
        ),
    ),
    Job(
        name="aave-rest",
        compiler="solc0827",
        settings=_AAVE_SETTINGS,
        remappings=_AAVE_REMAPPINGS,
        entries=(
            *_entries(
                AAVE,
                "instances/PoolConfiguratorInstance",
                "protocol/libraries/logic/ConfiguratorLogic",
                "instances/ATokenInstance",
                "instances/VariableDebtTokenInstance",
                "misc/AaveOracle",
                "misc/DefaultReserveInterestRateStrategyV2",
                "protocol/configuration/ACLManager",
                "protocol/configuration/PoolAddressesProvider",
                "helpers/AaveProtocolDataProvider",
                "dependencies/weth/WETH9",
                "mocks/testnet-helpers/TestnetERC20",
            ),
            *_entries(
                AAVE,
                "interfaces/IPool",
                "interfaces/IAToken",
                "interfaces/IVariableDebtToken",
                "interfaces/IAaveOracle",
                "interfaces/IPoolAddressesProvider",
                "interfaces/IPoolConfigurator",
                "interfaces/IPoolDataProvider",
                "interfaces/IACLManager",
                "interfaces/IPriceOracleSentinel",
                "protocol/libraries/helpers/Errors",
                abi_only=True,
            ),
        ),
    ),
    Job(
        name="chainlink",
        compiler="solc066",
        settings=_settings("istanbul"),
        entries=_entries(CHAINLINK, "FluxAggregator", "EACAggregatorProxy"),
    ),
    Job(
        name="devnet",
        compiler="solc0827",
        settings=OWN_SETTINGS,
        entries=_entries(
            "devnet", "Aggregate3", "FixedPrice", "RatioAdapter", "RatioProvider", "SlotWriter"
        ),
        own=True,
    ),
)

_UNISWAP_CORE = "@uniswap/v3-core/artifacts/contracts"
_UNISWAP_PERIPHERY = "@uniswap/v3-periphery/artifacts/contracts"
_AAVE_302 = "@aave/core-v3/artifacts/contracts"

PUBLISHED: Final[Mapping[str, str]] = {
    "UniswapV3Factory": f"{_UNISWAP_CORE}/UniswapV3Factory.sol/UniswapV3Factory.json",
    "UniswapV3Pool": f"{_UNISWAP_CORE}/UniswapV3Pool.sol/UniswapV3Pool.json",
    "SwapRouter": f"{_UNISWAP_PERIPHERY}/SwapRouter.sol/SwapRouter.json",
    "NonfungiblePositionManager": (
        f"{_UNISWAP_PERIPHERY}/NonfungiblePositionManager.sol/NonfungiblePositionManager.json"
    ),
    "QuoterV2": f"{_UNISWAP_PERIPHERY}/lens/QuoterV2.sol/QuoterV2.json",
    **{
        f"v3.0.2/{name}": f"{_AAVE_302}/{path}/{name}.sol/{name}.json"
        for path, names in {
            "protocol/pool": ("Pool", "PoolConfigurator", "DefaultReserveInterestRateStrategy"),
            "protocol/libraries/logic": (
                "BorrowLogic",
                "BridgeLogic",
                "ConfiguratorLogic",
                "EModeLogic",
                "FlashLoanLogic",
                "LiquidationLogic",
                "PoolLogic",
                "SupplyLogic",
            ),
            "protocol/tokenization": ("AToken", "StableDebtToken", "VariableDebtToken"),
            "protocol/configuration": ("ACLManager", "PoolAddressesProvider"),
            "misc": ("AaveOracle", "AaveProtocolDataProvider"),
        }.items()
        for name in names
    },
}
"""Contracts that come compiled; the path is below ``contracts/node_modules``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One compiled contract."""

    name: str
    abi: tuple[Mapping[str, Any], ...]
    bytecode: str
    """Creation code in hex without ``0x``; libraries not yet linked are placeholders."""
    link_references: Mapping[str, Mapping[str, tuple[tuple[int, int], ...]]]
    """Source file -> library -> (start, length) in bytes."""
    deployed_bytecode: str
    """Run-time code in hex without ``0x``, immutables zero."""

    def libraries(self) -> tuple[str, ...]:
        """Names of the libraries to be linked in, sorted."""
        return tuple(sorted({lib for libs in self.link_references.values() for lib in libs}))

    def linked(self, libraries: Mapping[str, str]) -> bytes:
        """Creation code with each library's address filled in.

        Raises `ConfigError` naming the library that has no address.
        """
        code = self.bytecode
        for by_library in self.link_references.values():
            for library, places in by_library.items():
                if library not in libraries:
                    raise ConfigError(f"{self.name} needs the library {library}, deploy it first.")
                address = libraries[library].removeprefix("0x").lower()
                for start, length in places:
                    code = code[: 2 * start] + address + code[2 * (start + length) :]
        return bytes.fromhex(code)


@dataclass(frozen=True, slots=True)
class Artifacts:
    """All compiled contracts by name, each file read once and only when asked for."""

    modules: Path
    files: Mapping[str, Path]
    """Job name -> its cached output: the hash of the rest in the first line, then JSON."""
    _loaded: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def get(self, name: str) -> Artifact:
        """Return the contract `name`: ``PoolInstance``, ``SwapRouter``, ``v3.0.2/Pool``.

        Raises `ConfigError` for a name that nothing compiles.
        """
        if name in PUBLISHED:
            return _artifact(name, json.loads((self.modules / PUBLISHED[name]).read_bytes()))
        for job in (*JOBS, *([OWN_JOB] if OWN_JOB.name in self.files else [])):
            if job.name in self.files and name in self._job(job.name):
                return _artifact(name, self._job(job.name)[name])
        raise ConfigError(f"No contract is called {name!r}; keeper/devnet/artifacts.py lists them.")

    def _job(self, job: str) -> Mapping[str, Any]:
        if job not in self._loaded:
            self._loaded[job] = json.loads(self.files[job].read_bytes().partition(b"\n")[2])
        return self._loaded[job]


OWN_JOB: Final = Job(name="own", compiler="solc0827", settings=OWN_SETTINGS, entries=(), own=True)
"""``contracts/src/*.sol``, each file holding the contract of its name; entries are found."""


def own_job(contracts: Path) -> Job:
    """The job of our shipped contracts, one entry a file of ``contracts/src``."""
    names = sorted(path.stem for path in (contracts / "src").glob("*.sol"))
    return Job(
        name=OWN_JOB.name,
        compiler=OWN_JOB.compiler,
        settings=OWN_JOB.settings,
        entries=_entries("src", *names),
        own=True,
    )


def request(job: Job, contracts: Path) -> dict[str, Any]:
    """What ``contracts/compile.js`` reads: the job with its source roots."""
    return {
        "compiler": job.compiler,
        "settings": dict(job.settings),
        "remappings": [list(pair) for pair in job.remappings],
        "roots": [str(contracts), str(contracts / "node_modules")],
        "entries": [
            {"file": e.file, "contracts": list(e.contracts), "abiOnly": e.abi_only}
            for e in job.entries
        ],
    }


def fingerprint(job: Job, contracts: Path) -> str:
    """Hash of all that decides the output: lock, compile script, settings, our own sources."""
    digest = hashlib.sha256()
    digest.update((contracts / "package-lock.json").read_bytes())
    digest.update((contracts / "compile.js").read_bytes())
    told = request(job, contracts)
    del told["roots"]  # where the checkout lies decides nothing
    digest.update(json.dumps(told, sort_keys=True).encode())
    if job.own:
        for path in sorted((contracts / job.entries[0].file).parent.rglob("*.sol")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:24]


def _artifact(name: str, raw: Mapping[str, Any]) -> Artifact:
    code, deployed = raw["bytecode"], raw["deployedBytecode"]
    return Artifact(
        name=name,
        abi=tuple(raw["abi"]),
        bytecode=code.removeprefix("0x"),
        deployed_bytecode=deployed.removeprefix("0x"),
        link_references={
            file: {
                library: tuple((place["start"], place["length"]) for place in places)
                for library, places in by_library.items()
            }
            for file, by_library in raw.get("linkReferences", {}).items()
        },
    )
