// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

/// Stands in for a contract while many of its mapping entries are written at once: a devnet puts
/// this code at a token or at the Pool, lets it write, and puts the contract's own code back.
/// Never deployed anywhere else.
contract SlotWriter {
    event Transfer(address indexed from, address indexed to, uint256 value);

    /// Set `mapping[account] = value` for each pair of words of `pairs`, where the mapping lies in
    /// slot `place`; `minted`: log each as a mint of its lower 120 bits, as tokens do.
    function write(uint256 place, bool minted, uint256[] calldata pairs) external {
        for (uint256 i = 0; i < pairs.length; i += 2) {
            uint256 account = pairs[i];
            uint256 value = pairs[i + 1];
            assembly {
                mstore(0, account)
                mstore(32, place)
                sstore(keccak256(0, 64), value)
            }
            if (minted) {
                emit Transfer(address(0), address(uint160(account)), uint120(value));
            }
        }
    }
}
