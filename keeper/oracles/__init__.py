"""Oracles judged: traced to their leaves, fresh or not, and why.  Pure.

Order of use: `trace.trace` when sources may have changed, `rounds.read_rounds` on every block,
`judge.judge` and `judge.judge_prices` on what was read.
"""
