"""Keeper watches lending positions on EVM chains, warns their owners, protects and liquidates them.

Start with `keeper.model`: the words everything else is written in.
"""
