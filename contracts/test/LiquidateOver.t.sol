// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

import {Liquidator} from "../src/Liquidator.sol";
import {Base, IAnyToken, IFactory} from "./Base.sol";
import {Market} from "./Market.sol";
import {HostileVenue, Proxy, ProxiedVenue, Turncoat, Venue} from "./Venues.sol";
import {Coin, FeeCoin, HookCoin, SilentCoin} from "./Zoo.sol";

/// Sales by a call that somebody else made: of what it says nothing is believed.
contract LiquidateOverTest is Base {
    address internal constant OWNER = address(0xA11CE);
    address internal constant BORROWER = address(0xB0B0);
    uint256 internal constant DEBT = 10_007e18;
    /// 5 basis points of the market's loan, and half a percent more than that costs at one for one.
    uint256 internal constant SOLD = DEBT * 10_055 / 10_000;
    uint256 internal constant OWED = DEBT * 10_005 / 10_000;

    IFactory internal factory;
    Market internal market;
    Liquidator internal liquidator;
    Coin internal collateral;
    Coin internal debt;

    function setUp() public {
        factory = uniswap();
        market = new Market();
        (collateral, debt) = (new Coin(), new Coin());
        liquidator = _liquidator(new address[](0));
        vm.warp(1_790_000_000);
    }

    // --- what it is for -----------------------------------------------------------------------

    function testCollateralIsSoldAndBothProfitsAreTheOwners() public {
        (Liquidator.Order memory order, Liquidator.Swap memory swap) = _house(_venue(1.01e18));

        (uint256 profit, uint256 surplus) = liquidator.liquidateOver(order, swap);

        same(profit, DEBT * 105 / 100 - SOLD, "what was not sold");
        same(surplus, SOLD * 101 / 100 - OWED, "what the sale brought above the loan");
        same(collateral.balanceOf(OWNER), profit, "collateral");
        same(debt.balanceOf(OWNER), surplus, "debt");
        same(market.owes(BORROWER, address(debt)), 0, "owed");
        _clean(swap);
    }

    function testWhoeverIsApprovedNeedNotBeCalled() public {
        Proxy proxy = new Proxy();
        ProxiedVenue venue = new ProxiedVenue(1e18, proxy);
        proxy.serve(address(venue));
        _list(address(venue), address(proxy));
        (Liquidator.Order memory order, Liquidator.Swap memory swap) = _house(address(venue));
        swap.spender = address(proxy);

        liquidator.liquidateOver(order, swap);

        _clean(swap);
    }

    function testTokensThatAnswerNothingAreSold() public {
        (collateral, debt) = (new SilentCoin(), new SilentCoin());
        (Liquidator.Order memory order, Liquidator.Swap memory swap) = _house(_venue(1e18));

        liquidator.liquidateOver(order, swap);

        _clean(swap);
    }

    function testNoMoreIsBorrowedThanIsOwed() public {
        (Liquidator.Order memory order, Liquidator.Swap memory swap) = _house(_venue(1e18));
        Coin owed = new Coin();
        owed.mint(BORROWER, DEBT);
        order.debtToken = address(owed);
        order.amount = DEBT * 2;

        (, uint256 surplus) = liquidator.liquidateOver(order, swap);

        same(surplus, SOLD - OWED, "left of the loan");
        _clean(swap);
    }

    function testAMarketThatTakesLessLeavesNoAllowance() public {
        (collateral, debt) = (new Coin(), new SilentCoin());
        (Liquidator.Order memory order, Liquidator.Swap memory swap) = _house(_venue(1e18));
        market.become(Market.Fault.TAKES_HALF);
        _resize(swap, SOLD / 2);
        order.minProfit = 0;

        liquidator.liquidateOver(order, swap);

        _clean(swap);
    }

    // --- who and whom -------------------------------------------------------------------------

    function testOnlyCallersMay(address sender) public {
        vm.assume(sender != address(this));
        (Liquidator.Order memory order, Liquidator.Swap memory swap) = _house(_venue(1e18));

        vm.prank(sender);
        vm.expectPartialRevert(Liquidator.CallerNotAllowed.selector);
        liquidator.liquidateOver(order, swap);
    }

    function testOnlyTheOwnerLists(address sender) public {
        vm.assume(sender != OWNER);
        bytes memory refused = abi.encodeWithSelector(Liquidator.NotTheOwner.selector, sender);
        address venue = address(new Venue(1e18));

        vm.expectRevert(refused);
        vm.prank(sender);
        liquidator.setTarget(venue, true);
        vm.expectRevert(refused);
        vm.prank(sender);
        liquidator.setSpender(venue, true);
    }

    function testWhatIsNotListedIsNeitherCalledNorApproved() public {
        address venue = _venue(1e18);
        (Liquidator.Order memory order, Liquidator.Swap memory swap) = _house(venue);
        address other = address(new Venue(2e18));

        swap.target = other;
        vm.expectRevert(abi.encodeWithSelector(Liquidator.TargetNotAllowed.selector, other));
        liquidator.liquidateOver(order, swap);
        (swap.target, swap.spender) = (venue, other);
        vm.expectRevert(abi.encodeWithSelector(Liquidator.SpenderNotAllowed.selector, other));
        liquidator.liquidateOver(order, swap);
        // listed as the one is not listed as the other
        vm.prank(OWNER);
        liquidator.setTarget(other, true);
        vm.expectRevert(abi.encodeWithSelector(Liquidator.SpenderNotAllowed.selector, other));
        liquidator.liquidateOver(order, swap);
        (swap.target, swap.spender) = (other, venue);
        vm.prank(OWNER);
        liquidator.setTarget(other, false);
        vm.expectRevert(abi.encodeWithSelector(Liquidator.TargetNotAllowed.selector, other));
        liquidator.liquidateOver(order, swap);
    }

    function testMarketsTokensItselfAndTheEmptyAreNeverListed() public {
        address[4] memory never = [address(market), address(collateral), address(liquidator), address(0xE17E)];
        for (uint256 i = 0; i < never.length; ++i) {
            bytes memory refused = abi.encodeWithSelector(Liquidator.NeverAllowed.selector, never[i]);
            vm.expectRevert(refused);
            vm.prank(OWNER);
            liquidator.setTarget(never[i], true);
            vm.expectRevert(refused);
            vm.prank(OWNER);
            liquidator.setSpender(never[i], true);
        }
    }

    function testWhatIsListedNeverBecomesAMarket() public {
        address venue = _venue(1e18);

        vm.expectRevert(abi.encodeWithSelector(Liquidator.NeverAllowed.selector, venue));
        vm.prank(OWNER);
        liquidator.setPool(venue, true);
    }

    function testTheConstructorListsUnderTheSameRules() public {
        address[] memory listed = new address[](1);
        listed[0] = address(collateral);
        vm.expectRevert(abi.encodeWithSelector(Liquidator.NeverAllowed.selector, address(collateral)));
        _liquidator(listed);

        listed[0] = address(new Venue(1e18));
        Liquidator made = _liquidator(listed);

        require(made.targets(listed[0]) && made.spenders(listed[0]), "not listed");
    }

    /// It said that it is no token when it was listed.
    function testATokenOfTheOrderIsNotCalledThoughItIsListed() public {
        address venue = _venue(1e18);
        Turncoat turncoat = new Turncoat();
        _list(address(turncoat), address(turncoat));
        (Liquidator.Order memory order, Liquidator.Swap memory swap) = _house(venue);
        turncoat.turn();

        (order.collateral, swap.target) = (address(turncoat), address(turncoat));
        vm.expectRevert(abi.encodeWithSelector(Liquidator.TargetNotAllowed.selector, address(turncoat)));
        liquidator.liquidateOver(order, swap);
        (order.collateral, order.debt) = (address(collateral), address(turncoat));
        vm.expectRevert(abi.encodeWithSelector(Liquidator.TargetNotAllowed.selector, address(turncoat)));
        liquidator.liquidateOver(order, swap);
        (swap.target, swap.spender) = (venue, address(turncoat));
        vm.expectRevert(abi.encodeWithSelector(Liquidator.SpenderNotAllowed.selector, address(turncoat)));
        liquidator.liquidateOver(order, swap);
    }

    function testAPathOrOneTokenOnBothSidesIsRefused() public {
        (Liquidator.Order memory order, Liquidator.Swap memory swap) = _house(_venue(1e18));
        order.path = path(address(collateral), 500, address(debt));
        vm.expectPartialRevert(Liquidator.BadPath.selector);
        liquidator.liquidateOver(order, swap);

        (order.path, order.debt) = ("", address(collateral));
        vm.expectPartialRevert(Liquidator.BadPath.selector);
        liquidator.liquidateOver(order, swap);
    }

    function testAllOtherGuardsStand() public {
        (Liquidator.Order memory order, Liquidator.Swap memory swap) = _house(_venue(1e18));
        order.pool = address(new Market());
        vm.expectPartialRevert(Liquidator.PoolNotAllowed.selector);
        liquidator.liquidateOver(order, swap);

        order.pool = address(market);
        vm.warp(order.deadline + 1);
        vm.expectPartialRevert(Liquidator.DeadlinePassed.selector);
        liquidator.liquidateOver(order, swap);

        vm.warp(order.deadline);
        _resize(swap, SOLD / 3 + 1);
        (order.amount, order.minProfit) = (DEBT / 3, 0);
        liquidator.liquidateOver(order, swap);
        vm.expectPartialRevert(Liquidator.IntentUsed.selector);
        liquidator.liquidateOver(order, swap);
    }

    // --- sales that are none --------------------------------------------------------------------

    function testWhoeverTakesAllAndGivesNothingCostsNothing() public {
        _fails(HostileVenue.Fault.TAKES_ALL, Liquidator.SwapTooSmall.selector);
    }

    function testWhoeverGivesLessCostsNothing() public {
        _fails(HostileVenue.Fault.GIVES_LESS, Liquidator.SwapTooSmall.selector);
    }

    function testWhoeverTakesNothingAndGivesNothingCostsNothing() public {
        _fails(HostileVenue.Fault.TAKES_NOTHING, Liquidator.SwapTooSmall.selector);
    }

    function testARefusalIsPassedOn() public {
        _fails(HostileVenue.Fault.REFUSES, Liquidator.SwapFailed.selector);
    }

    function testOfALongRefusalLittleIsKept() public {
        (Liquidator.Order memory order, Liquidator.Swap memory swap) =
            _house(_hostile(HostileVenue.Fault.SHOUTS));

        try liquidator.liquidateOver(order, swap) {
            revert("was taken");
        } catch (bytes memory why) {
            require(bytes4(why) == Liquidator.SwapFailed.selector, "another reason");
            same(why.length, 4 + 64 + 256, "length");
        }
    }

    function testTheChainsCoinIsNotTaken() public {
        address venue = _hostile(HostileVenue.Fault.SENDS_COIN);
        (bool sent,) = venue.call{value: 1}("");
        require(sent, "not funded");
        (Liquidator.Order memory order, Liquidator.Swap memory swap) = _house(venue);

        vm.expectPartialRevert(Liquidator.SwapFailed.selector);
        liquidator.liquidateOver(order, swap);
    }

    /// It sold less than it was to: then too little comes, and where enough came all the same, nothing stays allowed.
    function testWhatIsNotTakenIsNoLongerAllowed() public {
        HostileVenue venue = HostileVenue(payable(_hostile(HostileVenue.Fault.TAKES_LESS)));
        (Liquidator.Order memory order, Liquidator.Swap memory swap) = _house(address(venue));

        liquidator.liquidateOver(order, swap);

        _clean(swap);
        collateral.mint(address(liquidator), 1);
        (bool robbed,) =
            address(venue).call(abi.encodeCall(HostileVenue.rob, (address(collateral), address(liquidator))));
        require(!robbed, "robbed of what was left allowed");
    }

    /// Of what lies here by mistake nothing pays for a bad sale.
    function testGiftsPayForNothing() public {
        (Liquidator.Order memory order, Liquidator.Swap memory swap) =
            _house(_hostile(HostileVenue.Fault.GIVES_LESS));
        (order.minProfit, swap.minBought) = (0, 0);
        debt.mint(address(liquidator), DEBT);
        collateral.mint(address(liquidator), DEBT);

        vm.expectPartialRevert(Liquidator.SwapTooSmall.selector);
        liquidator.liquidateOver(order, swap);

        _resize(swap, DEBT * 2); // more than is seized: out of the gift
        vm.expectPartialRevert(Liquidator.ProfitTooSmall.selector);
        liquidator.liquidateOver(order, swap);
    }

    function testTheLoanIsPaidBackThoughLessWasInsistedOn() public {
        (Liquidator.Order memory order, Liquidator.Swap memory swap) = _house(_venue(0.99e18));
        swap.minBought = 0;

        vm.expectPartialRevert(Liquidator.SwapTooSmall.selector);
        liquidator.liquidateOver(order, swap);
    }

    function testLessThanTheLeastIsRefused(uint96 more) public {
        (Liquidator.Order memory order, Liquidator.Swap memory swap) = _house(_venue(1e18));
        swap.minBought = SOLD + 1 + more;

        vm.expectRevert(abi.encodeWithSelector(Liquidator.SwapTooSmall.selector, SOLD, swap.minBought));
        liquidator.liquidateOver(order, swap);

        swap.minBought = SOLD;
        liquidator.liquidateOver(order, swap);
    }

    function testTooLittleProfitIsRefused() public {
        (Liquidator.Order memory order, Liquidator.Swap memory swap) = _house(_venue(1.01e18));
        order.minProfit = DEBT * 105 / 100 - SOLD + 1;

        vm.expectPartialRevert(Liquidator.ProfitTooSmall.selector);
        liquidator.liquidateOver(order, swap);
    }

    // --- coming back ----------------------------------------------------------------------------

    function testWhoeverComesBackFindsEveryDoorShut() public {
        HostileVenue venue = HostileVenue(payable(_hostile(HostileVenue.Fault.COMES_BACK)));
        (Liquidator.Order memory order, Liquidator.Swap memory swap) = _house(address(venue));
        Liquidator.Order memory second = abi.decode(abi.encode(order), (Liquidator.Order));
        second.intent = keccak256("second");
        vm.prank(OWNER);
        liquidator.setCaller(address(venue), true); // even whoever may call
        Liquidator.Order[] memory orders = new Liquidator.Order[](1);
        orders[0] = second;
        bytes[] memory doors = new bytes[](9);
        doors[0] = abi.encodeCall(Liquidator.liquidate, (second));
        doors[1] = abi.encodeCall(Liquidator.liquidateOver, (second, swap));
        doors[2] = abi.encodeCall(Liquidator.liquidateEach, (orders, new uint256[](1)));
        doors[3] = abi.encodeCall(Liquidator.liquidateAlone, (second));
        doors[4] = abi.encodeCall(Liquidator.uniswapV3SwapCallback, (1, -1, abi.encode(second, 0, 1)));
        doors[5] = abi.encodeCall(
            Liquidator.executeOperation, (address(debt), 1, 1, address(liquidator), abi.encode(second, swap))
        );
        doors[6] = abi.encodeCall(Liquidator.rescue, (address(collateral), 1));
        doors[7] = abi.encodeCall(Liquidator.setTarget, (address(collateral), true));
        doors[8] = abi.encodeCall(Liquidator.setSpender, (address(venue), true));
        for (uint256 i = 0; i < doors.length; ++i) {
            venue.set(address(liquidator), doors[i]);
            _resize(swap, SOLD / 10 + 1);
            (order.intent, order.amount, order.minProfit) = (bytes32(i), DEBT / 10, 0);

            liquidator.liquidateOver(order, swap);

            require(!venue.open() && venue.said().length != 0, text(i));
            _clean(swap);
        }
    }

    /// In the middle of the sale the market has called already, and would call once more.
    function testALoanThatTheTargetTakesForItIsRefused() public {
        HostileVenue venue = HostileVenue(payable(_hostile(HostileVenue.Fault.COMES_BACK)));
        (Liquidator.Order memory order, Liquidator.Swap memory swap) = _house(address(venue));
        venue.set(
            address(market),
            abi.encodeCall(
                Market.flashLoanSimple, (address(liquidator), address(debt), 1e18, abi.encode(order, swap), 0)
            )
        );

        liquidator.liquidateOver(order, swap);

        require(bytes4(venue.said()) == Liquidator.CallbackNotExpected.selector, "taken");
        _clean(swap);
    }

    function testHooksFindEveryDoorShut() public {
        HookCoin hooked = new HookCoin();
        collateral = hooked;
        (Liquidator.Order memory order, Liquidator.Swap memory swap) = _house(_venue(1e18));
        Liquidator.Order memory second = abi.decode(abi.encode(order), (Liquidator.Order));
        second.intent = keccak256("second");
        vm.prank(OWNER);
        liquidator.setCaller(address(hooked), true);
        hooked.hook(address(liquidator), abi.encodeCall(Liquidator.liquidateOver, (second, swap)));

        liquidator.liquidateOver(order, swap);

        require(bytes4(hooked.said()) == Liquidator.AlreadyRunning.selector, "ran within itself");
        _clean(swap);
    }

    function testTokensThatTakeAFeeAreRefused() public {
        debt = new FeeCoin();
        (Liquidator.Order memory order, Liquidator.Swap memory swap) = _house(_venue(1e18));

        try liquidator.liquidateOver(order, swap) {
            revert("was taken");
        } catch {}

        same(market.owes(BORROWER, address(debt)), DEBT, "debt");
    }

    // --- helpers --------------------------------------------------------------------------------

    function _fails(HostileVenue.Fault fault, bytes4 reason) private {
        (Liquidator.Order memory order, Liquidator.Swap memory swap) = _house(_hostile(fault));

        vm.expectPartialRevert(reason);
        liquidator.liquidateOver(order, swap);

        same(market.owes(BORROWER, address(debt)), DEBT, "debt");
        same(debt.balanceOf(OWNER) + collateral.balanceOf(OWNER), 0, "owner");
        _clean(swap);
    }

    function _liquidator(address[] memory listed) private returns (Liquidator) {
        address[] memory callers = new address[](1);
        callers[0] = address(this);
        address[] memory pools = new address[](1);
        pools[0] = address(market);
        return new Liquidator(OWNER, address(factory), callers, pools, listed, listed);
    }

    function _venue(uint256 price) private returns (address venue) {
        venue = address(new Venue(price));
        _list(venue, venue);
    }

    function _hostile(HostileVenue.Fault fault) private returns (address venue) {
        venue = address(new HostileVenue(fault));
        _list(venue, venue);
    }

    function _list(address target, address spender) private {
        vm.prank(OWNER);
        liquidator.setTarget(target, true);
        vm.prank(OWNER);
        liquidator.setSpender(spender, true);
    }

    /// A borrower who owes, a market and a venue with money.
    function _house(address venue)
        private
        returns (Liquidator.Order memory order, Liquidator.Swap memory swap)
    {
        market.borrow(address(debt), BORROWER, DEBT);
        collateral.mint(address(market), DEBT * 3);
        debt.mint(address(market), DEBT * 3);
        debt.mint(venue, DEBT * 3);
        order = Liquidator.Order({
            intent: keccak256("first"),
            pool: address(market),
            account: BORROWER,
            collateral: address(collateral),
            debt: address(debt),
            debtToken: address(0),
            amount: DEBT,
            minProfit: DEBT / 100,
            deadline: block.timestamp + 180,
            path: ""
        });
        swap = Liquidator.Swap({
            target: venue,
            spender: venue,
            sold: SOLD,
            minBought: OWED,
            data: abi.encodeCall(Venue.swap, (address(collateral), address(debt), SOLD))
        });
    }

    /// Sells `amount`, and insists on what the loan needs only.
    function _resize(Liquidator.Swap memory swap, uint256 amount) private view {
        (swap.sold, swap.minBought) = (amount, 0);
        swap.data = abi.encodeCall(Venue.swap, (address(collateral), address(debt), amount));
    }

    function _clean(Liquidator.Swap memory swap) private view {
        Coin[2] memory tokens = [collateral, debt];
        for (uint256 i = 0; i < 2; ++i) {
            same(tokens[i].balanceOf(address(liquidator)), 0, "balance kept");
            same(tokens[i].allowance(address(liquidator), address(market)), 0, "allowance left");
            same(tokens[i].allowance(address(liquidator), swap.spender), 0, "allowance left to the spender");
        }
    }
}
