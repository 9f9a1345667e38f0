"""What the operator decided: keeper.toml, ``KEEPER__*`` and .env made into one frozen `Settings`.

Precedence: environment > .env > keeper.toml > presets > defaults.  Whatever is wrong is said
in one sentence that names the place, the key and the remedy, and the process does not start.
Watch-only unless ``signing`` says otherwise.

* `values`     one value: decimals to exact wads, addresses, URLs
* `process`, `chains`, `people`, `oracles`, `acting`  the sections
* `schema`     all of them together, and what must hold between them
* `layers`     where values come from, and which one wins
* `sentences`  a validation error as a person reads it
* `loading`    `load`, which puts the four together
"""

from keeper.settings.acting import Liquidate, Protect, Signing
from keeper.settings.chains import Aggregator, Chain, Market
from keeper.settings.loading import load
from keeper.settings.oracles import Oracles
from keeper.settings.people import Alerts, Telegram, ThresholdSet, WatchEntry
from keeper.settings.process import Database, Logging, Web
from keeper.settings.schema import Settings

__all__ = [
    "Aggregator",
    "Alerts",
    "Chain",
    "Database",
    "Liquidate",
    "Logging",
    "Market",
    "Oracles",
    "Protect",
    "Settings",
    "Signing",
    "Telegram",
    "ThresholdSet",
    "WatchEntry",
    "Web",
    "load",
]
