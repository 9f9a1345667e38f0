"""What every section has in common, and what several speak of."""

from pydantic import (
    BaseModel,
    ConfigDict,
)

DEV_CHAIN_ID = 31337
"""Anvil's: the only chain on which a key may lie about in plain text."""


class Section(BaseModel):
    """One table of keeper.toml."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=False
    )
