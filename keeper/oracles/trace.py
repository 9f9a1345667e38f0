"""From a reserve's price source down to the feeds that publish rounds.

Breadth first, each contract asked once, all contracts of a level in one batch; bounded in depth
and number, and loops end.  What cannot be followed says why in `Source.untraced` and is never
taken for fresh.

Caveat: a contract that invents ``updatedAt`` passes for a feed.  Of 77 sources on Ethereum 61 are
adapters; the getters of `keeper.oracles.probe` are those that Aave publishes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from keeper.errors import ConfigError
from keeper.model import Address, Asset, Call, Cap, Feed, Source
from keeper.oracles.bounds import NO_BOUNDS, Bounds, read_bounds
from keeper.oracles.heartbeats import DEFAULT_HEARTBEAT_S, Heartbeats, published
from keeper.oracles.probe import (
    FUNCTIONS,
    AdapterNode,
    FixedNode,
    LeafNode,
    Node,
    OpaqueNode,
    classify,
    probe,
)
from keeper.ports import Steps

ZERO_ADDRESS = Address("0x" + "0" * 40)


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRules:
    """How far to follow and what to take for a heartbeat.

    Raises ConfigError for a heartbeat or a bound below 1.
    """

    heartbeats: Heartbeats = field(default_factory=published)
    overrides_s: Mapping[Address, int] = field(default_factory=dict)
    """Heartbeats by feed address, lower case: the operator's word counts before any other."""
    default_heartbeat_s: int = DEFAULT_HEARTBEAT_S
    max_depth: int = 6
    """Levels of contracts, the source's own included."""
    max_contracts: int = 24
    """Under one source."""

    def __post_init__(self) -> None:
        """Refuse what would make everything stale or nothing traced."""
        for address, heartbeat_s in (
            ("default", self.default_heartbeat_s),
            *self.overrides_s.items(),
        ):
            if heartbeat_s < 1:
                raise ConfigError(
                    f"oracles: the heartbeat of {address} is {heartbeat_s} s, it must be above 0"
                )
        if min(self.max_depth, self.max_contracts) < 1:
            raise ConfigError("oracles: max_depth and max_contracts must be above 0")


def trace(
    assets: tuple[tuple[Asset, Address], ...], chain_id: int, rules: TraceRules
) -> Steps[tuple[Source, ...]]:
    """Follow each (asset, price source) to its leaf feeds; answers in the order of `assets`.

    At most `rules.max_depth` batches, and one for the bounds of the aggregators.  Feeds shared by
    sources are equal `Feed` values.
    """
    known: dict[Address, Node] = {}
    roots = tuple(dict.fromkeys(source for _, source in assets if source != ZERO_ADDRESS))
    for _ in range(rules.max_depth):
        unknown = _frontier(roots, known, rules.max_contracts)
        if not unknown:
            break
        calls: tuple[Call, ...] = tuple(c for address in unknown for c in probe(address))
        results = yield calls
        for i, address in enumerate(unknown):
            known[address] = classify(results[i * len(FUNCTIONS) : (i + 1) * len(FUNCTIONS)])
    leaves = (node for node in known.values() if isinstance(node, LeafNode))
    behind = dict.fromkeys(leaf.aggregator for leaf in leaves if leaf.aggregator is not None)
    bounds = yield from read_bounds(tuple(behind))
    return tuple(
        _assemble(asset, source, _Walk(chain_id, known, bounds, rules)) for asset, source in assets
    )


def _frontier(
    roots: Iterable[Address], known: Mapping[Address, Node], at_most: int
) -> tuple[Address, ...]:
    """Contracts not asked yet under sources that are not too wide, each once."""
    unknown: dict[Address, None] = {}
    for root in roots:
        under = _closure(root, known)
        if len(under) <= at_most:
            unknown.update((a, None) for a in under if a not in known)
    return tuple(unknown)


def _closure(root: Address, known: Mapping[Address, Node]) -> tuple[Address, ...]:
    seen = {root: None}
    queue = [root]
    while queue:
        node = known.get(queue.pop())
        if isinstance(node, AdapterNode):
            for child in (*node.feeds, *node.ratios):
                if child not in seen:
                    seen[child] = None
                    queue.append(child)
    return tuple(seen)


