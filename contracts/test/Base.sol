// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

/// The few of forge's cheatcodes that are used here.
interface Vm {
    function prank(address sender) external;
    function warp(uint256 timestamp) external;
    function expectPartialRevert(bytes4 selector) external;
    function expectRevert(bytes calldata data) external;
    function readFile(string calldata path) external view returns (string memory);
    function parseJsonBytes(string calldata json, string calldata key) external pure returns (bytes memory);
    function assume(bool condition) external pure;
}

interface IFactory {
    function createPool(address a, address b, uint24 fee) external returns (address);
}

interface IPoolActions {
    function initialize(uint160 sqrtPriceX96) external;
    function mint(address to, int24 lower, int24 upper, uint128 amount, bytes calldata data)
        external
        returns (uint256, uint256);
    function swap(address to, bool down, int256 amount, uint160 limit, bytes calldata data)
        external
        returns (int256, int256);
    function token0() external view returns (address);
    function token1() external view returns (address);
}

interface IAnyToken {
    function balanceOf(address account) external view returns (uint256);
    function allowance(address account, address spender) external view returns (uint256);
    function transfer(address to, uint256 amount) external;
    function mint(address to, uint256 amount) external;
}

/// What every test here stands on: assertions, and the real Uniswap v3 from its published bytecode.
contract Base {
    Vm internal constant vm = Vm(0x7109709ECfa91a80626fF3989D68f67F5b1DD12D);
    uint256 internal constant WAD = 1e18;
    int24 internal constant EDGE = 887_220;

    function same(uint256 found, uint256 wanted, string memory what) internal pure {
        require(found == wanted, string.concat(what, ": ", text(found), ", not ", text(wanted)));
    }

    function text(uint256 value) internal pure returns (string memory) {
        if (value == 0) return "0";
        bytes memory digits;
        for (; value != 0; value /= 10) digits = abi.encodePacked(uint8(48 + value % 10), digits);
        return string(digits);
    }

    function uniswap() internal returns (IFactory made) {
        bytes memory code = vm.parseJsonBytes(
            vm.readFile("node_modules/@uniswap/v3-core/artifacts/contracts/UniswapV3Factory.sol/UniswapV3Factory.json"),
            ".bytecode"
        );
        assembly {
            made := create(0, add(code, 32), mload(code))
        }
        require(address(made) != address(0), "no Uniswap");
    }

    /// A pool of both tokens, one for one, `depth` deep over the whole range.
    function exchange(IFactory factory, address a, address b, uint24 fee, uint128 depth) internal returns (address at) {
        at = factory.createPool(a, b, fee);
        IPoolActions(at).initialize(2 ** 96);
        if (depth != 0) IPoolActions(at).mint(address(this), -EDGE, EDGE, depth, "");
    }

    function uniswapV3MintCallback(uint256 amount0, uint256 amount1, bytes calldata) external {
        IAnyToken(IPoolActions(msg.sender).token0()).mint(msg.sender, amount0);
        IAnyToken(IPoolActions(msg.sender).token1()).mint(msg.sender, amount1);
    }

    function path(address a, uint24 fee, address b) internal pure returns (bytes memory) {
        return abi.encodePacked(a, fee, b);
    }

    function path(address a, uint24 first, address b, uint24 second, address c) internal pure returns (bytes memory) {
        return abi.encodePacked(a, first, b, second, c);
    }
}
