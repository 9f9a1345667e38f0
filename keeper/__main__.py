"""`python -m keeper` is the `keeper` command."""

import sys


def main() -> None:
    """Run the command line; never returns.  Ctrl-C while it is imported is one too."""
    try:
        from keeper.cli.main import main as run  # noqa: PLC0415 - it takes a moment

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
