// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

import {Liquidator} from "../src/Liquidator.sol";
import {Base, IAnyToken, IFactory} from "./Base.sol";
import {Market} from "./Market.sol";
import {
    BlacklistCoin,
    BombCoin,
    BurningCoin,
    Coin,
    FalseCoin,
    FeeCoin,
    HookCoin,
    LoudCoin,
    LyingCoin,
    RebasingCoin,
    SilentCoin
} from "./Zoo.sol";

interface VmMore {
    function expectEmit(bool, bool, bool, bool, address emitter) external;
}

/// Several orders in one transaction: each by itself.
contract LiquidateEachTest is Base {
    event Failed(bytes32 indexed intent, address indexed account, bytes reason);

    address internal constant OWNER = address(0xA11CE);
    uint24 internal constant FEE = 3_000;
    uint256 internal constant DEBT = 10_007e18;
    uint256 internal constant GAS = 2_000_000;

    IFactory internal factory;
    Market internal market;
    Liquidator internal liquidator;

    function setUp() public {
        factory = uniswap();
        market = new Market();
        address[] memory callers = new address[](1);
        callers[0] = address(this);
        address[] memory pools = new address[](1);
        pools[0] = address(market);
        liquidator = new Liquidator(OWNER, address(factory), callers, pools, new address[](0), new address[](0));
        vm.warp(1_790_000_000);
    }

    // --- what it is for -----------------------------------------------------------------------

    function testEachProfitGoesToTheOwnerAndNothingStays() public {
        Liquidator.Order[] memory orders = _houses(5);

        Liquidator.Result[] memory results = liquidator.liquidateEach(orders, _limits(5));

        for (uint256 i = 0; i < 5; ++i) {
            require(results[i].done && results[i].reason.length == 0, "done");
            require(results[i].profit > DEBT * 46 / 1_000, text(results[i].profit));
            require(results[i].gas > 100_000 && results[i].gas < GAS, text(results[i].gas));
            same(IAnyToken(orders[i].collateral).balanceOf(OWNER), results[i].profit, "owner");
            require(liquidator.used(orders[i].intent), "used");
            _clean(orders[i]);
        }
    }

    /// The second finds the pool as the first one left it, and insists on its own profit.
    function testOneMovesThePoolForTheNext() public {
        Liquidator.Order[] memory orders = new Liquidator.Order[](3);
        (Coin a, Coin b) = (new Coin(), new Coin());
        exchange(factory, address(a), address(b), FEE, 1e25);
        for (uint256 i = 0; i < 3; ++i) {
            orders[i] = _order(address(a), address(b), i);
        }
        // 0.1 % of a depth of 1e25 is what one takes: the price is about 0.2 % worse for the next
        orders[1].minProfit = DEBT * 46 / 1_000;

        Liquidator.Result[] memory results = liquidator.liquidateEach(orders, _limits(3));

        require(results[0].done && results[2].done && !results[1].done, "only the second is too dear");
        same(uint32(bytes4(results[1].reason)), uint32(Liquidator.ProfitTooSmall.selector), "reason");
        require(results[2].profit < results[0].profit, "the pool has moved");
        same(a.balanceOf(OWNER), results[0].profit + results[2].profit, "owner");
        _clean(orders[0]);
    }

    // --- isolation ----------------------------------------------------------------------------

    function testWhatSomebodyElseTookStopsNobodyAndIsSaid() public {
        Liquidator.Order[] memory orders = _houses(5);
        market.borrow(orders[2].debt, orders[2].account, 0);
        Coin(orders[2].debt).mint(address(this), DEBT);
        Coin(orders[2].debt).approve(address(market), DEBT);
        market.repay(orders[2].debt, DEBT, 2, orders[2].account);

        bytes memory why = abi.encodeWithSignature("Error(string)", "owes nothing");
        VmMore(address(vm)).expectEmit(true, true, false, true, address(liquidator));
        emit Failed(orders[2].intent, orders[2].account, why);
        Liquidator.Result[] memory results = liquidator.liquidateEach(orders, _limits(5));

        for (uint256 i = 0; i < 5; ++i) {
            require(results[i].done == (i != 2), "only the third");
        }
        require(!liquidator.used(orders[2].intent), "it may be given again");
        same(IAnyToken(orders[2].collateral).balanceOf(OWNER), 0, "nothing of it");
        _clean(orders[2]);
    }

    function testOneOrderTwiceRunsOnce() public {
        Liquidator.Order[] memory orders = _houses(2);
        market.borrow(orders[0].debt, orders[0].account, DEBT);
        orders[1] = orders[0];

        Liquidator.Result[] memory results = liquidator.liquidateEach(orders, _limits(2));

        require(results[0].done && !results[1].done, "twice");
        same(uint32(bytes4(results[1].reason)), uint32(Liquidator.IntentUsed.selector), "reason");
        same(market.owes(orders[0].account, orders[0].debt), DEBT, "taken once");
    }

    function testEveryGuardHoldsForEachOrder() public {
        Liquidator.Order[] memory orders = _houses(5);
        orders[0].deadline = block.timestamp - 1;
        orders[1].pool = address(new Market());
        orders[2].minProfit = DEBT;
        orders[3].path = path(orders[3].debt, FEE, orders[3].collateral);

        Liquidator.Result[] memory results = liquidator.liquidateEach(orders, _limits(5));

        same(uint32(bytes4(results[0].reason)), uint32(Liquidator.DeadlinePassed.selector), "deadline");
        same(uint32(bytes4(results[1].reason)), uint32(Liquidator.PoolNotAllowed.selector), "market");
        same(uint32(bytes4(results[2].reason)), uint32(Liquidator.ProfitTooSmall.selector), "profit");
        same(uint32(bytes4(results[3].reason)), uint32(Liquidator.BadPath.selector), "path");
        require(results[4].done, "the last");
        for (uint256 i = 0; i < 5; ++i) {
            require(liquidator.used(orders[i].intent) == (i == 4), "used");
        }
    }

    function testNothingDoneIsARevert() public {
        Liquidator.Order[] memory orders = _houses(2);
        (orders[0].minProfit, orders[1].minProfit) = (DEBT, DEBT);

        vm.expectRevert(abi.encodeWithSelector(Liquidator.NothingDone.selector));
        liquidator.liquidateEach(orders, _limits(2));
        vm.expectRevert(abi.encodeWithSelector(Liquidator.NothingDone.selector));
        liquidator.liquidateEach(new Liquidator.Order[](0), new uint256[](0));
    }

    function testATokenThatBurnsEverythingBurnsItsOwnShare() public {
        Liquidator.Order[] memory orders = _houses(4);
        BurningCoin coin = new BurningCoin();
        orders[1] = _house(address(coin), address(new Coin()), 1);
        coin.burnFrom(address(liquidator));

        uint256 before = gasleft();
        Liquidator.Result[] memory results = liquidator.liquidateEach{gas: 4 * GAS}(orders, _limits(4));

        require(results[0].done && results[2].done && results[3].done && !results[1].done, "the others");
        require(results[1].gas <= GAS + 10_000, text(results[1].gas));
        require(before - gasleft() < 4 * GAS, "more than was given");
        _clean(orders[1]);
    }

    function testAReasonOfMegabytesIsCut() public {
        Liquidator.Order[] memory orders = _houses(3);
        LoudCoin coin = new LoudCoin();
        orders[1] = _house(address(coin), address(new Coin()), 1);
        coin.shout(address(liquidator));

        uint256 before = gasleft();
        Liquidator.Result[] memory results = liquidator.liquidateEach{gas: 4 * GAS}(orders, _limits(3));

        require(results[0].done && results[2].done && !results[1].done, "the others");
        same(results[1].reason.length, 256, "kept of it");
        require(before - gasleft() < 3 * GAS, "it was paid for by the others");
    }

    /// Whatever the neighbours are made of, an honest order gets what it would have had by itself.
    function testTheZooIsNobodysNeighbour(uint256 seed) public {
        Liquidator.Order[] memory orders = new Liquidator.Order[](4);
        uint256 honest = seed % 4;
        for (uint256 i = 0; i < 4; ++i) {
            uint256 pick = uint256(keccak256(abi.encode(seed, i)));
            if (i == honest) orders[i] = _house(address(new Coin()), address(new Coin()), i);
            else if (pick % 2 == 0) orders[i] = _house(_beast(pick / 2), address(new Coin()), i);
            else orders[i] = _house(address(new Coin()), _beast(pick / 2), i);
        }

        Liquidator.Result[] memory results = liquidator.liquidateEach(orders, _limits(4));

        require(results[honest].done, "the honest one");
        // the same pool, the same debt: 5 % less 0.3 % and the price that it moves itself
        require(results[honest].profit > DEBT * 46 / 1_000 && results[honest].profit < DEBT * 47 / 1_000, "profit");
        same(IAnyToken(orders[honest].collateral).balanceOf(OWNER), results[honest].profit, "owner");
        for (uint256 i = 0; i < 4; ++i) {
            if (results[i].done) continue;
            require(!liquidator.used(orders[i].intent), "used though it failed");
            _clean(orders[i]);
        }
        _clean(orders[honest]);
    }

    // --- who, and from within -----------------------------------------------------------------

    function testOnlyCallersMayAndOnlyItselfMayOne(address sender) public {
        vm.assume(sender != address(this) && sender != address(liquidator));
        Liquidator.Order[] memory orders = _houses(2);

        vm.prank(sender);
        vm.expectRevert(abi.encodeWithSelector(Liquidator.CallerNotAllowed.selector, sender));
        liquidator.liquidateEach(orders, _limits(2));
        vm.prank(sender);
        vm.expectRevert(abi.encodeWithSelector(Liquidator.NotBySelf.selector, sender));
        liquidator.liquidateAlone(orders[0]);
        vm.expectRevert(abi.encodeWithSelector(Liquidator.NotBySelf.selector, address(this)));
        liquidator.liquidateAlone(orders[0]);
    }

    function testEveryOrderHasItsLimit() public {
        Liquidator.Order[] memory orders = _houses(2);

        vm.expectRevert(abi.encodeWithSelector(Liquidator.GasLimitsMissing.selector, 2, 1));
        liquidator.liquidateEach(orders, _limits(1));
    }

    function testAnOrderThatIsShortOfGasFailsByItself() public {
        Liquidator.Order[] memory orders = _houses(3);
        uint256[] memory limits = _limits(3);
        limits[1] = 60_000;

        Liquidator.Result[] memory results = liquidator.liquidateEach(orders, limits);

        require(results[0].done && results[2].done && !results[1].done, "the others");
        _clean(orders[1]);
    }

    /// A token that may call, in the middle of one order of several: it finds every door shut.
    function testHooksDoNotRunWithinSeveral() public {
        HookCoin coin = new HookCoin();
        vm.prank(OWNER);
        liquidator.setCaller(address(coin), true);
        Liquidator.Order[] memory second = _houses(1);
        second[0].intent = keccak256("within");
        bytes[] memory doors = new bytes[](3);
        doors[0] = abi.encodeCall(Liquidator.liquidateEach, (second, _limits(1)));
        doors[1] = abi.encodeCall(Liquidator.liquidate, (second[0]));
        doors[2] = abi.encodeCall(Liquidator.liquidateAlone, (second[0]));
        for (uint256 i = 0; i < 3; ++i) {
            Liquidator.Order[] memory orders = new Liquidator.Order[](2);
            orders[0] = _house(address(coin), address(new Coin()), 10 + 2 * i);
            orders[1] = _house(address(new Coin()), address(new Coin()), 11 + 2 * i);
            coin.hook(address(liquidator), doors[i]);

            Liquidator.Result[] memory results = liquidator.liquidateEach(orders, _limits(2));

            require(results[0].done && results[1].done, "both");
            require(!coin.done() && !liquidator.used(second[0].intent), "a door was open");
            bytes4 said = i == 2 ? Liquidator.NotBySelf.selector : Liquidator.AlreadyRunning.selector;
            same(uint32(bytes4(coin.said())), uint32(said), "another reason");
            _clean(orders[0]);
        }
    }

    // --- gas ----------------------------------------------------------------------------------

    /// One market, one pair of tokens, one pool: what a storm looks like.
    function testGasOfFiveInOne() public {
        Liquidator.Order[] memory orders = new Liquidator.Order[](5);
        (Coin a, Coin b) = (new Coin(), new Coin());
        exchange(factory, address(a), address(b), FEE, 1e27);
        for (uint256 i = 0; i < 5; ++i) {
            orders[i] = _order(address(a), address(b), i);
        }

        liquidator.liquidateEach(orders, _limits(5));

        _clean(orders[0]);
    }

    // --- helpers ------------------------------------------------------------------------------

    function _beast(uint256 pick) private returns (address) {
        if (pick % 9 == 0) return address(new SilentCoin());
        if (pick % 9 == 1) return address(new FeeCoin());
        if (pick % 9 == 2) return address(new LyingCoin());
        if (pick % 9 == 3) return address(new RebasingCoin());
        if (pick % 9 == 4) return address(new BombCoin());
        if (pick % 9 == 5) {
            FalseCoin coin = new FalseCoin();
            coin.refuse(address(liquidator));
            return address(coin);
        }
        if (pick % 9 == 6) {
            BlacklistCoin coin = new BlacklistCoin();
            coin.list(OWNER);
            return address(coin);
        }
        if (pick % 9 == 7) {
            BurningCoin coin = new BurningCoin();
            coin.burnFrom(address(liquidator));
            return address(coin);
        }
        LoudCoin loud = new LoudCoin();
        loud.shout(address(liquidator));
        return address(loud);
    }

    function _houses(uint256 count) private returns (Liquidator.Order[] memory orders) {
        orders = new Liquidator.Order[](count);
        for (uint256 i = 0; i < count; ++i) {
            orders[i] = _house(address(new Coin()), address(new Coin()), i);
        }
    }

    function _house(address collateral, address debt, uint256 number)
        private
        returns (Liquidator.Order memory order)
    {
        exchange(factory, collateral, debt, FEE, 1e26);
        order = _order(collateral, debt, number);
    }

    function _order(address collateral, address debt, uint256 number)
        private
        returns (Liquidator.Order memory order)
    {
        address account = address(uint160(0xB0B000 + number));
        market.borrow(debt, account, DEBT);
        IAnyToken(collateral).mint(address(market), DEBT * 2);
        order = Liquidator.Order({
            intent: keccak256(abi.encode("order", number)),
            pool: address(market),
            account: account,
            collateral: collateral,
            debt: debt,
            debtToken: address(0),
            amount: DEBT,
            minProfit: DEBT / 100,
            deadline: block.timestamp + 180,
            path: path(collateral, FEE, debt)
        });
    }

    function _limits(uint256 count) private pure returns (uint256[] memory limits) {
        limits = new uint256[](count);
        for (uint256 i = 0; i < count; ++i) {
            limits[i] = GAS;
        }
    }

    function _clean(Liquidator.Order memory order) private view {
        address[2] memory tokens = [order.collateral, order.debt];
        for (uint256 i = 0; i < 2; ++i) {
            same(Coin(tokens[i]).allowance(address(liquidator), order.pool), 0, "allowance left");
            try IAnyToken(tokens[i]).balanceOf(address(liquidator)) returns (uint256 kept) {
                same(kept, 0, "balance kept");
            } catch {}
        }
    }
}
