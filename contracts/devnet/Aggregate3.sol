// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

/// What a scan of many accounts goes through on public chains: the one function of Multicall3 that
/// scanners use, written from its ABI, to be put at Multicall3's address on a chain without it.
contract Aggregate3 {
    struct Call3 {
        address target;
        bool allowFailure;
        bytes callData;
    }

    struct Result {
        bool success;
        bytes returnData;
    }

    function aggregate3(Call3[] calldata calls) external payable returns (Result[] memory results) {
        results = new Result[](calls.length);
        for (uint256 i = 0; i < calls.length; ++i) {
            (results[i].success, results[i].returnData) = calls[i].target.call(calls[i].callData);
            require(results[i].success || calls[i].allowFailure, "a call failed");
        }
    }
}
