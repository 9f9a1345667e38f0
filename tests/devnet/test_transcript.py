"""A chat as its person saw it."""

from pathlib import Path

from keeper.devnet.bot_api import Said
from keeper.devnet.demo.transcript import transcript, write_transcript

SAID = (
    Said(chat_id=7, text="/hf", by_bot=False, message_id=1, at=10.0),
    Said(chat_id=8, text="nobody else's business", by_bot=True, message_id=2, at=10.1),
    Said(
        chat_id=7,
        text="🔴 main: 1.031\nAave v3",
        by_bot=True,
        message_id=3,
        at=11.25,
        buttons=(("Ack", "ack:1"), ("Chart", "chart:1")),
        photo=b"\x89PNG",
        reply_to=1,
    ),
)


def test_a_chat_is_its_own_lines_with_buttons_replies_and_pictures() -> None:
    text, pictures = transcript(SAID, 7, "alice")

    assert text == (
        "    0.0 s         alice | /hf\n"
        "    1.2 s        keeper | 🔴 main: 1.031\n"
        "                        | Aave v3\n"
        "                        | [picture 1: 4 bytes of PNG]\n"
        "                        | (in reply to message 1)\n"
        "                        | [Ack]  [Chart]\n"
    )
    assert pictures == (b"\x89PNG",)


def test_pictures_are_written_beside_the_text(tmp_path: Path) -> None:
    written = write_transcript(tmp_path / "alice.txt", SAID, 7, "alice")

    assert [one.name for one in written] == ["alice.txt", "alice-1.png"]
    assert written[1].read_bytes() == b"\x89PNG"
