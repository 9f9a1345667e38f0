"""One market under watch: its book, its oracles, whom recent blocks touched, what to read next.

Holds memory but does no I/O: what it wants read it hands out as `Steps`, so that the engine can
read all markets of a chain in one packed read, and `take` puts the answers where they belong.

One class, though it is long: who was heard of, read, doubted and looked at are columns over the
rows of one book, and an edit of the book must find all of them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from keeper.engine import two_threads
from keeper.engine.changes import Comparison, LastRead, last_read
from keeper.engine.oracles import (
    Independent,
    OracleRead,
    OracleRules,
    Rotated,
    WatchedOracles,
)
from keeper.errors import BadHoldings
from keeper.model import (
    Address,
    Assessment,
    Asset,
    BlockRef,
    Changed,
    Entry,
    Feed,
    FeedVerdict,
    Hash,
    Holdings,
    Liquidated,
    Log,
    LogFilter,
    MarketId,
    PriceVerdict,
    ReadAccounts,
    Side,
    Source,
    Touched,
)
from keeper.oracles.judge import JudgeRules
from keeper.oracles.trace import TraceRules
from keeper.ports import LendingAdapter, LendingView, Observation, Steps
from keeper.risk.book import Book, Rows

REMEMBERED_BLOCKS = 512
READ_PER_BLOCK = 2_000
TRIED_AGAIN_PER_BLOCK = 200
"""Of those who could not be read, so many have their turn: all n of them once in n / 200 blocks."""
DISCOVER_EVERY_BLOCKS = 1_000
"""Parameters are learnt again now and then although no log spoke of them."""
FEW_STRANGERS = 8
"""So many at once are asked for every balance there is."""
KEPT_AT_ONCE = 200
"""Accounts whose balances are gathered for a checkpoint, or put back, in one go."""
MOST_KEPT = 250_000
"""A book of more is saved without balances: they would take a gigabyte while they are gathered."""
DIFFERED = "its balances were not those of the book and no log had said so; it is read once more"

M = TypeVar("M")
Obs = TypeVar("Obs", bound=Observation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One market read at one block and judged."""

    block: BlockRef
    view: LendingView
    feeds: tuple[FeedVerdict, ...]
    prices: tuple[PriceVerdict, ...]
    repaired: tuple[Address, ...]
    """Accounts whose holdings differed from the book although no log had spoken of them."""
    unreadable: tuple[tuple[Address, str], ...]
    """Accounts that could not be read or are not believed yet, and why: they are tried again, at
    the next block or when their turn comes."""
    protecting: LendingView
    """The same arithmetic for protections, which may go by a doubted price where the stance on its
    cause says so; `view` itself where no price is doubted."""
    distrusted: int = 0
    """Accounts of a checkpoint that were given up because one of them was not as it said."""
    rotated: tuple[Rotated, ...] = ()
    """Feeds with another aggregator than before: they are traced again at the next block."""
    changed: Changed | None = None
    """Parameters that are not what they were when the market was read before, and what that makes
    of watched positions; None while nothing changed."""

    @property
    def held(self) -> Mapping[Address, str]:
        """Assets on whose price nobody may be liquidated, and why."""
        return {p.asset.address: p.hold_liquidations for p in self.prices if p.hold_liquidations}


