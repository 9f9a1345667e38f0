"""Standard output and error that may be closed, full or gone: an exit code, never a traceback."""

import io
import os
import sys
from typing import TextIO

from keeper.errors import KeeperError


class OutputLost(KeeperError):  # noqa: N818 - it reads as what it is
    """What was to be printed could not be."""


class _Output(io.TextIOWrapper):
    """Standard output whose failures are sentences; a reader that went away stays what it is."""

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise _lost(error) from None

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise _lost(error) from None


def _lost(error: OSError) -> Exception:
    if isinstance(error, BrokenPipeError):
        return error
    why = "it is closed" if isinstance(error, io.UnsupportedOperation) else error.strerror
    return OutputLost(f"standard output cannot be written ({why})")


def prepare() -> None:
    """Make both streams ones that can be written to, or that say they cannot.

    A closed one is None to Python, and its number would go to the next file opened: the database's.
    """
    out, err = sys.stdout, sys.stderr
    if out is None:
        out = open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123 - stays; a write fails
    if err is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - stays
    elif isinstance(err, io.TextIOWrapper):  # a terminal without UTF-8 gets question marks
        err.reconfigure(errors="replace")
    if isinstance(out, io.TextIOWrapper):
        encoding, by_line = out.encoding, out.line_buffering
        sys.stdout = _Output(out.detach(), encoding, "replace", line_buffering=by_line)


def finish(stream: TextIO) -> OutputLost | None:
    """Write what is left and return why it could not be; nothing is tried at the very end."""
    try:
        stream.flush()
    except (OSError, OutputLost) as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return error if isinstance(error, OutputLost) else OutputLost("")
    return None
