// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

import {ILendingPool, IPriceOracle, IUniswapV3Factory, IUniswapV3Pool, IToken} from "./lib/Interfaces.sol";
import {IPermitted} from "./lib/IPermitted.sol";
import {Path} from "./lib/Path.sol";
import {Tokens} from "./lib/Tokens.sol";

/// @title Repays a borrower's debt by selling some of what the borrower has supplied, or does nothing at all.
/// @notice Buys the debt's token from Uniswap v3 pools that pay before they are paid, repays with it on behalf of the
/// borrower, and withdraws just enough of the borrower's collateral to pay the pools.  The borrower approves the
/// collateral's aToken to this contract, or signs a permit (EIP-2612) that comes with the order; nothing else of theirs
/// can be moved.
///
/// Only the borrower may ask for it, or an operator whom the borrower gave a mandate: in one market, until some day,
/// while the health factor is below a bound, within amounts per transaction and day, and not dearer than a bound.  Every
/// transaction leaves the position healthier than it was, measured by the market itself.  There is no owner, nothing
/// can be changed by anybody, no balance is kept and no allowance left.
contract Deleverager {
    struct Order {
        /// Of the keeper's journal: it is executed once for the account.
        bytes32 intent;
        /// The market.
        address pool;
        address account;
        /// What is sold.
        address collateral;
        /// What is repaid, at the variable rate.
        address debt;
        /// How much of it; what the market does not take goes to the account.
        uint256 repay;
        /// Of the collateral: the pools may take no more.
        uint256 maxSold;
        /// Wad: the least health factor that must come of it.
        uint256 minHealth;
        uint256 deadline;
        /// Token, fee, token, ... as Uniswap packs it, from the collateral to the debt.
        bytes path;
    }

    /// What the account signed for the aToken of what is sold; this contract is the spender.
    struct Permit {
        /// What the allowance is set to: not what it is raised by.
        uint256 value;
        uint256 deadline;
        uint8 v;
        bytes32 r;
        bytes32 s;
    }

    /// How the position stood before anything was done.
    struct Start {
        uint256 had;
        uint256 owed;
        uint256 health;
        /// The account's aTokens of the collateral.
        uint256 held;
    }

    /// What a borrower lets an operator do; amounts in the market's base currency, by its own oracle.
    struct Mandate {
        /// The last second; 0: nothing is allowed.
        uint40 until;
        /// Of what is repaid, in hundredths of a percent: how much more than that the collateral sold may be worth.
        uint16 maxCostBps;
        /// Wad: it may act while the health factor is below this.
        uint64 below;
        /// The most debt repaid in one transaction, and in one day of UTC.
        uint128 perTransaction;
        uint128 perDay;
    }

    event Deleveraged(
        bytes32 indexed intent, address indexed account, address indexed operator, uint256 repaid, uint256 sold
    );
    event MandateSet(address indexed account, address indexed operator, address indexed pool, Mandate mandate);

    error NotAllowed(address sender);
    error CallbackNotExpected(address sender);
    error AlreadyRunning();
    error IntentUsed(bytes32 intent);
    error DeadlinePassed(uint256 deadline, uint256 timestamp);
    error BadPath();
    error AmountTooLarge(uint256 amount);
    error NoExchangePool(address tokenIn, address tokenOut, uint256 fee);
    error ExchangePoolTooShallow(uint256 wanted, uint256 there);
    error TooMuchSold(uint256 sold, uint256 most);
    error StillHealthy(uint256 health, uint256 below);
    error HealthTooLow(uint256 health, uint256 least);
    error NothingRepaid();
    error TooDear(uint256 repaid, uint256 sold);
    error MoreThanAllowed(uint256 repaid, uint256 allowed);
    error TokenRefused(address token);

    /// Counts what this contract takes: version 1 takes the same orders and no permits.
    uint256 public constant version = 2;
    IUniswapV3Factory public immutable factory;

    /// By account, operator and market.
    mapping(address => mapping(address => mapping(address => Mandate))) public mandates;
    /// Base currency by account, operator, market and day.
    mapping(address => mapping(address => mapping(address => mapping(uint256 => uint256)))) public spent;
    mapping(address => mapping(bytes32 => bool)) public used;

    address private constant NOBODY = address(1);
    /// Who may call back at this moment: an exchange pool until it called.
    address private awaited = NOBODY;

    uint160 private constant LOWEST_LIMIT = 4295128740;
    uint160 private constant HIGHEST_LIMIT = 1461446703485210103287273052203988822378723970341;
    uint256 private constant VARIABLE_RATE = 2;
    uint256 private constant BPS = 10_000;

    constructor(address factory_) {
        factory = IUniswapV3Factory(factory_);
    }

    /// Sets, changes or (all zero) withdraws what `operator` may do with the sender's position in `pool`.
    function allow(address operator, address pool, Mandate calldata mandate) external {
        mandates[msg.sender][operator][pool] = mandate;
        emit MandateSet(msg.sender, operator, pool, mandate);
    }

    function deleverage(Order calldata order) external {
        Start memory start = _open(order);
        _run(order, start);
    }

    /// As `deleverage`, with the allowance that it needs.
    ///
    /// A permit that is refused stops nothing: whoever saw it on its way may have handed it to the token first, and then
    /// the allowance is there.  If it is not, the order fails where the aToken is taken.
    function deleverageWithPermit(Order calldata order, Permit calldata permit) external {
        Start memory start = _open(order);
        (,,,,,,,, address aToken) = ILendingPool(order.pool).getReserveData(order.collateral);
        try IPermitted(aToken).permit(
            order.account, address(this), permit.value, permit.deadline, permit.v, permit.r, permit.s
        ) {} catch {}
        _run(order, start);
    }

    /// Whether the sender may, and this order now.  From here on every door is shut until it is done.
    function _open(Order calldata order) private returns (Start memory start) {
        if (awaited != NOBODY) revert AlreadyRunning();
        if (block.timestamp > order.deadline) revert DeadlinePassed(order.deadline, block.timestamp);
        if (used[order.account][order.intent]) revert IntentUsed(order.intent);
        if (!Path.leads(order.path, order.collateral, order.debt)) revert BadPath();
        (start.had, start.owed,,,, start.health) = ILendingPool(order.pool).getUserAccountData(order.account);
        if (msg.sender != order.account) {
            Mandate storage mandate = mandates[order.account][msg.sender][order.pool];
            if (mandate.until < block.timestamp) revert NotAllowed(msg.sender);
            if (start.health >= mandate.below) revert StillHealthy(start.health, mandate.below);
        }
        used[order.account][order.intent] = true;
        awaited = address(this);
        start.held = _held(order);
    }

    function _run(Order calldata order, Start memory start) private {
        _buy(order, Path.lastHop(order.path.length), order.repay, address(this));
        if (IToken(order.debt).allowance(address(this), order.pool) != 0) {
            if (!Tokens.approve(order.debt, order.pool, 0)) revert TokenRefused(order.debt);
        }
        uint256 left = IToken(order.debt).balanceOf(address(this));
        if (left != 0 && !Tokens.transfer(order.debt, order.account, left)) revert TokenRefused(order.debt);
        awaited = NOBODY;

        _judge(order, start);
    }

    /// What must hold after it, by the market's own numbers.
    function _judge(Order calldata order, Start memory start) private {
        (uint256 has, uint256 owes,,,, uint256 now_) = ILendingPool(order.pool).getUserAccountData(order.account);
        uint256 least = order.minHealth > start.health ? order.minHealth : start.health + 1;
        if (now_ < least) revert HealthTooLow(now_, least);
        if (owes >= start.owed) revert NothingRepaid();
        uint256 repaid = start.owed - owes;
        uint256 sold = start.had > has ? start.had - has : 0;
        // What the market does not count as collateral is worth as much to the borrower.
        uint256 gone = _worth(order, start.held);
        if (gone > sold) sold = gone;
        if (msg.sender != order.account) _charge(order, repaid, sold);
        emit Deleveraged(order.intent, order.account, msg.sender, repaid, sold);
    }

    /// What must hold of it by the borrower's mandate; the day's allowance is drawn upon.
    function _charge(Order calldata order, uint256 repaid, uint256 sold) private {
        Mandate storage mandate = mandates[order.account][msg.sender][order.pool];
        if (sold > repaid && (sold - repaid) * BPS > repaid * mandate.maxCostBps) revert TooDear(repaid, sold);
        if (repaid > mandate.perTransaction) revert MoreThanAllowed(repaid, mandate.perTransaction);
        uint256 today = spent[order.account][msg.sender][order.pool][block.timestamp / 1 days] + repaid;
        if (today > mandate.perDay) revert MoreThanAllowed(today, mandate.perDay);
        spent[order.account][msg.sender][order.pool][block.timestamp / 1 days] = today;
    }

    /// The account's aTokens of the collateral.
    function _held(Order calldata order) private view returns (uint256) {
        (,,,,,,,, address aToken) = ILendingPool(order.pool).getReserveData(order.collateral);
        return IToken(aToken).balanceOf(order.account);
    }

    /// What of `held` is gone, in base currency by the market's own oracle, rounded up.
    function _worth(Order calldata order, uint256 held) private view returns (uint256) {
        uint256 holds = _held(order);
        if (holds >= held) return 0;
        IPriceOracle oracle = IPriceOracle(ILendingPool(order.pool).ADDRESSES_PROVIDER().getPriceOracle());
        uint256 unit = 10 ** IToken(order.collateral).decimals();
        return ((held - holds) * oracle.getAssetPrice(order.collateral) + unit - 1) / unit;
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
        if (owed > order.maxSold) revert TooMuchSold(owed, order.maxSold);

        if (!Tokens.approve(order.debt, order.pool, order.repay)) revert TokenRefused(order.debt);
        ILendingPool(order.pool).repay(order.debt, order.repay, VARIABLE_RATE, order.account);
        (,,,,,,,, address aToken) = ILendingPool(order.pool).getReserveData(order.collateral);
        // One more than is owed, where there is one: an aToken's balance may round a unit away on its way here.
        // All of what came goes to the pool, so that nothing of it stays.
        uint256 pull = IToken(aToken).balanceOf(order.account) > owed ? owed + 1 : owed;
        if (!Tokens.transferFrom(aToken, order.account, address(this), pull)) revert TokenRefused(aToken);
        ILendingPool(order.pool).withdraw(order.collateral, type(uint256).max, msg.sender);
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
}
