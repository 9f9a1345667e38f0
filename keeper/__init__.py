"""Keeper watches lending positions on EVM chains, warns their owners, protects and liquidates them.

Start with `keeper.model`: the words everything else is written in.

One thing is done here, before anything else can be: py_ecc, which eth-account brings along, raises
the recursion limit of the whole process to 100,000 when it is first imported.  Up to Python 3.11
parsers written in C then follow nested JSON until the stack ends, so that one node that answers
50,000 brackets would end the process.  It is imported here once, and the limit put back.
"""

import contextlib
import sys

_LIMIT = sys.getrecursionlimit()
with contextlib.suppress(ImportError):
    import py_ecc  # noqa: F401 - for its side effect, to undo it
sys.setrecursionlimit(_LIMIT)
