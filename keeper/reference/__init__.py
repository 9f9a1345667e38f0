"""Prices from outside of every chain: what people pay on exchanges, asked for over HTTP.

Its own room, beside `chain`: an exchange is no node, is not pinned to a block, and may lie, stall
or be gone without anything else noticing.  What it says is only ever compared with
(`keeper.oracles.references`), never used to value a position.
"""
