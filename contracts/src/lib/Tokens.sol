// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

/// Tokens answer true or, some, nothing.  No code, false, anything else and a revert are refusals.
/// At most one word of an answer is read: a token that answers megabytes costs its own gas only.
library Tokens {
    function approve(address token, address spender, uint256 amount) internal returns (bool) {
        return _done(token, abi.encodeWithSelector(0x095ea7b3, spender, amount));
    }

    function transfer(address token, address to, uint256 amount) internal returns (bool) {
        return _done(token, abi.encodeWithSelector(0xa9059cbb, to, amount));
    }

    function transferFrom(address token, address from, address to, uint256 amount) internal returns (bool) {
        return _done(token, abi.encodeWithSelector(0x23b872dd, from, to, amount));
    }

    function _done(address token, bytes memory data) private returns (bool done) {
        assembly {
            mstore(0, 0)
            done := call(gas(), token, 0, add(data, 32), mload(data), 0, 32)
            switch returndatasize()
            case 0 { done := and(done, gt(extcodesize(token), 0)) }
            default { done := and(done, and(gt(returndatasize(), 31), eq(mload(0), 1))) }
        }
    }
}
