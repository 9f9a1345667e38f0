// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

/// How much of the base asset one staked token is worth, 18 decimals; its owner moves it.
contract RatioProvider {
    address public immutable owner;
    uint256 public ratio;

    event RatioUpdated(uint256 ratio);

    constructor(uint256 initialRatio) {
        owner = msg.sender;
        ratio = initialRatio;
    }

    function setRatio(uint256 newRatio) external {
        require(msg.sender == owner, "only the owner moves the ratio");
        ratio = newRatio;
        emit RatioUpdated(newRatio);
    }
}
