// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

/// A token whose allowances may be signed: EIP-2612.
interface IPermitted {
    function permit(
        address owner,
        address spender,
        uint256 value,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external;
}
