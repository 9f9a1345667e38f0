"""One person's chat as that person saw it, pictures beside it: for ``--transcript FILE``."""

from collections.abc import Sequence
from pathlib import Path

from keeper.devnet.bot_api import Said

WIDTH = 12


def transcript(said: Sequence[Said], chat: int, name: str) -> tuple[str, tuple[bytes, ...]]:
    """Return the chat as text, and its pictures in the order they are named in it.

    Times are seconds since the chat's first message.
    """
    mine = [one for one in said if one.chat_id == chat]
    lines: list[str] = []
    pictures: list[bytes] = []
    for one in mine:
        who = "keeper" if one.by_bot else name
        first, *rest = one.text.split("\n")
        lines.append(f"{one.at - mine[0].at:7.1f} s  {who:>{WIDTH}} | {first}")
        more = list(rest)
        if one.photo:
            pictures.append(one.photo)
            more.append(f"[picture {len(pictures)}: {len(one.photo):,} bytes of PNG]")
        if one.reply_to is not None:
            more.append(f"(in reply to message {one.reply_to})")
        if one.buttons:
            more.append("  ".join(f"[{label}]" for label, _ in one.buttons))
        lines += [f"{'':>{WIDTH + 11}} | {line}" for line in more]
    return "\n".join(lines) + "\n", tuple(pictures)


def write_transcript(file: Path, said: Sequence[Said], chat: int, name: str) -> tuple[Path, ...]:
    """Write the chat to `file` and its pictures beside it; return what was written."""
    text, pictures = transcript(said, chat, name)
    file.write_text(text, encoding="utf-8")
    written = [file]
    for number, picture in enumerate(pictures, 1):
        beside = file.with_name(f"{file.stem}-{number}.png")
        beside.write_bytes(picture)
        written.append(beside)
    return tuple(written)
