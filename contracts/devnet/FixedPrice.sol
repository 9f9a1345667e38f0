// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

/// A price that is written down, as some markets have for stable coins: whatever the market does,
/// it answers the same.  It speaks the getters that Aave's published fixed-price adapters speak.
contract FixedPrice {
    int256 public immutable price;
    uint8 public constant decimals = 8;
    string public description;

    constructor(int256 price_, string memory description_) {
        price = price_;
        description = description_;
    }

    function latestAnswer() external view returns (int256) {
        return price;
    }
}
