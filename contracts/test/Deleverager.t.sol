// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

import {Deleverager} from "../src/Deleverager.sol";
import {Base, IAnyToken, IFactory, IPoolActions} from "./Base.sol";
import {Market} from "./Market.sol";
import {Coin, FeeCoin, HookCoin, LyingCoin, SilentCoin} from "./Zoo.sol";

contract DeleveragerTest is Base {
    address internal constant BORROWER = address(0xB0B0);
    address internal constant OPERATOR = address(0x0FE8A);
    uint24 internal constant FEE = 3_000;
    uint256 internal constant SUPPLIED = 10_007e18;
    uint256 internal constant OWED = 7_777e18; // health 0.8 * 10007 / 7777 = 1.029
    uint256 internal constant REPAY = 2_003e18;

    IFactory internal factory;
    Market internal market;
    Deleverager internal deleverager;

    function setUp() public {
        factory = uniswap();
        market = new Market();
        deleverager = new Deleverager(address(factory));
        vm.warp(1_790_000_000);
    }

    // --- what it is for -----------------------------------------------------------------------

    function testTheBorrowerIsHealthierAndNothingStays() public {
        Deleverager.Order memory order = _house(new Coin(), new Coin());

        _asBorrower(order);

        (uint256 has, uint256 owes,,,, uint256 health) = market.getUserAccountData(BORROWER);
        same(owes, OWED - REPAY, "debt");
        // 0.3 % for the pool, the price it moves, and a unit of rounding
        uint256 sold = SUPPLIED - has;
        require(sold > REPAY && sold <= REPAY + REPAY * 31 / 10_000, text(sold));
        require(health > 110 * WAD / 100, text(health));
        _clean(order);
    }

    function testTwoPoolsPayOneAnother() public {
        (Coin a, Coin hub, Coin b) = (new Coin(), new Coin(), new Coin());
        Deleverager.Order memory order = _order(a, b);
        exchange(factory, address(a), address(hub), 500, 1e26);
        exchange(factory, address(hub), address(b), FEE, 1e26);
        order.path = path(address(a), 500, address(hub), FEE, address(b));

        _asBorrower(order);

        same(hub.balanceOf(address(deleverager)), 0, "hub");
        _clean(order);
    }

    function testAWholeDebtIsRepaidAndTheRestReturned() public {
        Deleverager.Order memory order = _house(new Coin(), new SilentCoin());
        order.repay = OWED + 777;
        order.maxSold = SUPPLIED;

        _asBorrower(order);

        (, uint256 owes,,,,) = market.getUserAccountData(BORROWER);
        same(owes, 0, "debt");
        same(IAnyToken(order.debt).balanceOf(BORROWER), 777, "returned");
        _clean(order);
    }

    function testWhatIsLeftIsTheBorrowersWhoeverAsks() public {
        Deleverager.Order memory order = _house(new Coin(), new Coin());
        (order.repay, order.maxSold) = (OWED + 777, SUPPLIED);
        Deleverager.Mandate memory mandate = _mandate();
        mandate.perTransaction = uint128(OWED);
        _allow(mandate);

        vm.prank(OPERATOR);
        deleverager.deleverage(order);

        same(IAnyToken(order.debt).balanceOf(OPERATOR), 0, "the operator's");
        same(IAnyToken(order.debt).balanceOf(BORROWER), 777, "returned");
    }

    // --- authority ----------------------------------------------------------------------------

    function testNobodyElseMay(address sender) public {
        vm.assume(sender != BORROWER);
        Deleverager.Order memory order = _house(new Coin(), new Coin());

        vm.expectRevert(abi.encodeWithSelector(Deleverager.NotAllowed.selector, sender));
        vm.prank(sender);
        deleverager.deleverage(order);
    }

    function testAMandateIsGivenByItsBorrowerOnly() public {
        Deleverager.Order memory order = _house(new Coin(), new Coin());
        vm.prank(address(0xBAD));
        deleverager.allow(OPERATOR, address(market), _mandate());

        _refused(order, Deleverager.NotAllowed.selector);
    }

    function testAMandateHoldsForItsMarketOperatorAndTime() public {
        Deleverager.Order memory order = _house(new Coin(), new Coin());
        Market elsewhere = new Market();
        vm.prank(BORROWER);
        deleverager.allow(OPERATOR, address(elsewhere), _mandate());
        _refused(order, Deleverager.NotAllowed.selector);

        Deleverager.Mandate memory mandate = _mandate();
        mandate.until = uint40(block.timestamp - 1);
        _allow(mandate);
        _refused(order, Deleverager.NotAllowed.selector);

        mandate.until = uint40(block.timestamp);
        _allow(mandate);
        vm.prank(OPERATOR);
        deleverager.deleverage(order);
        _clean(order);
    }

    function testAMandateIsWithdrawn() public {
        Deleverager.Order memory order = _house(new Coin(), new Coin());
        _allow(_mandate());
        Deleverager.Mandate memory none;
        _allow(none);

        _refused(order, Deleverager.NotAllowed.selector);
    }

    function testAnOperatorMayNotTouchAHealthyPosition() public {
        Deleverager.Order memory order = _house(new Coin(), new Coin());
        (,,,,, uint256 health) = market.getUserAccountData(BORROWER);
        Deleverager.Mandate memory mandate = _mandate();
        mandate.below = uint64(health);
        _allow(mandate);
        _refused(order, Deleverager.StillHealthy.selector);

        mandate.below = uint64(health + 1);
        _allow(mandate);
        vm.prank(OPERATOR);
        deleverager.deleverage(order);
    }

    function testAnOperatorStaysWithinItsAmounts() public {
        Deleverager.Order memory order = _house(new Coin(), new Coin());
        Deleverager.Mandate memory mandate = _mandate();
        mandate.below = uint64(2 * WAD);
        mandate.perTransaction = uint128(REPAY - 1);
        _allow(mandate);
        _refused(order, Deleverager.MoreThanAllowed.selector);

        mandate.perTransaction = uint128(REPAY);
        mandate.perDay = uint128(REPAY + 1e18);
        _allow(mandate);
        vm.prank(OPERATOR);
        deleverager.deleverage(order);

        order.intent = keccak256("second");
        order.repay = 2e18;
        _refused(order, Deleverager.MoreThanAllowed.selector);

        vm.warp(block.timestamp + 1 days);
        order.deadline = block.timestamp;
        vm.prank(OPERATOR);
        deleverager.deleverage(order);
    }

    /// A robbed key that moves the pool first, and sells to itself: the borrower's bound holds, by the market's prices.
    function testAnOperatorMayNotSellTooCheap() public {
        Deleverager.Order memory order = _house(new Coin(), new Coin());
        order.maxSold = SUPPLIED;
        Deleverager.Mandate memory mandate = _mandate();
        mandate.maxCostBps = 29; // the pool alone takes 30
        _allow(mandate);
        _refused(order, Deleverager.TooDear.selector);

        mandate.maxCostBps = 100;
        _allow(mandate);
        _push(order, 1e24); // one percent, of both reserves: two of the price
        _refused(order, Deleverager.TooDear.selector);
    }

    /// What the market does not count as collateral is the borrower's all the same, and sold no cheaper.
    function testWhatIsNotCountedIsNotSoldTooCheapEither() public {
        Deleverager.Order memory order = _house(new Coin(), new Coin());
        Coin counted = new Coin();
        market.supply(address(counted), BORROWER, SUPPLIED);
        market.uncount(order.collateral);
        order.maxSold = SUPPLIED;
        Deleverager.Mandate memory mandate = _mandate();
        mandate.maxCostBps = 29; // the pool alone takes 30
        _allow(mandate);
        _refused(order, Deleverager.TooDear.selector);

        mandate.maxCostBps = 100;
        _allow(mandate);
        vm.prank(OPERATOR);
        deleverager.deleverage(order);
    }

    function testNobodyIsCalledBack(address sender, int256 amount, bytes calldata data) public {
        vm.assume(sender != address(1));
        vm.expectRevert(abi.encodeWithSelector(Deleverager.CallbackNotExpected.selector, sender));
        vm.prank(sender);
        deleverager.uniswapV3SwapCallback(amount, amount, data);
    }

    /// Everybody's approvals stand here: no order of one may move what is another's.
    function testAnotherMarketsWordMovesNobodyElsesTokens() public {
        Deleverager.Order memory order = _house(new Coin(), new Coin());
        address thief = address(0x7415F);
        Market false_ = new Market();
        // the thief's own market says that its aToken is the borrower's collateral
        false_.supply(order.collateral, thief, SUPPLIED);
        false_.borrow(order.debt, thief, OWED);
        Coin victim = market.aTokens(order.collateral);
        false_.pretend(order.collateral, victim);
        (order.pool, order.account) = (address(false_), thief);
        uint256 before = victim.balanceOf(BORROWER);

        vm.prank(thief);
        try deleverager.deleverage(order) {
            revert("was taken");
        } catch {}

        same(victim.balanceOf(BORROWER), before, "victim's");
        order.account = BORROWER;
        vm.prank(thief);
        vm.expectRevert(abi.encodeWithSelector(Deleverager.NotAllowed.selector, thief));
        deleverager.deleverage(order);
    }

    function testItDoesNotRunWithinItself() public {
        Deleverager.Order memory order = _house(new Coin(), new Coin());
        Deleverager.Order memory second = _order(Coin(order.collateral), Coin(order.debt));
        (second.intent, second.path) = (keccak256("second"), order.path);
        market.set(address(deleverager), abi.encodeCall(Deleverager.deleverage, (second)));

        _asBorrower(order);

        require(bytes4(market.said()) == Deleverager.AlreadyRunning.selector, "ran within itself");
    }

    function testHooksFindEveryDoorShut() public {
        HookCoin coin = new HookCoin();
        Deleverager.Order memory order = _house(new Coin(), coin);
        order.repay = OWED + 5; // the rest is handed over last
        order.maxSold = SUPPLIED;
        Deleverager.Order memory second = _order(Coin(order.collateral), coin);
        (second.intent, second.path, second.account) = (keccak256("second"), order.path, address(coin));
        coin.hook(address(deleverager), abi.encodeCall(Deleverager.deleverage, (second)));

        _asBorrower(order);

        require(!coin.done(), "a door was open");
        require(bytes4(coin.said()) == Deleverager.AlreadyRunning.selector, "another reason");
        _clean(order);
    }

    // --- when, and for how much ---------------------------------------------------------------

    function testAnIntentRunsOnceForItsAccount() public {
        Deleverager.Order memory order = _house(new Coin(), new Coin());
        _asBorrower(order);

        vm.expectRevert(abi.encodeWithSelector(Deleverager.IntentUsed.selector, order.intent));
        _asBorrower(order);
    }

    /// An id is not taken from somebody by using it first.
    function testAnotherAccountsIntentIsItsOwn() public {
        Deleverager.Order memory order = _house(new Coin(), new Coin());
        address other = address(0x07E8);
        Coin coin = Coin(order.collateral);
        market.supply(address(coin), other, SUPPLIED);
        market.borrow(order.debt, other, OWED);
        Coin aToken = market.aTokens(address(coin));
        vm.prank(other);
        aToken.approve(address(deleverager), type(uint256).max);
        order.account = other;
        vm.prank(other);
        deleverager.deleverage(order);

        order.account = BORROWER;
        _asBorrower(order);
    }

    function testNotAfterTheDeadline(uint32 late) public {
        Deleverager.Order memory order = _house(new Coin(), new Coin());
        vm.warp(order.deadline + 1 + late);

        vm.expectPartialRevert(Deleverager.DeadlinePassed.selector);
        _asBorrower(order);
    }

    function testNoMoreIsSoldThanWasSaid() public {
        Deleverager.Order memory order = _house(new Coin(), new Coin());
        order.maxSold = REPAY;

        vm.expectPartialRevert(Deleverager.TooMuchSold.selector);
        _asBorrower(order);
    }

    function testASandwichEndsInARevert(uint96 push) public {
        Deleverager.Order memory order = _house(new Coin(), new Coin());
        _push(order, uint256(push) % 1e26 + 1e24);

        vm.expectPartialRevert(Deleverager.TooMuchSold.selector);
        _asBorrower(order);

        (uint256 has, uint256 owes,,,,) = market.getUserAccountData(BORROWER);
        same(has, SUPPLIED, "collateral");
        same(owes, OWED, "debt");
    }

    function testTheHealthAskedForIsReached() public {
        Deleverager.Order memory order = _house(new Coin(), new Coin());
        order.minHealth = 2 * WAD;

        vm.expectPartialRevert(Deleverager.HealthTooLow.selector);
        _asBorrower(order);
    }

    function testAPositionIsNeverLeftWorse() public {
        Deleverager.Order memory order = _house(new Coin(), new Coin());
        order.minHealth = 0;
        order.maxSold = SUPPLIED;
        _push(order, 9e25); // the pool all but empty: what is sold is worth far more than what is repaid

        try deleverager.deleverage(order) {
            revert("was taken");
        } catch {}
        vm.expectPartialRevert(Deleverager.HealthTooLow.selector);
        _asBorrower(order);
    }

    function testAMarketThatTakesNothingCostsNothing() public {
        Deleverager.Order memory order = _house(new Coin(), new Coin());
        market.become(Market.Fault.TAKES_NOTHING);

        vm.expectPartialRevert(Deleverager.HealthTooLow.selector);
        _asBorrower(order);
    }

    function testAMarketThatTakesHalfLeavesNoAllowance() public {
        Deleverager.Order memory order = _house(new Coin(), new SilentCoin());
        market.become(Market.Fault.TAKES_HALF);
        order.minHealth = 0;
        order.repay = 1e18;
        Coin(order.collateral).mint(address(market), 1);

        try deleverager.deleverage(order) {
            revert("was taken");
        } catch {}
        vm.prank(BORROWER);
        try deleverager.deleverage(order) {} catch {}

        _clean(order);
    }

    function testWithoutAnApprovalNothingHappens() public {
        Deleverager.Order memory order = _house(new Coin(), new Coin());
        Coin aToken = market.aTokens(order.collateral);
        vm.prank(BORROWER);
        aToken.approve(address(deleverager), 0);

        vm.expectRevert(abi.encodeWithSelector(Deleverager.TokenRefused.selector, address(aToken)));
        _asBorrower(order);
    }

    function testTokensThatTakeAFeeOrLieAreRefused() public {
        Coin[4] memory pairs = [new Coin(), Coin(new FeeCoin()), new Coin(), Coin(new LyingCoin())];
        for (uint256 i = 0; i < 4; i += 2) {
            Deleverager.Order memory order = _house(pairs[i + 1], pairs[i]);
            order.maxSold = SUPPLIED;

            vm.prank(BORROWER);
            try deleverager.deleverage(order) {
                revert("was taken");
            } catch {}

            _clean(order);
        }
    }

    function testBrokenPathsAreRefused(bytes calldata broken) public {
        Deleverager.Order memory order = _house(new Coin(), new Coin());
        order.path = broken;

        vm.expectRevert(abi.encodeWithSelector(Deleverager.BadPath.selector));
        _asBorrower(order);
    }

    function testAmountsThatWouldChangeTheirSignAreRefused(uint256 amount) public {
        vm.assume(amount > uint256(type(int256).max));
        Deleverager.Order memory order = _house(new Coin(), new Coin());
        order.repay = amount;

        vm.expectRevert(abi.encodeWithSelector(Deleverager.AmountTooLarge.selector, amount));
        _asBorrower(order);
    }

    // --- helpers ------------------------------------------------------------------------------

    function uniswapV3SwapCallback(int256 amount0, int256 amount1, bytes calldata) external {
        (address token, int256 owed) = amount0 > 0
            ? (IPoolActions(msg.sender).token0(), amount0)
            : (IPoolActions(msg.sender).token1(), amount1);
        IAnyToken(token).mint(msg.sender, uint256(owed));
    }

    /// Sells collateral into the pool before the order does.
    function _push(Deleverager.Order memory order, uint256 amount) private {
        bool down = order.collateral < order.debt;
        IPoolActions(deleverager.factory().getPool(order.collateral, order.debt, FEE)).swap(
            address(1), down, int256(amount), down ? 4295128740 : 1461446703485210103287273052203988822378723970341, ""
        );
    }

    function _refused(Deleverager.Order memory order, bytes4 why) private {
        vm.expectPartialRevert(why);
        vm.prank(OPERATOR);
        deleverager.deleverage(order);
    }

    function _asBorrower(Deleverager.Order memory order) private {
        vm.prank(BORROWER);
        deleverager.deleverage(order);
    }

    function _allow(Deleverager.Mandate memory mandate) private {
        vm.prank(BORROWER);
        deleverager.allow(OPERATOR, address(market), mandate);
    }

    function _mandate() private view returns (Deleverager.Mandate memory) {
        return Deleverager.Mandate({
            until: uint40(block.timestamp + 365 days),
            maxCostBps: 100,
            below: uint64(110 * WAD / 100),
            perTransaction: uint128(REPAY),
            perDay: uint128(10 * REPAY)
        });
    }

    function _house(Coin collateral, Coin debt) private returns (Deleverager.Order memory order) {
        order = _order(collateral, debt);
        exchange(factory, address(collateral), address(debt), FEE, 1e26);
        order.path = path(address(collateral), FEE, address(debt));
    }

    function _order(Coin collateral, Coin debt) private returns (Deleverager.Order memory) {
        if (address(market.aTokens(address(collateral))) == address(0)) {
            market.supply(address(collateral), BORROWER, SUPPLIED);
            market.borrow(address(debt), BORROWER, OWED);
            collateral.mint(address(market), SUPPLIED);
            Coin aToken = market.aTokens(address(collateral));
            vm.prank(BORROWER);
            aToken.approve(address(deleverager), type(uint256).max);
        }
        return Deleverager.Order({
            intent: keccak256("first"),
            pool: address(market),
            account: BORROWER,
            collateral: address(collateral),
            debt: address(debt),
            repay: REPAY,
            maxSold: REPAY * 101 / 100,
            minHealth: 110 * WAD / 100,
            deadline: block.timestamp + 180,
            path: ""
        });
    }

    function _clean(Deleverager.Order memory order) private view {
        address[3] memory tokens = [order.collateral, order.debt, address(market.aTokens(order.collateral))];
        for (uint256 i = 0; i < 3; ++i) {
            same(IAnyToken(tokens[i]).balanceOf(address(deleverager)), 0, "balance kept");
            same(IAnyToken(tokens[i]).allowance(address(deleverager), order.pool), 0, "allowance left");
        }
    }
}
