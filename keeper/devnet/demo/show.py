"""What one sees: blocks a line each, messages as their reader would read them, then the verdict."""

import sys
from decimal import Decimal
from typing import TextIO

from keeper.devnet.bot_api import BotApi
from keeper.devnet.demo.house import NAMES
from keeper.engine.passes import Pass
from keeper.model import Assessed, Confirmed, Rehearsed, Reverted, Submitted
from keeper.units import WAD

WIDTH = 100


class Show:
    """Prints to one stream; `quiet` prints nothing but the verdict."""

    def __init__(self, bot: BotApi | None, *, stream: TextIO = sys.stdout) -> None:
        """`bot`: whose transcript is shown; None where Telegram itself shows it."""
        self._bot = bot
        self._stream = stream
        self._said = 0

    def line(self, text: str = "") -> None:
        """Print one line."""
        self._stream.write(text + "\n")
        self._stream.flush()

    def chapter(self, title: str) -> None:
        """Begin a part of the story."""
        self.line()
        self.line(f"== {title} ".ljust(WIDTH, "="))

    def event(self, text: str) -> None:
        """Say what happens to the chain."""
        self.line(f"   -- {text}")

    def price(self, feed: str, price: Decimal, change: int) -> None:
        """Say what a feed answers now."""
        self.event(f"{feed} answers {price:,.2f} ({change:+d} % of the start)")

    async def passed(self, done: Pass) -> None:
        """Show one pass and what was said because of it."""
        known = [a for a in done.assessments if isinstance(a, Assessed)]
        below = sum(a.health_factor < WAD for a in known)
        unknown = len(done.assessments) - len(known)
        parts = [f"block {done.block.number:,}", f"{done.decision_s * 1000:5.1f} ms"]
        if done.orphaned:
            parts.append(f"reorganised {done.orphaned} deep")
        if below:
            parts.append(f"{below} below 1")
        if unknown:
            parts.append(f"{unknown} unknown")
        sent = [s for s in done.submissions if isinstance(s, Submitted | Rehearsed)]
        if sent:
            parts.append(f"{len(sent)} sent")
        if len(done.submissions) > len(sent):
            parts.append(f"{len(done.submissions) - len(sent)} declined")
        settled = [o for o in done.outcomes if isinstance(o, Confirmed | Reverted)]
        if settled:
            parts.append(f"{len(settled)} settled")
        self.line("   " + "  ".join(parts))
        self.messages()

    def messages(self) -> None:
        """Show what the bot said since the last time."""
        if self._bot is None:
            return
        new, self._said = self._bot.sent[self._said :], len(self._bot.sent)
        for said in new:
            who = NAMES.get(said.chat_id, str(said.chat_id))
            first, *rest = said.text.split("\n")
            self.line(f"      {who:>8} | {first}")
            for more in rest:
                self.line(f"      {'':>8} | {more}")
