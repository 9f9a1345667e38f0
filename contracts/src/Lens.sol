// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

/// @title The reading lens: many static calls in one eth_call, without a deployment.
/// @notice Run as the init code of an eth_call without `to`; it never becomes a contract.
///
/// Appended to the creation code:
///   per call   20 bytes address | 3 bytes length | the call data
///   then       3 bytes room | 3 bytes cap | 4 bytes gas per call | 3 bytes length of all calls
///
/// Answered first, once:
///   1 byte mark 0x02 | 8 bytes block number | 8 bytes timestamp | 32 bytes hash of the parent
/// then per call that was run, in order:
///   1 byte state | 3 bytes length | the data
///   state 0 reverted, 1 succeeded, 2 answered more than `cap`, 3 used all of its gas
///
/// Where the read was run is said by the contract itself: a node that answers for another block
/// than it was asked about gives itself away.
///
/// A call gets `gas per call`, never less: the lens stops in front of the first call it could not
/// fund, or whose answer would not fit into `room`, and the caller asks again from there.  So a
/// result never depends on its neighbours, and a hostile contract spends its own share only.
///
/// What fits into a deployed contract (24,576 bytes) is returned; more is handed over as revert
/// data, which no node limits.
contract Lens {
    constructor() {
        assembly {
            // The trailer is 13 bytes long.
            let end := sub(codesize(), 13)
            codecopy(0, end, 13)
            let trailer := shr(152, mload(0))
            let length := and(trailer, 0xffffff)
            let callGas := and(shr(24, trailer), 0xffffffff)
            let cap := and(shr(56, trailer), 0xffffff)
            let room := and(shr(80, trailer), 0xffffff)

            // One word of slack behind the calls, since they are read by whole words.
            let p := 0x80
            codecopy(p, sub(end, length), length)
            end := add(p, length)
            let out := add(end, 32)
            mstore8(out, 2)
            mstore(add(out, 1), shl(192, number()))
            mstore(add(out, 9), shl(192, timestamp()))
            mstore(add(out, 17), blockhash(sub(number(), 1)))
            let q := add(out, 49)
            let full := add(q, room)

            // A call may take 63/64 of what is left; a million pays for the answers' memory.
            let enough := add(add(callGas, shr(5, callGas)), 1000000)

            for {} lt(p, end) {} {
                if lt(gas(), enough) { break }
                let size := shr(232, mload(add(p, 20)))
                let before := gas()
                let state := staticcall(callGas, shr(96, mload(p)), add(p, 23), size, 0, 0)
                if iszero(or(state, or(returndatasize(), lt(sub(before, gas()), callGas)))) {
                    state := 3
                }
                p := add(add(p, 23), size)

                size := returndatasize()
                if gt(size, cap) {
                    if eq(state, 1) { state := 2 }
                    size := 0
                }
                if gt(add(add(q, 4), size), full) { break }
                mstore8(q, state)
                mstore(add(q, 1), shl(232, size))
                returndatacopy(add(q, 4), 0, size)
                q := add(add(q, 4), size)
            }

            // A returned byte costs 200 gas, as if it were stored for good.
            let answer := sub(q, out)
            if or(gt(answer, 24576), lt(gas(), add(mul(answer, 200), 10000))) {
                revert(out, answer)
            }
            return(out, answer)
        }
    }
}