class WatchedMarket(Generic[M, Obs]):
    """A market between two blocks."""

    def __init__(
        self,
        adapter: LendingAdapter[M, Obs],
        *,
        tracing: TraceRules,
        judging: JudgeRules,
        independent: Independent = Independent(),  # noqa: B008 - frozen
        sequencer: Address | None = None,
        sweep_per_block: int = 4,
    ) -> None:
        """`sweep_per_block`: accounts re-read each block although nothing spoke of them.

        `independent`: where references come from.  `sequencer`: a rollup's uptime feed.
        """
        self.adapter = adapter
        self.book = Book(each=two_threads.each)
        self.watched: frozenset[Address] = frozenset()
        self.must_discover = True
        self.last: LastRead | None = None
        """What was read last, to compare with."""
        rules = OracleRules(
            tracing=tracing, judging=judging, independent=independent, sequencer=sequencer
        )
        self.oracles = WatchedOracles(rules, adapter.id.chain_id)
        self._market: M | None = None
        self._sweep_per_block = sweep_per_block
        self._swept_to = 0
        self._takes = 0
        self._heard: dict[Hash, Touched] = {}
        self._liquidated: list[Liquidated] = []
        self._to_read: set[Address] = set()
        self._asked: frozenset[Address] = frozenset()
        """Who is being read at the present block."""
        self._moved: dict[Address, frozenset[tuple[int, Side]]] = {}
        """Of whom to read: balances that logs speak of, known or not."""
        self._named: set[Address] = set()
        """Of whom a log spoke, or a block that was undone, since he was last read."""
        self._backlog: dict[Address, None] = {}
        """Whom to read when there is time, in order; nobody twice."""
        self._swept: frozenset[Address] = frozenset()
        self._rooms: frozenset[int] | None = None
        """Whose room under the supply cap is asked for: of all reserves, unless nobody is
        watched.  Not of fewer: what an account has just supplied may be what it needs more of."""
        self._unreadable: dict[Address, str] = {}
        """Who could not be read, and why; who was tried last is the last."""
        self._tried_again: set[Address] = set()
        """Of whom to read: on the list only because they could not be read before."""
        self._quarantined: dict[Address, str] = {}
        self._restored: set[Address] = set()
        self._stands = np.zeros(0, dtype=np.bool_)
        self._looked: dict[int, Assessment] = {}
        """By row, what was found of those who stand."""
        self._left_out: dict[int, int] = {}
        """Rows whose turn did not come, and in how many passes on end."""
        self.reorganised = False
        """Whether a block was undone since everybody who stands was looked at."""
        self.waited = 0
        """In how many passes on end nobody's turn came of those who stand."""

    @property
    def id(self) -> MarketId:
        """The market's name, protocol and chain."""
        return self.adapter.id

    @property
    def market(self) -> M:
        """What `discover` learnt; asking before it has run is a mistake of ours."""
        assert self._market is not None, f"{self.id} is used before it was discovered"
        return self._market

    @property
    def anchor(self) -> Address:
        """The contract whose first block is the market's first."""
        return self.adapter.anchor

    @property
    def log_filter(self) -> LogFilter:
        """Logs that say where to look."""
        return self.adapter.log_filter(self.market)

    @property
    def backfill_filter(self) -> LogFilter:
        """Logs of history that name every borrower."""
        return self.adapter.backfill_filter(self.market)

    @property
    def sources(self) -> tuple[Source, ...]:
        """How each reserve's price comes about."""
        return self.oracles.sources

    @property
    def feeds(self) -> tuple[Feed, ...]:
        """Every leaf feed once, in the order first met."""
        return self.oracles.feeds

    def discover(self) -> Steps[None]:
        """Learn reserves, e-modes and price sources from the chain, down to the leaf feeds."""
        self._market = yield from self.adapter.discover()
        assets: tuple[tuple[Asset, Address], ...] = tuple(
            (asset, source) for _, asset, source in self.adapter.sources(self._market)
        )
        yield from self.oracles.discover(assets)
        self.must_discover = False

    # --- whom to read -------------------------------------------------------------------------

    def hear(self, block: BlockRef, logs: Iterable[Log]) -> None:
        """Take one block's logs: whom they touch is read, a change of parameters discovered.

        The same block may be heard twice, the second time with more.
        """
        logs = tuple(logs)
        touched = self.adapter.touched(self.market, logs)
        self._liquidated = [one for one in self._liquidated if one.block.hash != block.hash]
        self._liquidated += self.adapter.liquidations(self.market, block, logs)
        self.must_discover |= touched.parameters
        self._heard[block.hash] = touched
        while len(self._heard) > REMEMBERED_BLOCKS:
            del self._heard[next(iter(self._heard))]
        self._to_read |= self._touched(touched)
        self._restored -= touched.accounts | touched.borrowers

    def unhear(self, block: BlockRef) -> None:
        """Take back an orphaned block: whom it touched is read again on the branch that won.

        A block that was never heard, from before the start, may have touched anybody: the whole
        book is read again, once, however many such blocks a reorg undoes.
        """
        self.reorganised = True
        self._liquidated = [one for one in self._liquidated if one.block.hash != block.hash]
        touched = self._heard.pop(block.hash, None)
        if touched is None:
            self._backlog.update(dict.fromkeys(self.book.accounts()))
            self.must_discover = True
            return
        self.must_discover |= touched.parameters
        self._to_read |= self._touched(touched)

    def heard(self, block: BlockRef) -> bool:
        """Whether the logs of `block` were taken, and it was not forgotten since."""
        return block.hash in self._heard

    def liquidated(self) -> tuple[Liquidated, ...]:
        """Hand over the liquidations heard of since this was last asked, oldest first."""
        heard, self._liquidated = tuple(self._liquidated), []
        return heard

    def _touched(self, touched: Touched) -> set[Address]:
        """Return those who are known, whom people watch, or who got debt: they are read again."""
        known = {
            account
            for account in touched.accounts
            if account in self.watched or account in self.book or account in self._unreadable
        }
        again = known | touched.borrowers
        self._named |= again
        self._tried_again -= again
        for account in again & touched.moved.keys():
            self._moved[account] = self._moved.get(account, frozenset()) | touched.moved[account]
        return again

    def admit(self, accounts: Iterable[Address]) -> None:
        """Queue accounts found in history: at most `READ_PER_BLOCK` of them enter at each block."""
        self._backlog.update((a, None) for a in accounts if a not in self.book)

    def restore(self, kept: Iterable[Holdings]) -> int:
        """Put balances of a checkpoint into the book where nothing newer is; return how many.

        Whoever was touched meanwhile is left to be read.  Nobody restored is believed before he
        was read: `admit` them too, so that all are, and ask `believed`.
        """
        if len(self._heard) >= REMEMBERED_BLOCKS:
            return 0  # blocks were forgotten that may have touched somebody
        put = 0
        recent: set[Address] = set(self.watched)
        for touched in self._heard.values():
            recent |= touched.accounts | touched.borrowers
        for holdings in kept:
            if holdings.account not in self.book and holdings.account not in recent:
                try:
                    self.book.put(holdings)
                except BadHoldings:  # not restored: it is read like anybody who was not kept
                    continue
                self._restored.add(holdings.account)
                put += 1
        return put

    def believed(self, accounts: Iterable[Address]) -> tuple[Address, ...]:
        """Return those that were read since the start; the others are read at the next block."""
        asked = set(accounts)
        self._to_read |= asked & self._restored
        return tuple(asked - self._restored)

    def kept(self) -> Iterator[tuple[Holdings, ...]]:
        """Yield, some at a time, the balances that nothing has touched in the blocks remembered.

        The book may change in between: keep of them what is `untouched` at the end.  Of a book of
        more than `MOST_KEPT` there are none.
        """
        if len(self.book) > MOST_KEPT:
            return
        some: list[Holdings] = []
        for account in tuple(self.book.accounts()):
            if (holdings := self.holdings(account)) is not None:
                some.append(holdings)
            if len(some) == KEPT_AT_ONCE:
                yield tuple(some)
                some = []
        yield tuple(some)

    def untouched(self, kept: Iterable[Holdings]) -> tuple[Holdings, ...]:
        """Return those whom no block remembered touched and nothing else makes doubtful."""
        doubtful = set(self._to_read) | self._restored | set(self._unreadable)
        doubtful.update(self._quarantined)
        for touched in self._heard.values():
            doubtful |= touched.accounts | touched.borrowers
        return tuple(h for h in kept if h.account not in doubtful)

    @property
    def layout(self) -> str:
        """A digest of the contracts that balances are read from."""
        addresses = ",".join(sorted(self.log_filter.addresses))
        return "0x" + sha256(addresses.encode()).hexdigest()

    @property
    def backlog(self) -> int:
        """Accounts found in history that were not read since the start."""
        return len(self._backlog)

    def watch(self, accounts: frozenset[Address]) -> None:
        """Replace the accounts that people watch; new ones are read even without debt."""
        self._to_read |= {a for a in accounts if a in self._unreadable or self.book.get(a) is None}
        self.watched = accounts

    # --- reading ------------------------------------------------------------------------------

    def observe(self, *, whole: bool = True) -> Steps[Obs]:
        """Indices, prices and every account on the list, with the sweep's share of the others.

        Of those who could not be read the list has whom people watch, whom logs speak of and who
        failed for the first time; of the others `TRIED_AGAIN_PER_BLOCK`, in turns.  There may be
        any number of accounts that can never be read.

        Not `whole`: ask `left_over` for whom to read besides; and where nobody was watched at the
        last block, no room under a supply cap is asked for.
        """
        for account in tuple(islice(self._backlog, READ_PER_BLOCK)):
            del self._backlog[account]
            self._to_read.add(account)
        tried_again = self._next_tried_again() - self._to_read
        self._tried_again |= tried_again
        self._to_read |= tried_again
        self._swept = self._next_swept() - self._to_read
        self._asked = frozenset(self._to_read | self._swept)
        asked = sorted(self._asked)
        rooms = None if whole else self._rooms
        return self.adapter.observe(self.market, asked, self._expected, whole=whole, rooms=rooms)

    def left_over(self, seen: Obs) -> bool:
        """Put whom `observe` left on the list; whether anybody is there whom it did not read."""
        self._asked -= frozenset(seen.unfinished)
        self._to_read.update(seen.unfinished)
        return not self._to_read <= self._asked

    def observe_besides(self) -> Steps[ReadAccounts]:
        """Every account on the list that `observe` did not read, of the same block.

        Of a few strangers every balance is asked for: what they have is said by their bitmap only.
        """
        besides = self._to_read - self._asked
        self._asked |= besides
        strangers = frozenset(account for account in besides if account not in self.book)
        if len(strangers) > FEW_STRANGERS:
            strangers = frozenset()
        every = tuple(
            Entry(reserve=reserve, side=side, scaled=0)
            for reserve in self._reserves()
            for side in Side
        )

        def expected(account: Address) -> Holdings | None:
            if account in strangers:
                return Holdings(account=account, e_mode=0, entries=every)
            return self._expected(account)

        return self.adapter.observe_accounts(self.market, sorted(besides), expected)

    def _expected(self, account: Address) -> Holdings | None:
        """Return which balances to ask of `account`: those of the book and those that moved."""
        known, moved = self.book.get(account), self._moved.get(account)
        if moved is None:
            return known
        entries = () if known is None else known.entries
        more = moved - {(entry.reserve, entry.side) for entry in entries}
        return Holdings(
            account=account,
            e_mode=0 if known is None else known.e_mode,
            entries=(*entries, *(Entry(reserve=r, side=side, scaled=0) for r, side in more)),
        )

    def rounds(self) -> Steps[OracleRead]:
        """The latest round of each leaf feed, and all else that prices are judged by."""
        return self.oracles.read()

    def take(
        self,
        block: BlockRef,
        seen: Obs,
        rounds: OracleRead,
        besides: ReadAccounts = ReadAccounts(holdings=(), unreadable=()),  # noqa: B008 - frozen
    ) -> Reading:
        """Bring the book up to `block`, judge the feeds, and bind the arithmetic to it.

        `besides`: what `observe_besides` read.
        """
        read = (*seen.holdings, *besides.holdings)
        were_read = {h.account for h in read}
        was_restored = self._restored & were_read
        repaired = self._check(read)
        self._named -= were_read
        failed = dict((*seen.unreadable, *besides.unreadable))
        for holdings in read:
            account = holdings.account
            try:  # what the sweep read and found as it was is no edit
                if self.book.get(account) != holdings:
                    self.book.put(holdings)
            except BadHoldings as error:  # of this account alone: the others go on
                failed[account] = str(error)
            else:
                self._unreadable.pop(account, None)
                self.unsettle((account,))
        self._restored -= was_restored
        distrusted = self._distrust() if not was_restored.isdisjoint(repaired) else 0
        self._to_read -= self._asked
        self._put_back(failed)
        self._to_read |= self._quarantined.keys() - self._unreadable.keys()
        self._moved = {a: moved for a, moved in self._moved.items() if a in self._to_read}

        self._rooms = None if self.watched else frozenset()

        self._takes += 1
        self.must_discover |= self._takes % DISCOVER_EVERY_BLOCKS == 0

        answers = tuple(seen.prices[reserve] for reserve in self._reserves())
        judged = self.oracles.take(block, rounds, answers)
        self.must_discover |= bool(judged.rotated)
        view, protecting = self.views(block, seen, judged.prices)
        before, now = self.last, last_read(block, (self.market, seen), judged.prices)
        changed = None if before is None else self.comparison(self.watched).happened(before, now)
        self.last = now
        return Reading(
            block=block,
            view=view,
            protecting=protecting,
            feeds=judged.feeds,
            prices=judged.prices,
            repaired=repaired,
            distrusted=distrusted,
            unreadable=tuple((self._quarantined | self._unreadable).items()),
            rotated=judged.rotated,
            changed=changed,
        )

    def views(
        self, block: BlockRef, seen: Obs, prices: tuple[PriceVerdict, ...]
    ) -> tuple[LendingView, LendingView]:
        """Return the arithmetic on prices that may be relied upon, and that of protections.

        Verdicts in the order of the sources.
        """
        by_reserve = dict(zip(self._reserves(), prices, strict=True))
        unusable = {reserve: p.reason for reserve, p in by_reserve.items() if not p.usable}
        hopeless = {reserve: p.hold_all for reserve, p in by_reserve.items() if p.hold_all}
        view = self.adapter.view(self.market, seen, block, unusable)
        if unusable.keys() == hopeless.keys():
            return view, view
        return view, self.adapter.view(self.market, seen, block, hopeless)

    def _reserves(self) -> tuple[int, ...]:
        """Return reserve ids in the order of the sources."""
        return tuple(reserve for reserve, _, _ in self.adapter.sources(self.market))

    # --- who was looked at before --------------------------------------------------------------

    def stands(self, rows: Rows) -> NDArray[np.bool_]:
        """Return which of `rows` were looked at in the pass before, with nothing new of them."""
        missing = self.book.rows - len(self._stands)
        if missing > 0:
            self._stands = np.concatenate([self._stands, np.zeros(missing, dtype=np.bool_)])
        return self._stands[rows]

    def let_stand(
        self,
        rows: Rows,
        but: Iterable[Address],
        reached: Mapping[int, Assessment],
        left: Sequence[int],
    ) -> tuple[Assessment, ...]:
        """Note that these alone were to be looked at, and that something is to be done for `but`.

        `reached`: what was found of them.  `left`: those of `rows` whose turn did not come, nothing
        being new of them; what was found of them last is returned, where it is known.
        """
        self._stands[:] = False
        self._stands[rows] = True
        self.reorganised = False  # or nobody could have been left out
        known = {row: self._looked[row] for row in left if row in self._looked}
        self._looked = {**known, **reached}
        self._left_out = {row: self._left_out.get(row, 0) + 1 for row in left}
        self.unsettle(but)
        return tuple(known.values())

    def left_out(self, rows: Rows) -> NDArray[np.int64]:
        """Return in how many passes on end each of `rows` was left out."""
        times = (self._left_out.get(row, 0) for row in rows.tolist())
        return np.fromiter(times, dtype=np.int64, count=len(rows))

    def unsettle(self, accounts: Iterable[Address]) -> None:
        """Note that there is something new about `accounts`."""
        for account in accounts:
            if (row := self.book.row(account)) is not None:
                self._unsettle(row)

    def _unsettle(self, row: int) -> None:
        self._looked.pop(row, None)
        if row < len(self._stands):
            self._stands[row] = False

    # --- parameters -----------------------------------------------------------------------------

    def suppose(self, accounts: Iterable[Address]) -> Steps[tuple[M, Obs]]:
        """Learn the market and read `accounts` without remembering any of it.

        For a block that does not exist: see `Comparison.would`.
        """
        market = yield from self.adapter.discover()
        seen = yield from self.adapter.observe(market, tuple(accounts), self.book.get)
        return market, seen

    def comparison(self, accounts: Iterable[Address]) -> Comparison:
        """Return what compares two readings of this market, for these accounts."""
        return Comparison(self.adapter, accounts, self.book.get)

    def _check(self, read: Iterable[Holdings]) -> tuple[Address, ...]:
        """Return whose balances the book had wrong although nothing spoke of them.

        They are repaired, and of unknown health until a second read: one of two readings was wrong,
        and nobody is acted upon by it.  The second ends it where it says the same as the first, or
        where a log since then explains that it does not: whoever a log speaks of is believed by one
        reading, so two are no less.  Nobody can make it last by sending dust, for only a difference
        of which no log speaks does, and nobody can end it before the second read.
        """
        repaired = []
        for holdings in read:
            account = holdings.account
            checked = any(account in of for of in (self._swept, self._quarantined, self._restored))
            silent = account not in self._named and self.book.get(account) != holdings
            if checked and silent:
                repaired.append(account)
                self._quarantined[account] = DIFFERED
            else:
                self._quarantined.pop(account, None)
        return tuple(repaired)

    def _put_back(self, failed: Mapping[Address, str]) -> None:
        """Let who could not be read wait behind the others who could not.

        What ails him may be over at the next block: he is tried then, unless this was that try.
        """
        for account, why in failed.items():
            self._unreadable.pop(account, None)
            self._unreadable[account] = why
        self._tried_again = set(failed) - self._tried_again
        self._to_read |= self._tried_again

    def _next_tried_again(self) -> set[Address]:
        """Return who of those that could not be read has his turn, and all who are watched."""
        turn = islice(self._unreadable, TRIED_AGAIN_PER_BLOCK)
        return {*turn, *(self._unreadable.keys() & self.watched)}

    def _distrust(self) -> int:
        """Give up what is left of a checkpoint: it is in the backlog and is read from there."""
        given_up = len(self._restored)
        self.unsettle(self._restored)  # their rows will be others'
        for account in self._restored:
            self.book.remove(account)
        self._restored.clear()
        return given_up

    def _next_swept(self) -> frozenset[Address]:
        """Return the sweep's share of the book, going round row by row."""
        swept: set[Address] = set()
        for _ in range(min(self._sweep_per_block, self.book.rows)):
            self._swept_to = (self._swept_to + 1) % self.book.rows
            account = self.book.account(self._swept_to)
            if account in self.book:
                swept.add(account)
        return frozenset(swept)

    def holdings(self, account: Address) -> Holdings | None:
        """What the book holds of `account`; None if nobody looked since the start."""
        return None if account in self._restored else self.book.get(account)

    def assets_of(self, account: Address) -> frozenset[Address]:
        """Return the assets that `account` has entries in."""
        held = self.book.get(account)
        used = {entry.reserve for entry in held.entries} if held is not None else set()
        by_id = {reserve: asset for reserve, asset, _ in self.adapter.sources(self.market)}
        return frozenset(by_id[reserve].address for reserve in used if reserve in by_id)

    def known(self) -> tuple[Address, ...]:
        """Return every account in the book or on its way into it."""
        others = (*self._backlog, *self._to_read, *self._unreadable)
        return tuple(sorted({*self.book.accounts(), *others}))
