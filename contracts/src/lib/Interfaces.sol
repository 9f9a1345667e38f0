// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

/// Where a market's own price oracle is found.
interface IAddressesProvider {
    function getPriceOracle() external view returns (address);
}

/// In base currency per whole token.
interface IPriceOracle {
    function getAssetPrice(address asset) external view returns (uint256);
}

/// The little that we call of an Aave v3 Pool, any revision.
interface ILendingPool {
    function ADDRESSES_PROVIDER() external view returns (IAddressesProvider);
    function flashLoanSimple(address receiver, address asset, uint256 amount, bytes calldata params, uint16 referral)
        external;
    function liquidationCall(address collateral, address debt, address account, uint256 amount, bool receiveAToken)
        external;
    function repay(address asset, uint256 amount, uint256 rateMode, address onBehalfOf) external returns (uint256);
    function withdraw(address asset, uint256 amount, address to) external returns (uint256);
    function getUserAccountData(address account)
        external
        view
        returns (
            uint256 collateralBase,
            uint256 debtBase,
            uint256 availableBorrows,
            uint256 liquidationThreshold,
            uint256 ltv,
            uint256 healthFactor
        );
    /// Its first words, which every revision has; what follows differs.
    function getReserveData(address asset)
        external
        view
        returns (
            uint256 configuration,
            uint256 liquidityIndex,
            uint256 liquidityRate,
            uint256 variableBorrowIndex,
            uint256 variableBorrowRate,
            uint256 stableBorrowRate,
            uint256 lastUpdate,
            uint256 id,
            address aToken
        );
}

interface IUniswapV3Factory {
    function getPool(address tokenA, address tokenB, uint24 fee) external view returns (address);
}

interface IUniswapV3Pool {
    function swap(address recipient, bool zeroForOne, int256 amount, uint160 limit, bytes calldata data)
        external
        returns (int256 amount0, int256 amount1);
}

interface IToken {
    function balanceOf(address account) external view returns (uint256);
    function allowance(address account, address spender) external view returns (uint256);
    function decimals() external view returns (uint8);
}
