"""`python -m keeper` is the `keeper` command."""

from keeper.cli.main import main

main()
