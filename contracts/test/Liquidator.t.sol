// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

import {Liquidator} from "../src/Liquidator.sol";
import {Base, IAnyToken, IFactory, IPoolActions} from "./Base.sol";
import {Market} from "./Market.sol";
import {
    BlacklistCoin,
    BombCoin,
    Coin,
    FalseCoin,
    FeeCoin,
    HookCoin,
    LyingCoin,
    RebasingCoin,
    SilentCoin,
    Stone
} from "./Zoo.sol";

contract LiquidatorTest is Base {
    address internal constant OWNER = address(0xA11CE);
    address internal constant STRANGER = address(0x5F5F5F);
    address internal constant BORROWER = address(0xB0B0);
    uint24 internal constant FEE = 3_000;
    uint256 internal constant DEBT = 10_007e18;

    IFactory internal factory;
    Market internal market;
    Liquidator internal liquidator;

    function setUp() public {
        factory = uniswap();
        market = new Market();
        liquidator = _liquidator(address(market));
        vm.warp(1_790_000_000);
    }

    // --- what it is for -----------------------------------------------------------------------

    function testProfitGoesToTheOwnerAndNothingStays() public {
        Liquidator.Order memory order = _house(address(new Coin()), address(new Coin()));

        uint256 profit = liquidator.liquidate(order);

        // 5 % bonus, 0.3 % for the pool and the price it moves: a hundredth of a percent of its depth
        require(profit > DEBT * 46 / 1_000 && profit < DEBT * 47 / 1_000, text(profit));
        same(IAnyToken(order.collateral).balanceOf(OWNER), profit, "owner");
        same(market.owes(BORROWER, order.debt), 0, "debt");
        _clean(order);
    }

    function testTwoPoolsPayOneAnother() public {
        (Coin a, Coin hub, Coin b) = (new Coin(), new Coin(), new Coin());
        Liquidator.Order memory order = _order(address(a), address(b), DEBT);
        exchange(factory, address(a), address(hub), 500, 1e26);
        exchange(factory, address(hub), address(b), FEE, 1e26);
        order.path = path(address(a), 500, address(hub), FEE, address(b));

        liquidator.liquidate(order);

        same(hub.balanceOf(address(liquidator)), 0, "hub");
        require(a.balanceOf(OWNER) > DEBT / 25, "profit");
        _clean(order);
    }

    function testOneTokenOnBothSidesBorrowsFromTheMarket() public {
        Coin coin = new Coin();
        Liquidator.Order memory order = _order(address(coin), address(coin), DEBT);

        uint256 profit = liquidator.liquidate(order);

        same(profit, DEBT * 500 / 10_000 - DEBT * 5 / 10_000, "bonus less premium");
        same(coin.balanceOf(OWNER), profit, "owner");
        _clean(order);
    }

    function testNoMoreIsBorrowedThanIsOwed() public {
        Liquidator.Order memory order = _house(address(new Coin()), address(new Coin()));
        Coin owed = new Coin();
        owed.mint(BORROWER, DEBT);
        order.debtToken = address(owed);
        order.amount = DEBT * 2;

        liquidator.liquidate(order);

        same(IAnyToken(order.debt).balanceOf(OWNER), 0, "left of the loan");
        _clean(order);
    }

    function testWhatTheMarketDoesNotTakeIsTheOwners() public {
        Liquidator.Order memory order = _house(address(new Coin()), address(new Coin()));
        order.amount = DEBT + 777;

        liquidator.liquidate(order);

        same(IAnyToken(order.debt).balanceOf(OWNER), 777, "left of the loan");
        _clean(order);
    }

    function testDonationsAreNoProfitAndGoToTheOwner(uint96 gift) public {
        Liquidator.Order memory order = _house(address(new Coin()), address(new Coin()));
        Coin(order.collateral).mint(address(liquidator), gift);
        Coin(order.debt).mint(address(liquidator), gift);
        order.minProfit = DEBT / 20;
        vm.expectPartialRevert(Liquidator.ProfitTooSmall.selector);
        liquidator.liquidate(order);

        order.minProfit = 1;
        uint256 profit = liquidator.liquidate(order);

        same(IAnyToken(order.collateral).balanceOf(OWNER), profit + gift, "collateral");
        same(IAnyToken(order.debt).balanceOf(OWNER), gift, "debt");
        _clean(order);
    }

    // --- who and when -------------------------------------------------------------------------

    function testOnlyCallersMay(address sender) public {
        vm.assume(sender != address(this));
        Liquidator.Order memory order = _house(address(new Coin()), address(new Coin()));

        vm.prank(sender);
        vm.expectPartialRevert(Liquidator.CallerNotAllowed.selector);
        liquidator.liquidate(order);
    }

    function testOnlyTheOwnerSetsAndRescues(address sender) public {
        vm.assume(sender != OWNER);
        bytes memory refused = abi.encodeWithSelector(Liquidator.NotTheOwner.selector, sender);

        vm.expectRevert(refused);
        vm.prank(sender);
        liquidator.setCaller(sender, true);
        vm.expectRevert(refused);
        vm.prank(sender);
        liquidator.setPool(sender, true);
        vm.expectRevert(refused);
        vm.prank(sender);
        liquidator.rescue(address(market), 0);
    }

    function testNobodyIsCalledBack(address sender, int256 amount, bytes calldata data) public {
        vm.assume(sender != address(1));
        bytes memory refused = abi.encodeWithSelector(Liquidator.CallbackNotExpected.selector, sender);

        vm.expectRevert(refused);
        vm.prank(sender);
        liquidator.uniswapV3SwapCallback(amount, amount, data);
        vm.expectRevert(refused);
        vm.prank(sender);
        liquidator.executeOperation(sender, 1, 1, address(liquidator), data);
    }

    function testALoanThatAnotherTookIsRefused() public {
        Coin coin = new Coin();
        Liquidator.Order memory order = _order(address(coin), address(coin), DEBT);
        bytes memory loan = abi.encodeCall(
            Market.flashLoanSimple, (address(liquidator), address(coin), 1e18, abi.encode(order), 0)
        );
        // in the middle of a liquidation, when the market has called already
        market.set(address(market), loan);

        liquidator.liquidate(order);

        require(bytes4(market.said()) == Liquidator.CallbackNotExpected.selector, "taken");
        _clean(order);
    }

    /// While the market is awaited, before it calls: a token that calls back can have it lend to us once more.
    function testALoanThatATokenTakesForItIsRefused() public {
        HookCoin coin = new HookCoin();
        Liquidator.Order memory order = _order(address(coin), address(coin), DEBT);
        Liquidator.Order memory bait = _order(address(coin), address(coin), DEBT);
        bait.account = address(0xBA17);
        market.borrow(address(coin), bait.account, DEBT);
        coin.hook(
            address(market),
            abi.encodeCall(
                Market.flashLoanSimple, (address(liquidator), address(coin), 1e18, abi.encode(bait), 0)
            )
        );

        liquidator.liquidate(order);

        require(bytes4(coin.said()) == Liquidator.LoanNotOurs.selector, "taken, or refused for another reason");
        same(market.owes(bait.account, address(coin)), DEBT, "bait");
        _clean(order);
    }

    function testAMarketIsCalledBackOnceOnly() public {
        Coin coin = new Coin();
        Liquidator.Order memory order = _order(address(coin), address(coin), DEBT);
        market.set(
            address(liquidator),
            abi.encodeCall(
                Liquidator.executeOperation, (address(coin), 1, 1, address(liquidator), abi.encode(order))
            )
        );

        liquidator.liquidate(order);

        require(bytes4(market.said()) == Liquidator.CallbackNotExpected.selector, "called back twice");
    }

    function testAnotherMarketIsRefused() public {
        Liquidator.Order memory order = _house(address(new Coin()), address(new Coin()));
        order.pool = address(new Market());

        vm.expectRevert(abi.encodeWithSelector(Liquidator.PoolNotAllowed.selector, order.pool));
        liquidator.liquidate(order);
    }

    function testAnIntentRunsOnce() public {
        Liquidator.Order memory order = _house(address(new Coin()), address(new Coin()));
        order.amount = DEBT / 3;
        liquidator.liquidate(order);

        vm.expectRevert(abi.encodeWithSelector(Liquidator.IntentUsed.selector, order.intent));
        liquidator.liquidate(order);

        order.intent = keccak256("another");
        liquidator.liquidate(order);
    }

    function testAnIntentThatRevertedIsNotUsedUp() public {
        Liquidator.Order memory order = _house(address(new Coin()), address(new Coin()));
        order.minProfit = DEBT;
        vm.expectPartialRevert(Liquidator.ProfitTooSmall.selector);
        liquidator.liquidate(order);

        order.minProfit = 1;
        liquidator.liquidate(order);
    }

    function testNotAfterTheDeadline(uint32 late) public {
        Liquidator.Order memory order = _house(address(new Coin()), address(new Coin()));
        vm.warp(order.deadline + 1 + late);

        vm.expectPartialRevert(Liquidator.DeadlinePassed.selector);
        liquidator.liquidate(order);

        vm.warp(order.deadline);
        liquidator.liquidate(order);
    }

    // --- paths and amounts --------------------------------------------------------------------

    function testBrokenPathsAreRefused(bytes calldata broken) public {
        Liquidator.Order memory order = _house(address(new Coin()), address(new Coin()));
        vm.assume(keccak256(broken) != keccak256(order.path));
        order.path = broken;

        vm.expectPartialRevert(Liquidator.BadPath.selector);
        liquidator.liquidate(order);
    }

    function testAPathThroughNoPoolIsRefused(uint24 fee) public {
        Liquidator.Order memory order = _house(address(new Coin()), address(new Coin()));
        vm.assume(fee != FEE);
        order.path = path(order.collateral, fee, order.debt);

        vm.expectPartialRevert(Liquidator.NoExchangePool.selector);
        liquidator.liquidate(order);
    }

    function testAPathThroughOnePoolTwiceIsRefused() public {
        (Coin a, Coin b) = (new Coin(), new Coin());
        Liquidator.Order memory order = _house(address(a), address(b));
        order.path = abi.encodePacked(a, FEE, b, FEE, a, FEE, b);

        vm.expectRevert(bytes(abi.encodeWithSignature("Error(string)", "LOK")));
        liquidator.liquidate(order);
    }

    /// An amount above int256 would turn a purchase into a sale.
    function testAmountsThatWouldChangeTheirSignAreRefused(uint256 amount) public {
        vm.assume(amount > uint256(type(int256).max));
        Liquidator.Order memory order = _house(address(new Coin()), address(new Coin()));
        order.amount = amount;

        vm.expectRevert(abi.encodeWithSelector(Liquidator.AmountTooLarge.selector, amount));
        liquidator.liquidate(order);
    }

    function testAShallowPoolIsRefused() public {
        (Coin a, Coin b) = (new Coin(), new Coin());
        Liquidator.Order memory order = _order(address(a), address(b), DEBT);
        exchange(factory, address(a), address(b), FEE, 1e20);
        order.path = path(address(a), FEE, address(b));

        vm.expectPartialRevert(Liquidator.ExchangePoolTooShallow.selector);
        liquidator.liquidate(order);
    }

    /// Whoever moves the pool first leaves the keeper the gas of a revert, and nothing else.
    function testASandwichEndsInARevert(uint96 push) public {
        Liquidator.Order memory order = _house(address(new Coin()), address(new Coin()));
        address pool = _pool(order);
        bool down = order.collateral < order.debt;
        order.minProfit = DEBT * 46 / 1_000;
        uint256 amount = uint256(push) % 1e27 + 1e24; // of a depth of 1e26: from 1 % on
        IPoolActions(pool).swap(
            STRANGER, down, int256(amount), down ? 4295128740 : 1461446703485210103287273052203988822378723970341, ""
        );

        try liquidator.liquidate(order) {
            revert("was taken");
        } catch (bytes memory why) {
            // too little is left, or not even what the pool wants
            bytes4 said = bytes4(why);
            require(
                said == Liquidator.ProfitTooSmall.selector || said == Liquidator.TokenRefused.selector
                    || said == Liquidator.ExchangePoolTooShallow.selector,
                "another reason"
            );
        }

        same(IAnyToken(order.collateral).balanceOf(address(market)), DEBT * 2, "market");
        same(market.owes(BORROWER, order.debt), DEBT, "debt");
    }

    function uniswapV3SwapCallback(int256 amount0, int256 amount1, bytes calldata) external {
        (address token, int256 owed) = amount0 > 0
            ? (IPoolActions(msg.sender).token0(), amount0)
            : (IPoolActions(msg.sender).token1(), amount1);
        IAnyToken(token).mint(msg.sender, uint256(owed));
    }

    // --- hostile markets ----------------------------------------------------------------------

    function testAMarketThatSeizesNothingCostsNothing() public {
        Liquidator.Order memory order = _house(address(new Coin()), address(new Coin()));
        market.become(Market.Fault.SEIZES_NOTHING);

        vm.expectRevert(abi.encodeWithSelector(Liquidator.TokenRefused.selector, order.collateral));
        liquidator.liquidate(order);
    }

    function testAMarketThatTakesLessLeavesNoAllowance() public {
        for (uint256 fault = uint256(Market.Fault.TAKES_NOTHING); fault <= uint256(Market.Fault.TAKES_HALF); ++fault) {
            Liquidator.Order memory order = _house(address(new Coin()), address(new SilentCoin()));
            order.minProfit = 0;
            order.intent = bytes32(fault);
            market.become(Market.Fault(fault));

            try liquidator.liquidate(order) {} catch {}

            _clean(order);
        }
    }

    function testALoanThatIsNotTakenBackLeavesNoAllowance() public {
        SilentCoin coin = new SilentCoin();
        Liquidator.Order memory order = _order(address(coin), address(coin), DEBT);
        market.become(Market.Fault.KEEPS_LOAN);

        liquidator.liquidate(order);

        _clean(order);
    }

    /// What is approved is what is owed, to the unit: a market that wants more gets nothing.
    function testAMarketThatWantsMoreGetsNothing() public {
        Coin coin = new Coin();
        Liquidator.Order memory order = _order(address(coin), address(coin), DEBT);
        market.become(Market.Fault.WANTS_MORE);

        try liquidator.liquidate(order) {
            revert("was taken");
        } catch {}

        same(market.owes(BORROWER, address(coin)), DEBT, "debt");
        _clean(order);
    }

    // --- hostile tokens -----------------------------------------------------------------------

    function testTokensThatAnswerNothingAreTaken() public {
        _runs(address(new SilentCoin()), address(new Coin()));
        _runs(address(new Coin()), address(new SilentCoin()));
        _runs(address(new SilentCoin()), address(new SilentCoin()));
    }

    function testTokensThatAnswerMegabytesAreTakenForAWord() public {
        uint256 before = gasleft();
        _runs(address(new BombCoin()), address(new Coin()));

        // its own memory costs it about 200 million a transfer; none of that is copied here
        require(before - gasleft() < 1_600_000_000, text(before - gasleft()));
    }

    function testTokensThatTakeAFeeAreRefused() public {
        _refused(address(new FeeCoin()), address(new Coin()));
        _refused(address(new Coin()), address(new FeeCoin()));
    }

    function testCollateralThatLiesIsRefused() public {
        _refused(address(new LyingCoin()), address(new Coin()));
    }

    /// A debt that lies fools the market, if anybody: the profit is in another token, and counted.
    function testADebtThatLiesIsNotOurLoss() public {
        Liquidator.Order memory order = _house(address(new Coin()), address(new LyingCoin()));

        uint256 profit = liquidator.liquidate(order);

        same(IAnyToken(order.collateral).balanceOf(OWNER), profit, "owner");
        require(profit >= order.minProfit, "profit");
    }

    function testRebasingCollateralLeavesAtMostItsRounding() public {
        RebasingCoin coin = new RebasingCoin();
        Liquidator.Order memory order = _house(address(coin), address(new Coin()));

        liquidator.liquidate(order);

        // shares round down on the way out: what cannot be moved is a few units
        require(coin.balanceOf(address(liquidator)) <= 3, text(coin.balanceOf(address(liquidator))));
    }

    function testATokenThatSaysFalseIsARefusal() public {
        FalseCoin coin = new FalseCoin();
        coin.refuse(address(liquidator));
        Liquidator.Order memory order = _house(address(coin), address(new Coin()));

        vm.expectRevert(abi.encodeWithSelector(Liquidator.TokenRefused.selector, address(coin)));
        liquidator.liquidate(order);
    }

    function testATokenWithoutCodeIsARefusal() public {
        vm.prank(OWNER);
        vm.expectRevert(abi.encodeWithSelector(Liquidator.TokenRefused.selector, STRANGER));
        liquidator.rescue(STRANGER, 1);

        Stone stone = new Stone();
        vm.prank(OWNER);
        vm.expectRevert(abi.encodeWithSelector(Liquidator.TokenRefused.selector, address(stone)));
        liquidator.rescue(address(stone), 1);
    }

    function testABlacklistedOwnerCostsTheGasOnly() public {
        BlacklistCoin coin = new BlacklistCoin();
        coin.list(OWNER);
        Liquidator.Order memory order = _house(address(coin), address(new Coin()));

        vm.expectRevert(abi.encodeWithSelector(Liquidator.TokenRefused.selector, address(coin)));
        liquidator.liquidate(order);

        same(market.owes(BORROWER, order.debt), DEBT, "debt");
    }

    function testHooksFindEveryDoorShut() public {
        bytes[] memory doors = new bytes[](5);
        HookCoin coin = new HookCoin();
        Liquidator.Order memory order = _house(address(coin), address(new Coin()));
        Liquidator.Order memory second = _order(address(coin), order.debt, 1e18);
        second.path = order.path;
        second.intent = keccak256("second");
        doors[0] = abi.encodeCall(Liquidator.liquidate, (second));
        doors[1] = abi.encodeCall(Liquidator.uniswapV3SwapCallback, (1, -1, abi.encode(second, 0, 1)));
        doors[2] = abi.encodeCall(Liquidator.executeOperation, (order.debt, 1, 1, address(liquidator), abi.encode(second)));
        doors[3] = abi.encodeCall(Liquidator.rescue, (address(coin), 1));
        doors[4] = abi.encodeCall(Liquidator.setCaller, (address(coin), true));
        for (uint256 i = 0; i < doors.length; ++i) {
            coin.hook(address(liquidator), doors[i]);
            order.intent = bytes32(i);
            order.amount = DEBT / 7;
            order.minProfit = 1;

            liquidator.liquidate(order);

            require(!coin.done(), "a door was open");
            _clean(order);
        }
    }

    /// Even a token that may call: the contract does not run within itself.
    function testItDoesNotRunWithinItself() public {
        HookCoin coin = new HookCoin();
        Liquidator.Order memory order = _house(address(coin), address(new Coin()));
        vm.prank(OWNER);
        liquidator.setCaller(address(coin), true);
        Liquidator.Order memory second = _order(address(coin), order.debt, 1e18);
        (second.path, second.intent) = (order.path, keccak256("second"));
        coin.hook(address(liquidator), abi.encodeCall(Liquidator.liquidate, (second)));
        liquidator.liquidate(order);

        require(bytes4(coin.said()) == Liquidator.AlreadyRunning.selector, "ran within itself");
        _clean(order);
    }

    // --- helpers ------------------------------------------------------------------------------

    function _runs(address collateral, address debt) private {
        Liquidator.Order memory order = _house(collateral, debt);
        order.intent = keccak256(abi.encode(collateral, debt));

        uint256 profit = liquidator.liquidate(order);

        same(IAnyToken(collateral).balanceOf(OWNER), profit, "owner");
        require(profit >= order.minProfit, "profit");
        _clean(order);
    }

    function _refused(address collateral, address debt) private {
        Liquidator.Order memory order = _order(collateral, debt, DEBT);
        // such a token's pools: what is asked for is there, whatever it takes
        order.path = path(collateral, FEE, debt);
        address pool = exchange(factory, collateral, debt, FEE, 0);
        IAnyToken(collateral).mint(pool, 1e27);
        IAnyToken(debt).mint(pool, 1e27);
        try IPoolActions(pool).mint(address(this), -EDGE, EDGE, 1e26, "") {} catch {}

        try liquidator.liquidate(order) {
            revert("was taken");
        } catch {}

        same(market.owes(BORROWER, debt), DEBT, "debt");
        _clean(order);
        market = new Market();
        liquidator = _liquidator(address(market));
    }

    function _liquidator(address pool) private returns (Liquidator) {
        address[] memory callers = new address[](1);
        callers[0] = address(this);
        address[] memory pools = new address[](1);
        pools[0] = pool;
        return new Liquidator(OWNER, address(factory), callers, pools, new address[](0), new address[](0));
    }

    /// A borrower who owes, a market with money, and a deep pool.
    function _house(address collateral, address debt) private returns (Liquidator.Order memory order) {
        order = _order(collateral, debt, DEBT);
        exchange(factory, collateral, debt, FEE, 1e26);
        order.path = path(collateral, FEE, debt);
    }

    function _order(address collateral, address debt, uint256 amount)
        private
        returns (Liquidator.Order memory order)
    {
        market.borrow(debt, BORROWER, amount);
        IAnyToken(collateral).mint(address(market), DEBT * 2);
        order = Liquidator.Order({
            intent: keccak256("first"),
            pool: address(market),
            account: BORROWER,
            collateral: collateral,
            debt: debt,
            debtToken: address(0),
            amount: amount,
            minProfit: amount / 100,
            deadline: block.timestamp + 180,
            path: ""
        });
    }

    function _pool(Liquidator.Order memory order) private view returns (address) {
        return liquidator.factory().getPool(order.collateral, order.debt, FEE);
    }

    function _clean(Liquidator.Order memory order) private view {
        address[2] memory tokens = [order.collateral, order.debt];
        for (uint256 i = 0; i < 2; ++i) {
            same(IAnyToken(tokens[i]).balanceOf(address(liquidator)), 0, "balance kept");
            same(IAnyToken(tokens[i]).allowance(address(liquidator), order.pool), 0, "allowance left");
        }
    }
}
