// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

/// Token, fee, token, ... as Uniswap v3 packs a way through its pools: 20, 3, 20, ... bytes.
library Path {
    uint256 internal constant ADDRESS = 20;
    uint256 internal constant HOP = 23;

    /// Whether it is whole and goes from `start` to `end`.
    function leads(bytes memory path, address start, address end) internal pure returns (bool) {
        if (path.length < ADDRESS + HOP || (path.length - ADDRESS) % HOP != 0) return false;
        return _address(path, 0) == start && _address(path, path.length - ADDRESS) == end;
    }

    /// Where the last hop begins in a path of this length, which must be whole.
    function lastHop(uint256 length) internal pure returns (uint256) {
        return length - ADDRESS - HOP;
    }

    /// The hop that begins at byte `hop`.
    function at(bytes memory path, uint256 hop) internal pure returns (address tokenIn, uint24 fee, address tokenOut) {
        tokenIn = _address(path, hop);
        fee = uint24(uint160(_address(path, hop + 3)));
        tokenOut = _address(path, hop + HOP);
    }

    function _address(bytes memory path, uint256 from) private pure returns (address result) {
        assembly {
            result := shr(96, mload(add(add(path, 32), from)))
        }
    }
}
