// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

import {ILendingPool, IUniswapV3Factory, IUniswapV3Pool, IToken} from "./lib/Interfaces.sol";
import {Path} from "./lib/Path.sol";
import {Tokens} from "./lib/Tokens.sol";

/// @title Liquidates one account of an Aave v3 market with borrowed money, or does nothing at all.
/// @notice Buys the debt's token from Uniswap v3 pools that pay before they are paid, repays the account's debt with
/// it, and pays the pools with what is seized: what is left of that is the profit, in the collateral's token, and
/// goes to the owner.  Where collateral and debt are one token, a flash loan of the market stands in for the pools.
/// So it does where the collateral is sold elsewhere, by a call that an aggregator made: of that nothing is believed.
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
        /// Of the market: holds what the account owes of `debt`.  Named where all of it is to be repaid, so that no
        /// more is borrowed than is owed by then; zero: `amount` is borrowed as it is.
        address debtToken;
        /// The most that is borrowed and offered; the market may take less.
        uint256 amount;
        /// In the collateral's token, after everything is paid.
        uint256 minProfit;
        uint256 deadline;
        /// Token, fee, token, ... as Uniswap packs it, from the collateral to the debt; empty when both are one.
        bytes path;
    }

    /// A sale elsewhere than over Uniswap v3: the collateral is handed in, the debt's token comes out.
    struct Swap {
        /// Whom to call; named by the owner.
        address target;
        /// Who may take `sold` of the collateral meanwhile, and nothing afterwards; named by the owner.
        address spender;
        /// Exactly what is approved.
        uint256 sold;
        /// Of the debt's token: what must have come by then, measured here.
        uint256 minBought;
        /// What to call it with.
        bytes data;
    }

    /// What became of one order among several.
    struct Result {
        bool done;
        /// In the collateral's token.
        uint256 profit;
        /// What it took of its own gas limit, before refunds.
        uint256 gas;
        /// Why not, as far as `REASON` reaches; empty when done, and where there was no more gas.
        bytes reason;
    }

    /// What goes to whom is decided by events; the owner's own books need nothing else.
    event Liquidated(bytes32 indexed intent, address indexed account, address indexed collateral, uint256 profit);
    /// One order among several that did nothing, and why.
    event Failed(bytes32 indexed intent, address indexed account, bytes reason);
    /// What a sale elsewhere brought above the loan: in the debt's token, and the owner's too.
    event Sold(bytes32 indexed intent, address indexed target, uint256 surplus);
    event CallerSet(address indexed caller, bool allowed);
    event PoolSet(address indexed pool, bool allowed);
    event TargetSet(address indexed target, bool allowed);
    event SpenderSet(address indexed spender, bool allowed);

    error NotTheOwner(address sender);
    error CallerNotAllowed(address sender);
    error PoolNotAllowed(address pool);
    error CallbackNotExpected(address sender);
    error LoanNotOurs(address initiator);
    error AlreadyRunning();
    error IntentUsed(bytes32 intent);
    error DeadlinePassed(uint256 deadline, uint256 timestamp);
    error BadPath();
    error AmountTooLarge(uint256 amount);
    error NoExchangePool(address tokenIn, address tokenOut, uint256 fee);
    error ExchangePoolTooShallow(uint256 wanted, uint256 there);
    error ProfitTooSmall(uint256 profit, uint256 minimum);
    error TokenRefused(address token);
    error NotBySelf(address sender);
    error GasLimitsMissing(uint256 orders, uint256 limits);
    error NothingDone();
    error TargetNotAllowed(address target);
    error SpenderNotAllowed(address spender);
    error NeverAllowed(address target);
    error SwapFailed(bytes reason);
    error SwapTooSmall(uint256 bought, uint256 wanted);

    /// Counts what an order means: the keeper gives none to another version.
    uint256 public constant version = 4;
    /// Receives every profit and may rescue; fixed for good, so that no key can be talked into changing it.
    address public immutable owner;
    IUniswapV3Factory public immutable factory;

    mapping(address => bool) public callers;
    mapping(address => bool) public pools;
    mapping(address => bool) public targets;
    mapping(address => bool) public spenders;
    mapping(bytes32 => bool) public used;

    address private constant NOBODY = address(1);
    /// Who may call back at this moment: the market during its loan, an exchange pool until it called.
    address private awaited = NOBODY;

    /// How much of a failed order's reason is kept: whoever fails may say megabytes.
    uint256 private constant REASON = 256;

    uint160 private constant LOWEST_LIMIT = 4295128740;
    uint160 private constant HIGHEST_LIMIT = 1461446703485210103287273052203988822378723970341;

    constructor(
        address owner_,
        address factory_,
        address[] memory callers_,
        address[] memory pools_,
        address[] memory targets_,
        address[] memory spenders_
    ) {
        owner = owner_;
        factory = IUniswapV3Factory(factory_);
        for (uint256 i = 0; i < callers_.length; ++i) _setCaller(callers_[i], true);
        for (uint256 i = 0; i < pools_.length; ++i) _setPool(pools_[i], true);
        for (uint256 i = 0; i < targets_.length; ++i) _setTarget(targets_[i], true);
        for (uint256 i = 0; i < spenders_.length; ++i) _setSpender(spenders_[i], true);
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

    /// Whom `liquidateOver` may call, with whatever data: never a market, a token or this contract.
    function setTarget(address target, bool allowed) external onlyOwner {
        _setTarget(target, allowed);
    }

    /// Who may take the collateral that `liquidateOver` sells; none of those either.
    function setSpender(address spender, bool allowed) external onlyOwner {
        _setSpender(spender, allowed);
    }

    /// Hands `amount` of whatever came here by mistake to the owner; the zero address is the chain's own coin.
    function rescue(address token, uint256 amount) external onlyOwner {
        if (token != address(0)) return _transfer(token, owner, amount);
        (bool sent,) = owner.call{value: amount}("");
        if (!sent) revert TokenRefused(token);
    }

    /// @return profit in the collateral's token, all of it with the owner when this returns.
    function liquidate(Order memory order) external returns (uint256 profit) {
        if (!callers[msg.sender]) revert CallerNotAllowed(msg.sender);
        return _liquidate(order);
    }

    /// The same with a loan of the market, and the collateral sold by a call: `order.path` is empty.
    /// @return profit in the collateral's token, `surplus` in the debt's, both with the owner when this returns.
    function liquidateOver(Order memory order, Swap memory swap) external returns (uint256 profit, uint256 surplus) {
        if (!callers[msg.sender]) revert CallerNotAllowed(msg.sender);
        if (order.path.length != 0 || order.collateral == order.debt) revert BadPath();
        if (!targets[swap.target] || _tradedIn(order, swap.target)) revert TargetNotAllowed(swap.target);
        if (!spenders[swap.spender] || _tradedIn(order, swap.spender)) revert SpenderNotAllowed(swap.spender);
        uint256 before = _begin(order);
        uint256 held = IToken(order.debt).balanceOf(address(this));
        awaited = order.pool;
        ILendingPool(order.pool).flashLoanSimple(
            address(this), order.debt, order.amount, abi.encode(order, swap), 0
        );
        uint256 left = IToken(order.debt).balanceOf(address(this));
        if (left < held) revert SwapTooSmall(0, held - left);
        surplus = left - held;
        profit = _end(order, before);
        emit Sold(order.intent, swap.target, surplus);
    }

    /// Several orders, each by itself: one that fails leaves nothing behind but its reason, takes no more gas than
    /// its own limit, and may be given again.  Reverts only if none of them succeeds.
    /// @param gasLimits of the orders, in their order.
    function liquidateEach(Order[] calldata orders, uint256[] calldata gasLimits)
        external
        returns (Result[] memory results)
    {
        if (!callers[msg.sender]) revert CallerNotAllowed(msg.sender);
        if (awaited != NOBODY) revert AlreadyRunning();
        if (orders.length != gasLimits.length) revert GasLimitsMissing(orders.length, gasLimits.length);
        results = new Result[](orders.length);
        bool any;
        for (uint256 i = 0; i < orders.length; ++i) {
            results[i] = _alone(abi.encodeCall(this.liquidateAlone, (orders[i])), gasLimits[i]);
            if (results[i].done) any = true;
            else emit Failed(orders[i].intent, orders[i].account, results[i].reason);
        }
        if (!any) revert NothingDone();
    }

    /// One of several: a call of its own, so that it can fail by itself.
    function liquidateAlone(Order memory order) external returns (uint256 profit) {
        if (msg.sender != address(this)) revert NotBySelf(msg.sender);
        return _liquidate(order);
    }

    /// Of what is answered, one word is read; of a reason, so much as is kept.
    function _alone(bytes memory data, uint256 gasLimit) private returns (Result memory result) {
        uint256 before = gasleft();
        bool done;
        uint256 profit;
        assembly {
            mstore(0, 0)
            done := call(gasLimit, address(), 0, add(data, 32), mload(data), 0, 32)
            profit := mload(0)
        }
        result.done = done;
        result.gas = before - gasleft();
        if (done) result.profit = profit;
        else result.reason = _reason();
    }

    /// So much as is kept of what the last call answered.
    function _reason() private pure returns (bytes memory reason) {
        uint256 size;
        assembly {
            size := returndatasize()
        }
        if (size > REASON) size = REASON;
        reason = new bytes(size);
        assembly {
            returndatacopy(add(reason, 32), 0, size)
        }
    }

    /// The last guards before anything moves.
    /// @return before what is here of the collateral.
    function _begin(Order memory order) private returns (uint256 before) {
        if (awaited != NOBODY) revert AlreadyRunning();
        if (!pools[order.pool]) revert PoolNotAllowed(order.pool);
        if (block.timestamp > order.deadline) revert DeadlinePassed(order.deadline, block.timestamp);
        if (used[order.intent]) revert IntentUsed(order.intent);
        used[order.intent] = true;
        if (order.debtToken != address(0)) {
            uint256 owed = IToken(order.debtToken).balanceOf(order.account);
            if (owed < order.amount) order.amount = owed;
        }
        return IToken(order.collateral).balanceOf(address(this));
    }

    function _liquidate(Order memory order) private returns (uint256 profit) {
        uint256 before = _begin(order);
        if (order.path.length == 0) {
            if (order.collateral != order.debt) revert BadPath();
            awaited = order.pool;
            Swap memory none;
            ILendingPool(order.pool).flashLoanSimple(
                address(this), order.debt, order.amount, abi.encode(order, none), 0
            );
        } else {
            if (!Path.leads(order.path, order.collateral, order.debt)) revert BadPath();
            _buy(order, Path.lastHop(order.path.length), order.amount, address(this));
        }
        return _end(order, before);
    }

    /// Judges what is there now and hands it over.
    function _end(Order memory order, uint256 before) private returns (uint256 profit) {
        uint256 left = IToken(order.collateral).balanceOf(address(this));
        if (left < before || left - before < order.minProfit) {
            revert ProfitTooSmall(left < before ? 0 : left - before, order.minProfit);
        }
        profit = left - before;
        if (IToken(order.debt).allowance(address(this), order.pool) != 0) _approve(order.debt, order.pool, 0);
        if (left != 0) _transfer(order.collateral, owner, left);
        if (order.collateral != order.debt) {
            left = IToken(order.debt).balanceOf(address(this));
            if (left != 0) _transfer(order.debt, owner, left);
        }
        // Last of all: a token that calls back while it is handed over finds the door shut too.
        awaited = NOBODY;
        emit Liquidated(order.intent, order.account, order.collateral, profit);
    }

    /// The market's flash loan arrives here.
    function executeOperation(address asset, uint256 amount, uint256 premium, address initiator, bytes calldata params)
        external
        returns (bool)
    {
        if (msg.sender != awaited) revert CallbackNotExpected(msg.sender);
        if (initiator != address(this)) revert LoanNotOurs(initiator);
        awaited = address(this);
        (Order memory order, Swap memory swap) = abi.decode(params, (Order, Swap));
        if (swap.target != address(0)) {
            _liquidateAndSell(order, swap, premium);
            return true;
        }
        // Exactly what the market may take: for the liquidation, and then for the loan.  What it did not take of
        // the first is withdrawn when the loan is over.
        _approve(asset, msg.sender, amount + amount + premium);
        ILendingPool(msg.sender).liquidationCall(asset, asset, order.account, amount, false);
        return true;
    }

    /// Nothing is allowed to the market while somebody else is called, and then what it lent.
    function _liquidateAndSell(Order memory order, Swap memory swap, uint256 premium) private {
        uint256 held = IToken(order.debt).balanceOf(address(this)) - order.amount;
        _approve(order.debt, order.pool, order.amount);
        ILendingPool(order.pool).liquidationCall(order.collateral, order.debt, order.account, order.amount, false);
        _approve(order.debt, order.pool, 0);
        uint256 had = IToken(order.debt).balanceOf(address(this));
        _approve(order.collateral, swap.spender, swap.sold);
        if (!_call(swap.target, swap.data)) revert SwapFailed(_reason());
        _approve(order.collateral, swap.spender, 0);
        uint256 has = IToken(order.debt).balanceOf(address(this));
        uint256 owed = order.amount + premium;
        uint256 wanted = had + swap.minBought;
        if (wanted < held + owed) wanted = held + owed;
        if (has < wanted) revert SwapTooSmall(has < had ? 0 : has - had, wanted - had);
        _approve(order.debt, order.pool, owed);
    }

    /// Of what it answers nothing is read here.
    function _call(address target, bytes memory data) private returns (bool done) {
        assembly {
            done := call(gas(), target, 0, add(data, 32), mload(data), 0, 0)
        }
    }

    /// An exchange pool has paid and wants to be paid.
    function uniswapV3SwapCallback(int256 amount0, int256 amount1, bytes calldata data) external {
        if (msg.sender != awaited) revert CallbackNotExpected(msg.sender);
        awaited = address(this);
        (Order memory order, uint256 hop, uint256 wanted) = abi.decode(data, (Order, uint256, uint256));
        (uint256 owed, uint256 paid) =
            amount0 > 0 ? (uint256(amount0), uint256(-amount1)) : (uint256(amount1), uint256(-amount0));
        if (paid < wanted) revert ExchangePoolTooShallow(wanted, paid);
        if (hop != 0) return _buy(order, hop - Path.HOP, owed, msg.sender);
        _approve(order.debt, order.pool, order.amount);
        ILendingPool(order.pool).liquidationCall(order.collateral, order.debt, order.account, order.amount, false);
        _transfer(order.collateral, msg.sender, owed);
    }

    /// Has the pool at `hop` of the path send `wanted` of what it sells to `to`; it is paid in the callback.
    function _buy(Order memory order, uint256 hop, uint256 wanted, address to) private {
        if (wanted > uint256(type(int256).max)) revert AmountTooLarge(wanted);
        (address tokenIn, uint24 fee, address tokenOut) = Path.at(order.path, hop);
        address pool = factory.getPool(tokenIn, tokenOut, fee);
        if (pool == address(0)) revert NoExchangePool(tokenIn, tokenOut, fee);
        bool down = tokenIn < tokenOut;
        awaited = pool;
        IUniswapV3Pool(pool).swap(
            to, down, -int256(wanted), down ? LOWEST_LIMIT : HIGHEST_LIMIT, abi.encode(order, hop, wanted)
        );
    }

    function _setCaller(address caller, bool allowed) private {
        callers[caller] = allowed;
        emit CallerSet(caller, allowed);
    }

    function _setPool(address pool, bool allowed) private {
        if (allowed && (targets[pool] || spenders[pool])) revert NeverAllowed(pool);
        pools[pool] = allowed;
        emit PoolSet(pool, allowed);
    }

    function _setTarget(address target, bool allowed) private {
        if (allowed) _check(target);
        targets[target] = allowed;
        emit TargetSet(target, allowed);
    }

    function _setSpender(address spender, bool allowed) private {
        if (allowed) _check(spender);
        spenders[spender] = allowed;
        emit SpenderSet(spender, allowed);
    }

    /// Refuses what must never be called with another's data, or take what is here: this contract, a market, a token
    /// (whatever answers how much we have of it), and an address without code.
    function _check(address other) private view {
        bool token;
        bytes memory data = abi.encodeCall(IToken.balanceOf, (address(this)));
        assembly {
            token := staticcall(gas(), other, add(data, 32), mload(data), 0, 0)
            token := and(token, gt(returndatasize(), 31))
        }
        if (token || other == address(this) || pools[other] || other.code.length == 0) revert NeverAllowed(other);
    }

    /// Whether it is one of the tokens after all: one that can change may have hidden it from `_check`.
    function _tradedIn(Order memory order, address other) private pure returns (bool) {
        return other == order.collateral || other == order.debt;
    }

    /// From zero or to zero only: some tokens know no other change.
    function _approve(address token, address spender, uint256 amount) private {
        if (!Tokens.approve(token, spender, amount)) revert TokenRefused(token);
    }

    function _transfer(address token, address to, uint256 amount) private {
        if (!Tokens.transfer(token, to, amount)) revert TokenRefused(token);
    }
}
