"""``python -m keeper.devnet.demo``: see `keeper.devnet.demo.play`."""

from keeper.devnet.demo.play import main

main()
