"""`python -m bench [NAME...]`: one JSON object a line on standard output and nothing else.

NAME is a group, an id or a bench; without one all run.  Progress goes to standard error.  The exit
code is 0 when everything ran, whatever the figures say.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Iterator

from bench.line import say
from keeper import log

GROUPS = {
    "risk": {
        "R1": "full_revaluation",
        "R2": "full_revaluation",
        "R3": "scaling",
        "R4": "oracle_update",
        "M1": "memory",
        "X1": "flags",
        "X2": "health_factors",
        "P1": "scan",
        "P2": "rpc_calls",
    },
    "chain": {
        "D1": "decode",
        "D2": "history",
        "P1": "scan",
        "P2": "rpc_calls",
        "X2": "health_factors",
    },
    "oracles": {
        "O1": "replay",
    },
    "execution": {
        "L1": "latency",
        "L2": "fast_chain",
        "E1": "storm",
        "E2": "storm",
        "A1": "anticipation",
        "G1": "together",
    },
    "faults": {
        "C": "faults",
    },
    "killed": {
        "N1": "node_killed",
    },
    "soak": {
        "S1": "soak",
    },
    "crash": {
        "C8": "crash",
    },
    "alerts": {
        "C15": "alerts",
        "C20": "alerts",
    },
}
"""Group to id to the module of this folder that measures it."""
LONG = frozenset({"crash", "killed", "soak"})
"""Groups that take a quarter of an hour: run only when they are asked for."""


def main() -> None:
    """Run what was asked for."""
    options = _options()
    if options.list:
        for group, benches in GROUPS.items():
            for id_, module in benches.items():
                print(f"{group:10} {id_:3} {module}")
        return
    if options.runs is not None:
        os.environ["FAULTS_TRIALS"] = str(options.runs)
    for name in ("minutes", "rows", "seed", "workers"):
        if (value := getattr(options, name)) is not None:
            os.environ[f"FAULTS_{name.upper()}"] = str(value)
    if options.flags is not None:
        os.environ["FLAGS_TRIALS"] = str(options.flags)
    log.set_up(style="text", level="error", stream=sys.stderr)
    for module in _wanted(options.names):
        for line in importlib.import_module(f"bench.{module}").run():
            print(line.json(), flush=True)
            say(line.verdict())
    say("done")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__.partition("\n\n")[2])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(GROUPS)}, or an id")
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    parser.add_argument(
        "--trials", "--runs", dest="runs", type=int, metavar="N", help="faults: trials of each row"
    )
    parser.add_argument("--rows", metavar="ROW,...", help="faults: only these, as C1,C4")
    parser.add_argument(
        "--seed", type=int, metavar="N", help="faults: run the trial of this number alone"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="faults: trials at a time")
    parser.add_argument(
        "--minutes", type=float, metavar="M", help="faults: the most a row may take (default: 60)"
    )
    parser.add_argument(
        "--flags", type=int, metavar="N", help="X1: how many to compare (default: 100000000)"
    )
    options = parser.parse_args()
    if options.flags is not None and options.flags < 1:
        parser.error(f"--flags {options.flags}: there must be one at least")
    known = {
        word.lower()
        for group, benches in GROUPS.items()
        for word in (group, *benches, *benches.values())
    }
    for name in options.names:
        if name.lower() not in known:
            parser.error(f"there is no benchmark {name!r}: --list says what there is")
    return options


def _wanted(names: list[str]) -> Iterator[str]:
    asked = {name.lower() for name in names}
    yielded: set[str] = set()
    for group, benches in GROUPS.items():
        for id_, module in benches.items():
            wanted = (not asked and group not in LONG) or bool(asked & {group, id_.lower(), module})
            if module not in yielded and wanted:
                yielded.add(module)
                yield module


if __name__ == "__main__":
    main()