@dataclass(slots=True)
class _Walk:
    """What one walk down from a source has found so far."""

    chain_id: int
    known: Mapping[Address, Node]
    bounds: Mapping[Address, Bounds]
    rules: TraceRules
    path: list[str] = field(default_factory=list)
    feeds: dict[Address, Feed] = field(default_factory=dict)
    untraced: list[str] = field(default_factory=list)
    caps: list[Cap] = field(default_factory=list)
    fixed: bool = False
    done: set[tuple[Address, bool]] = field(default_factory=set)
    """(contract, as a ratio): walked once, however many ways lead to it."""

    def down(self, address: Address, above: tuple[Address, ...], *, ratio: bool) -> None:
        if address in above:
            self.untraced.append(f"{address} refers back to itself")
        if address in above or (address, ratio) in self.done:
            return
        self.done.add((address, ratio))
        match self.known.get(address):
            case None:
                depth = self.rules.max_depth
                self.untraced.append(f"{address} lies deeper than {depth} contracts")
            case LeafNode() as node:
                self._leaf(address, node)
            case AdapterNode() as node:
                self._adapter(address, node, above)
            case FixedNode() as node:
                self.fixed = True
                self.path.append(_line("fixed price", address, node.description))
            case OpaqueNode(plain_ratio=True) if ratio:
                self.path.append(_line("ratio of the token's own contract", address, ""))
            case OpaqueNode() as node:
                self.untraced.append(f"{address}: {node.reason}")

    def _adapter(self, address: Address, node: AdapterNode, above: tuple[Address, ...]) -> None:
        self.path.append(_line(node.kind, address, node.description))
        if node.capped:
            self.caps.append(
                Cap(address=address, base=node.feeds[0], ratio_decimals=node.ratio_decimals)
            )
        for child in node.feeds:
            self.down(child, (*above, address), ratio=False)
        for child in node.ratios:
            self.down(child, (*above, address), ratio=True)

    def _leaf(self, address: Address, node: LeafNode) -> None:
        if address in self.feeds:
            return
        description = node.description.replace(" / ", "/") or f"feed {address}"
        figure = self.rules.heartbeats.of(self.chain_id, address, node.description)
        override = self.rules.overrides_s.get(address)
        least, greatest = (
            NO_BOUNDS if node.aggregator is None else self.bounds.get(node.aggregator, NO_BOUNDS)
        )
        self.feeds[address] = Feed(
            address=address,
            description=description,
            decimals=node.decimals,
            heartbeat_s=override
            or (figure.heartbeat_s if figure else self.rules.default_heartbeat_s),
            heartbeat_assumed=override is None and figure is None,
            aggregator=node.aggregator,
            min_answer=least,
            max_answer=greatest,
        )
        kind = "feed" if node.aggregator else "feed that names no aggregator"
        self.path.append(_line(kind, address, description))


def _assemble(asset: Asset, source: Address, walk: _Walk) -> Source:
    known, most = walk.known, walk.rules.max_contracts
    if source == ZERO_ADDRESS:
        walk.untraced.append("the market's oracle has no source for it")
    elif len(_closure(source, known)) > most:
        walk.untraced.append(f"there are more than {most} contracts under it")
    else:
        walk.down(source, (), ratio=False)
    return Source(
        asset=asset,
        address=source,
        path=tuple(walk.path),
        feeds=tuple(walk.feeds.values()),
        untraced=walk.untraced[0] if walk.untraced else "",
        caps=tuple(walk.caps),
        fixed=walk.fixed,
        decimals=_said_decimals(known.get(source)),
    )


def _said_decimals(node: Node | None) -> int | None:
    match node:
        case LeafNode() | AdapterNode() | FixedNode():
            return node.decimals
        case _:
            return None


def _line(kind: str, address: Address, description: str) -> str:
    return f"{kind} {address}: {description}" if description else f"{kind} {address}"
