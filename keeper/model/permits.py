"""What an account signs so that a token lets somebody take some of it: EIP-2612."""

from dataclasses import dataclass

from keeper.model.chain import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """The words of one permit, for one token of one chain."""

    chain_id: int
    token: Address
    owner: Address
    """Whose tokens they are, and who signs."""
    spender: Address
    value: int
    """Raw units: what the allowance is set to, not what it is raised by."""
    nonce: int
    """The token counts the permits of an owner that it took: only the next one is good."""
    deadline: int
    """The last second of the chain at which the token takes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedPermit:
    """A permit with its signature, in the one form that every token takes."""

    permit: Permit
    v: int
    """27 or 28."""
    r: bytes
    """32 bytes, as `s`."""
    s: bytes
    """In the lower half of the curve."""
