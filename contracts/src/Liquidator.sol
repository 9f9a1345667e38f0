// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

interface IPool {
    function flashLoanSimple(address receiver, address asset, uint256 amount, bytes calldata params, uint16 referral)
        external;
    function liquidationCall(address collateral, address debt, address account, uint256 amount, bool receiveAToken)
        external;
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
}

/// @title Liquidates one account of an Aave v3 market with borrowed money, or does nothing at all.
/// @notice Borrows the debt by a flash loan of the same market, repays the account's debt, sells what is seized
/// along a path of Uniswap v3 pools, pays the loan back and hands what is left to the owner.
///
/// It is the last guard behind a keeper that may be wrong, late or robbed: only callers that the owner named, only
/// markets that the owner named, each intent once, not after its deadline, and not for less than the minimum
/// profit.  It keeps no balance and leaves no allowance, so there is nothing here to steal.
contract Liquidator {
    struct Order {
        /// Of the keeper's journal: it is executed once.
        bytes32 intent;
        /// The market.
        address pool;
        /// Whose debt is repaid.
        address account;
        address collateral;
        address debt;
        /// What is borrowed and offered; the market may take less.
        uint256 amount;
        /// In the debt's token, after the loan and its premium are paid back.
        uint256 minProfit;
        uint256 deadline;
        /// Token, fee, token, ... as Uniswap packs it, from the collateral to the debt; empty when both are one.
        bytes path;
    }

    /// What goes to whom is decided by events; the owner's own books need nothing else.
    event Liquidated(bytes32 indexed intent, address indexed account, address indexed debt, uint256 profit);
    event CallerSet(address indexed caller, bool allowed);
    event PoolSet(address indexed pool, bool allowed);

    error NotTheOwner(address sender);
    error CallerNotAllowed(address sender);
    error PoolNotAllowed(address pool);
    error CallbackNotExpected(address sender);
    error LoanNotOurs(address initiator);
    error AlreadyRunning();
    error IntentUsed(bytes32 intent);
    error DeadlinePassed(uint256 deadline, uint256 timestamp);
    error NothingSeized();
    error BadPath();
    error NoExchangePool(address tokenIn, address tokenOut, uint256 fee);
    error ExchangePoolTooShallow(uint256 offered, uint256 taken);
    error ProfitTooSmall(uint256 profit, uint256 minimum);
    error TokenRefused(address token);

    /// Receives every profit and may rescue; fixed for good, so that no key can be talked into changing it.
    address public immutable owner;
    IUniswapV3Factory public immutable factory;

    mapping(address => bool) public callers;
    mapping(address => bool) public pools;
    mapping(bytes32 => bool) public used;

    address private constant NOBODY = address(1);
    /// Who may call back at this moment: the market during its loan, an exchange pool during its swap.
    address private awaited = NOBODY;

    uint160 private constant LOWEST_LIMIT = 4295128740;
    uint160 private constant HIGHEST_LIMIT = 1461446703485210103287273052203988822378723970341;
    uint256 private constant ADDRESS = 20;
    uint256 private constant HOP = 23;

    constructor(address owner_, address factory_, address[] memory callers_, address[] memory pools_) {
        owner = owner_;
        factory = IUniswapV3Factory(factory_);
        for (uint256 i = 0; i < callers_.length; ++i) _setCaller(callers_[i], true);
        for (uint256 i = 0; i < pools_.length; ++i) _setPool(pools_[i], true);
    }

    modifier onlyOwner() {
        if (msg.sender != owner) revert NotTheOwner(msg.sender);
        _;
    }

    function setCaller(address caller, bool allowed) external onlyOwner {
        _setCaller(caller, allowed);
    }

    function setPool(address pool, bool allowed) external onlyOwner {
        _setPool(pool, allowed);
    }

    /// Hands `amount` of whatever came here by mistake to the owner; the zero address is the chain's own coin.
    function rescue(address token, uint256 amount) external onlyOwner {
        if (token != address(0)) return _transfer(token, owner, amount);
        (bool sent,) = owner.call{value: amount}("");
        if (!sent) revert TokenRefused(token);
    }

    /// @return profit in the debt's token, all of it with the owner when this returns.
    function liquidate(Order calldata order) external returns (uint256 profit) {
        if (!callers[msg.sender]) revert CallerNotAllowed(msg.sender);
        if (awaited != NOBODY) revert AlreadyRunning();
        if (!pools[order.pool]) revert PoolNotAllowed(order.pool);
        if (block.timestamp > order.deadline) revert DeadlinePassed(order.deadline, block.timestamp);
        if (used[order.intent]) revert IntentUsed(order.intent);
        used[order.intent] = true;

        uint256 before = IToken(order.debt).balanceOf(address(this));
        awaited = order.pool;
        IPool(order.pool).flashLoanSimple(address(this), order.debt, order.amount, abi.encode(order), 0);
        awaited = NOBODY;

        uint256 left = IToken(order.debt).balanceOf(address(this));
        if (left < before + order.minProfit) {
            revert ProfitTooSmall(left < before ? 0 : left - before, order.minProfit);
        }
        if (IToken(order.debt).allowance(address(this), order.pool) != 0) _approve(order.debt, order.pool, 0);
        profit = left - before;
        if (left != 0) _transfer(order.debt, owner, left);
        if (order.collateral != order.debt) {
            left = IToken(order.collateral).balanceOf(address(this));
            if (left != 0) _transfer(order.collateral, owner, left);
        }
        emit Liquidated(order.intent, order.account, order.debt, profit);
    }

    /// The market's flash loan arrives here.
    function executeOperation(address asset, uint256 amount, uint256 premium, address initiator, bytes calldata params)
        external
        returns (bool)
    {
        if (msg.sender != awaited) revert CallbackNotExpected(msg.sender);
        if (initiator != address(this)) revert LoanNotOurs(initiator);
        Order memory order = abi.decode(params, (Order));

        // Exactly what the market may take: for the liquidation, and then for the loan.  What it did not take of
        // the first is withdrawn when the loan is over.
        _approve(asset, msg.sender, amount + amount + premium);
        if (order.collateral == asset) {
            IPool(msg.sender).liquidationCall(order.collateral, asset, order.account, amount, false);
        } else {
            uint256 before = IToken(order.collateral).balanceOf(address(this));
            IPool(msg.sender).liquidationCall(order.collateral, asset, order.account, amount, false);
            uint256 seized = IToken(order.collateral).balanceOf(address(this)) - before;
            if (seized == 0) revert NothingSeized();
            _sell(order.collateral, asset, seized, order.path);
            awaited = msg.sender;
        }
        return true;
    }

    /// An exchange pool wants to be paid.
    function uniswapV3SwapCallback(int256 amount0, int256 amount1, bytes calldata data) external {
        if (msg.sender != awaited) revert CallbackNotExpected(msg.sender);
        awaited = address(this);
        _transfer(abi.decode(data, (address)), msg.sender, uint256(amount0 > 0 ? amount0 : amount1));
    }

    function _sell(address from, address to, uint256 amount, bytes memory path) private {
        if (path.length < ADDRESS + HOP || (path.length - ADDRESS) % HOP != 0) revert BadPath();
        if (_address(path, 0) != from || _address(path, path.length - ADDRESS) != to) revert BadPath();
        for (uint256 at = 0; at + HOP < path.length; at += HOP) {
            amount = _swap(_address(path, at), _fee(path, at + ADDRESS), _address(path, at + HOP), amount);
        }
    }

    function _swap(address tokenIn, uint24 fee, address tokenOut, uint256 amount) private returns (uint256) {
        address pool = factory.getPool(tokenIn, tokenOut, fee);
        if (pool == address(0)) revert NoExchangePool(tokenIn, tokenOut, fee);
        bool down = tokenIn < tokenOut;
        awaited = pool;
        (int256 amount0, int256 amount1) = IUniswapV3Pool(pool).swap(
            address(this), down, int256(amount), down ? LOWEST_LIMIT : HIGHEST_LIMIT, abi.encode(tokenIn)
        );
        uint256 taken = uint256(down ? amount0 : amount1);
        if (taken != amount) revert ExchangePoolTooShallow(amount, taken);
        return uint256(-(down ? amount1 : amount0));
    }

    function _setCaller(address caller, bool allowed) private {
        callers[caller] = allowed;
        emit CallerSet(caller, allowed);
    }

    function _setPool(address pool, bool allowed) private {
        pools[pool] = allowed;
        emit PoolSet(pool, allowed);
    }

    /// From zero or to zero only: some tokens know no other change.
    function _approve(address token, address spender, uint256 amount) private {
        _call(token, abi.encodeWithSelector(0x095ea7b3, spender, amount));
    }

    function _transfer(address token, address to, uint256 amount) private {
        _call(token, abi.encodeWithSelector(0xa9059cbb, to, amount));
    }

    /// Tokens answer true or, some, nothing; no code, false and reverts are refusals.
    function _call(address token, bytes memory data) private {
        (bool done, bytes memory answer) = token.call(data);
        if (!done || (answer.length == 0 ? token.code.length == 0 : !abi.decode(answer, (bool)))) {
            revert TokenRefused(token);
        }
    }

    function _address(bytes memory path, uint256 at) private pure returns (address result) {
        assembly {
            result := shr(96, mload(add(add(path, 32), at)))
        }
    }

    function _fee(bytes memory path, uint256 at) private pure returns (uint24 result) {
        assembly {
            result := shr(232, mload(add(add(path, 32), at)))
        }
    }
}
