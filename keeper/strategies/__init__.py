"""What to do about a position: frozen dataclasses with decide().  Pure.

`alert_only`, `top_up`, `repay` and `liquidate` decide for one position; `waterfall` asks several in
order; `purse` is what may still be spent in a pass; `queue` orders what was decided.
"""
