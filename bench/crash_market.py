"""The market of the lives that carry several liquidations in one transaction, as bytes.

It stands in for a pool and for the token of its only reserve at once.  The contract in front of it
is our real liquidator, which is why it needs flash loans and balances at all.  Unlike a real market
it liquidates an account as often as it is told to, and counts: a second time shows.  Somebody else
may take an account, as long as it was not liquidated; from then on it cannot be.

Accounts are numbers from 1.  Storage: at an account's number how often it was liquidated, at
`OTHERS` and its number whether somebody else took it, at `BALANCE` what every holder holds.
"""

import re
from collections.abc import Sequence
from typing import Final

from eth_utils.crypto import keccak

OTHERS: Final = 1 << 160
BALANCE: Final = 1 << 200
SEIZED: Final = 1 << 80
"""What each liquidation leaves with whoever does it: more than any order insists on."""
BELOW: Final = 970_000_000_000_000_000
HEALED: Final = 530_000_000_000_000_000
"""What of a health factor each liquidation adds, wad."""
HEALTHY: Final = keccak(text="HealthFactorNotBelowThreshold()")[:4]

_OPCODES: Final = {
    name: code
    for code, name in (
        (0x01, "add"), (0x02, "mul"), (0x11, "gt"), (0x14, "eq"), (0x15, "iszero"), (0x17, "or"),
        (0x1B, "shl"), (0x1C, "shr"), (0x33, "caller"), (0x35, "calldataload"),
        (0x36, "calldatasize"), (0x37, "calldatacopy"), (0x3D, "returndatasize"),
        (0x3E, "returndatacopy"), (0x50, "pop"), (0x52, "mstore"), (0x54, "sload"),
        (0x55, "sstore"), (0x56, "jump"),
        (0x57, "jumpi"), (0x5A, "gas"), (0x80, "dup1"), (0x81, "dup2"), (0x90, "swap1"),
        (0xF1, "call"), (0xF3, "return"), (0xFD, "revert"),
    )
}  # fmt: skip
_LABEL_BYTES: Final = 2


def selector(signature: str) -> int:
    """Return the first four bytes of its hash."""
    return int.from_bytes(keccak(text=signature)[:4], "big")


def assembled(source: str) -> bytes:
    """Return the code of `source`: opcodes, numbers to push, ``name:`` and ``@name``.

    After ``;`` a line is a comment.
    """
    code, labels, uses = bytearray(), dict[str, int](), list[tuple[int, str]]()
    for word in re.sub(r";.*", "", source).split():
        if word.endswith(":"):
            labels[word[:-1]] = len(code)
            code.append(0x5B)
        elif word.startswith("@"):
            uses.append((len(code) + 1, word[1:]))
            code += bytes([0x5F + _LABEL_BYTES, *bytes(_LABEL_BYTES)])
        elif word in _OPCODES:
            code.append(_OPCODES[word])
        else:
            number = int(word, 0)
            raw = number.to_bytes(max(1, -(-number.bit_length() // 8)), "big")
            code += bytes([0x5F + len(raw)]) + raw
    for at, name in uses:
        code[at : at + _LABEL_BYTES] = labels[name].to_bytes(_LABEL_BYTES, "big")
    return bytes(code)


TAKE: Final = selector("take(uint256)")
STATES: Final = selector("states(uint256)")

CODE: Final = assembled(f"""
    0 calldataload 0xe0 shr
    dup1 {selector("flashLoanSimple(address,address,uint256,bytes,uint16)")} eq @lend jumpi
    dup1 {selector("liquidationCall(address,address,address,uint256,bool)")} eq @liquidate jumpi
    dup1 {selector("balanceOf(address)")} eq @balance jumpi
    dup1 {selector("approve(address,uint256)")} eq @true jumpi
    dup1 {selector("transfer(address,uint256)")} eq @true jumpi
    dup1 {selector("getUserAccountData(address)")} eq @health jumpi
    dup1 {TAKE} eq @take jumpi
    dup1 {STATES} eq @states jumpi
    0 0 mstore 0x20 0 return              ; an allowance, a premium: none

    true: 1 0 mstore 0x20 0 return
    balance: {BALANCE} sload 0 mstore 0x20 0 return

    lend:                                 ; receiver.executeOperation(asset, amount, 0, caller, ..)
      calldatasize 0 0 calldatacopy       ; `params` lie where they are to lie already
      {selector("executeOperation(address,uint256,uint256,address,bytes)")} 0xe0 shl 0 mstore
      0x24 calldataload 4 mstore
      0x44 calldataload 0x24 mstore
      0 0x44 mstore
      caller 0x64 mstore
      0xa0 0x84 mstore
      0 0 calldatasize 0 0 4 calldataload gas call @true jumpi
      returndatasize 0 0 returndatacopy returndatasize 0 revert

    liquidate:
      0x44 calldataload
      dup1 {OTHERS} or sload @healthy jumpi
      dup1 sload 1 add swap1 sstore
      {BALANCE} sload {SEIZED} add {BALANCE} sstore
      0 0 return
    healthy: {int.from_bytes(HEALTHY, "big")} 0xe0 shl 0 mstore 4 0 revert

    take:                                 ; by somebody else, once
      4 calldataload
      dup1 sload @healthy jumpi
      {OTHERS} or 1 swap1 sstore
      0 0 return

    health:                               ; 0.97 and 0.53 more for each time; 24 bytes ask
      4 calldataload 96 shr sload {HEALED} mul {BELOW} add 0 mstore 0x20 0 return

    states:                               ; of 1 to n a word each: liquidated, taken in bit 128
      4 calldataload 1                    ; n i
    next:
      dup2 dup2 gt @done jumpi            ; i > n
      dup1 sload
      dup2 {OTHERS} or sload 128 shl or   ; n i word
      dup2 {2**256 - 1} add 5 shl         ; n i word place
      mstore
      1 add @next jump
    done: pop 5 shl 0 return
""")


def call_states(count: int) -> bytes:
    """Return the calldata that asks for the states of accounts 1 to `count`."""
    return STATES.to_bytes(4, "big") + count.to_bytes(32, "big")


def call_take(account: int) -> bytes:
    """Return the calldata by which somebody else takes an account."""
    return TAKE.to_bytes(4, "big") + account.to_bytes(32, "big")


def decode_states(answer: bytes) -> Sequence[tuple[int, bool]]:
    """Return how often each account was liquidated, and whether somebody else took it."""
    words = (int.from_bytes(answer[i : i + 32], "big") for i in range(0, len(answer), 32))
    return [(word & ((1 << 128) - 1), bool(word >> 128)) for word in words]
