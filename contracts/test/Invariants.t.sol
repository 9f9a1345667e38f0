// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

import {Liquidator} from "../src/Liquidator.sol";
import {Base, IAnyToken, IFactory} from "./Base.sol";
import {Market} from "./Market.sol";
import {HostileVenue, Venue} from "./Venues.sol";
import {BlacklistCoin, Coin, HookCoin, SilentCoin} from "./Zoo.sol";

/// Does with the liquidator whatever anybody could, in any order; forge chooses.
contract Anybody is Base {
    address internal constant OWNER = address(0xA11CE);
    uint24 internal constant FEE = 3_000;

    IFactory internal immutable factory;
    Liquidator public immutable liquidator;
    Market public immutable market;
    Market public immutable other;
    address[4] public tokens;
    /// What was sent there by mistake and is there still, by token.
    mapping(address => uint256) public gifts;
    /// What the owner had at the last look, by token.
    mapping(address => uint256) public owned;
    /// Where else collateral is sold: a fair one, one that takes all, one that takes less than it may, one that comes
    /// back, and one that is listed nowhere.
    address[5] public venues;
    uint256 public taken;
    /// What went wrong first: a revert in here would only be a walk not taken.
    string public wrong;
    mapping(bytes32 => bool) internal ran;

    constructor() {
        factory = uniswap();
        (market, other) = (new Market(), new Market());
        tokens = [address(new Coin()), address(new SilentCoin()), address(new HookCoin()), address(new BlacklistCoin())];
        address[] memory callers = new address[](1);
        callers[0] = address(this);
        address[] memory pools = new address[](1);
        pools[0] = address(market);
        address[] memory listed = new address[](4);
        listed[0] = address(new Venue(1e18));
        listed[1] = address(new HostileVenue(HostileVenue.Fault.TAKES_ALL));
        listed[2] = address(new HostileVenue(HostileVenue.Fault.TAKES_LESS));
        listed[3] = address(new HostileVenue(HostileVenue.Fault.COMES_BACK));
        for (uint256 i = 0; i < 4; ++i) venues[i] = listed[i];
        venues[4] = address(new Venue(1e18));
        liquidator = new Liquidator(OWNER, address(factory), callers, pools, listed, listed);
    }

    /// Once, by whoever made it: pools are filled in a callback, which a constructor cannot take.
    function open() external {
        if (taken != 0 || IAnyToken(tokens[0]).balanceOf(address(market)) != 0) return;
        for (uint256 i = 0; i < 4; ++i) {
            IAnyToken(tokens[i]).mint(address(market), 1e30);
            for (uint256 j = 0; j < 5; ++j) IAnyToken(tokens[i]).mint(venues[j], 1e30);
            for (uint256 j = 0; j < i; ++j) exchange(factory, tokens[i], tokens[j], FEE, 1e24);
        }
    }

    function liquidate(uint256 seed, uint96 amount, uint96 least, uint16 intent, uint8 fault, uint8 hops) external {
        address collateral = tokens[seed % 4];
        address debt = tokens[seed / 4 % 4];
        address hub = tokens[seed / 16 % 4];
        market.borrow(debt, address(0xB0B0), uint256(amount) % 1e20 + 1e6);
        market.become(Market.Fault(fault % 8 < 5 ? fault % 8 : 0));
        HookCoin(tokens[2]).hook(
            address(liquidator),
            abi.encodeCall(Liquidator.uniswapV3SwapCallback, (int256(uint256(amount)), -1, abi.encode(seed)))
        );
        bytes memory way = path(collateral, FEE, debt);
        if (hops % 3 == 1) way = path(collateral, FEE, hub, FEE, debt);
        if (collateral == debt && hops % 3 != 2) way = "";
        Liquidator.Order memory order = Liquidator.Order({
            intent: bytes32(uint256(intent)),
            pool: seed % 7 == 0 ? address(other) : address(market),
            account: address(0xB0B0),
            collateral: collateral,
            debt: debt,
            debtToken: address(0),
            amount: uint256(amount) % 1e20 + 1e6,
            minProfit: least % 1e20,
            deadline: block.timestamp + (seed % 11 == 0 ? 0 : 180),
            path: way
        });
        uint256 gift = gifts[collateral];
        uint256 before = IAnyToken(collateral).balanceOf(OWNER);
        try liquidator.liquidate(order) returns (uint256 profit) {
            ++taken;
            if (ran[order.intent]) _wrong("an intent ran twice");
            ran[order.intent] = true;
            if (order.pool != address(market)) _wrong("another market");
            if (profit < order.minProfit) _wrong("less than the minimum");
            if (IAnyToken(collateral).balanceOf(OWNER) != before + profit + gift) _wrong("not with the owner");
            (gifts[collateral], gifts[debt]) = (0, 0);
        } catch {
            bool fair = order.pool == address(market) && market.fault() == Market.Fault.NONE
                && order.minProfit < order.amount / 100 && !ran[order.intent] && collateral != debt && hops % 3 != 1;
            if (fair) _wrong("a fair order was refused");
        }
        market.become(Market.Fault.NONE);
    }

    /// Over whatever venue, with whatever of it true: a sale that brings too little undoes everything.
    function liquidateOver(uint256 seed, uint96 amount, uint96 sold, uint96 least, uint16 intent, uint8 fault) external {
        Liquidator.Order memory order = _order(seed, uint256(amount) % 1e20 + 1e6, bytes32(uint256(intent)));
        order.path = "";
        order.minProfit = least % 1e18;
        market.become(Market.Fault(fault % 8 < 5 ? fault % 8 : 0));
        address venue = venues[seed / 64 % 5];
        Liquidator.Swap memory swap = Liquidator.Swap({
            target: venue,
            spender: seed % 5 == 0 ? venues[seed / 1024 % 5] : venue,
            sold: order.amount * (990 + uint256(sold) % 60) / 1_000,
            minBought: least % 3 == 0 ? order.amount : 0,
            data: ""
        });
        swap.data = abi.encodeCall(Venue.swap, (order.collateral, order.debt, swap.sold));
        if (seed % 3 == 0) {
            bytes memory again = abi.encodeCall(Liquidator.liquidateOver, (order, swap));
            HostileVenue(payable(venues[3])).set(address(liquidator), again);
        }
        uint256[4] memory was = [
            gifts[order.collateral],
            gifts[order.debt],
            IAnyToken(order.collateral).balanceOf(OWNER),
            IAnyToken(order.debt).balanceOf(OWNER)
        ];
        try liquidator.liquidateOver(order, swap) returns (uint256 profit, uint256 surplus) {
            ++taken;
            if (ran[order.intent]) _wrong("an intent ran twice");
            ran[order.intent] = true;
            if (profit < order.minProfit) _wrong("less than the minimum");
            if (venue == venues[4] || swap.spender == venues[4]) _wrong("a venue that is not listed");
            if (IAnyToken(order.collateral).balanceOf(OWNER) != was[2] + profit + was[0]) _wrong("not with the owner");
            if (IAnyToken(order.debt).balanceOf(OWNER) != was[3] + surplus + was[1]) _wrong("not with the owner");
            (gifts[order.collateral], gifts[order.debt]) = (0, 0);
        } catch {
            bool fair = venue == venues[0] && swap.spender == venue && market.fault() == Market.Fault.NONE
                && swap.sold >= order.amount * 1_001 / 1_000 && order.minProfit == 0 && !ran[order.intent];
            if (fair) _wrong("a fair order was refused");
        }
        if (IAnyToken(order.collateral).allowance(address(liquidator), swap.spender) != 0) _wrong("still allowed");
        market.become(Market.Fault.NONE);
    }

    /// Two orders of one pair in one transaction, the second perhaps the first again: each for itself.
    function liquidateEach(uint256 seed, uint96 amount, uint96 least, uint16 intent, uint8 fault, uint24 limit)
        external
    {
        Liquidator.Order[] memory orders = new Liquidator.Order[](2);
        uint256[] memory limits = new uint256[](2);
        for (uint256 i = 0; i < 2; ++i) {
            orders[i] = _order(seed, uint256(amount) % 1e20 + 1e6, bytes32(uint256(intent) + (seed / 64 + i) % 2 * i));
            orders[i].minProfit = i == 0 ? least % 1e20 : 0;
            limits[i] = i == 0 ? limit : 3_000_000;
        }
        market.become(Market.Fault(fault % 8 < 5 ? fault % 8 : 0));
        address collateral = orders[0].collateral;
        uint256 gift = gifts[collateral];
        uint256 before = IAnyToken(collateral).balanceOf(OWNER);
        try liquidator.liquidateEach(orders, limits) returns (Liquidator.Result[] memory results) {
            uint256 sum;
            for (uint256 i = 0; i < 2; ++i) {
                if (!results[i].done) continue;
                ++taken;
                if (ran[orders[i].intent]) _wrong("an intent ran twice");
                ran[orders[i].intent] = true;
                if (results[i].profit < orders[i].minProfit) _wrong("less than the minimum");
                sum += results[i].profit;
            }
            if (IAnyToken(collateral).balanceOf(OWNER) != before + sum + gift) _wrong("not with the owner");
            (gifts[collateral], gifts[orders[0].debt]) = (0, 0);
        } catch {
            bool fair = market.fault() == Market.Fault.NONE && !ran[orders[1].intent];
            if (fair) _wrong("a fair order was refused for its neighbour");
        }
        market.become(Market.Fault.NONE);
    }

    function _order(uint256 seed, uint256 amount, bytes32 intent) private returns (Liquidator.Order memory order) {
        address collateral = tokens[seed % 4];
        address debt = tokens[(seed % 4 + 1 + seed / 4 % 3) % 4];
        market.borrow(debt, address(0xB0B0), amount);
        order = Liquidator.Order({
            intent: intent,
            pool: address(market),
            account: address(0xB0B0),
            collateral: collateral,
            debt: debt,
            debtToken: address(0),
            amount: amount,
            minProfit: 0,
            deadline: block.timestamp + 180,
            path: path(collateral, FEE, debt)
        });
    }

    function _wrong(string memory what) private {
        if (bytes(wrong).length == 0) wrong = what;
    }

    function give(uint256 which, uint96 amount) external {
        IAnyToken(tokens[which % 4]).mint(address(liquidator), amount);
        gifts[tokens[which % 4]] += amount;
    }

    function rescue(uint256 which, uint96 amount, address sender) external {
        vm.prank(sender);
        try liquidator.rescue(tokens[which % 4], amount) {
            if (sender != OWNER) _wrong("rescued by another");
            else gifts[tokens[which % 4]] -= amount;
        } catch {}
    }

    function rescueAsOwner(uint256 which, uint96 amount) external {
        vm.prank(OWNER);
        try liquidator.rescue(tokens[which % 4], amount) {
            gifts[tokens[which % 4]] -= amount;
        } catch {}
    }

    function callBack(address sender, int256 amount0, int256 amount1, bytes calldata data) external {
        vm.prank(sender);
        try liquidator.uniswapV3SwapCallback(amount0, amount1, data) {
            _wrong("called back");
        } catch {}
        vm.prank(sender);
        try liquidator.executeOperation(tokens[0], 1, 1, address(liquidator), data) {
            _wrong("called back");
        } catch {}
    }

    function meddle(address sender, address whom, bool allowed) external {
        if (sender == OWNER) return;
        vm.prank(sender);
        try liquidator.setCaller(whom, allowed) {
            _wrong("meddled");
        } catch {}
        vm.prank(sender);
        try liquidator.setPool(whom, allowed) {
            _wrong("meddled");
        } catch {}
        vm.prank(sender);
        try liquidator.setTarget(whom, allowed) {
            _wrong("meddled");
        } catch {}
        vm.prank(sender);
        try liquidator.setSpender(whom, allowed) {
            _wrong("meddled");
        } catch {}
    }
}

contract LiquidatorInvariants is Base {
    Anybody internal anybody;

    function setUp() public {
        vm.warp(1_790_000_000);
        anybody = new Anybody();
        anybody.open();
    }

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    function targetContracts() public view returns (address[] memory found) {
        found = new address[](1);
        found[0] = address(anybody);
    }

    /// The steps of the walk.
    function targetSelectors() public view returns (FuzzSelector[] memory found) {
        found = new FuzzSelector[](1);
        found[0].addr = address(anybody);
        found[0].selectors = new bytes4[](8);
        found[0].selectors[0] = Anybody.liquidate.selector;
        found[0].selectors[1] = Anybody.give.selector;
        found[0].selectors[2] = Anybody.rescue.selector;
        found[0].selectors[3] = Anybody.rescueAsOwner.selector;
        found[0].selectors[4] = Anybody.callBack.selector;
        found[0].selectors[5] = Anybody.meddle.selector;
        found[0].selectors[6] = Anybody.liquidateEach.selector;
        found[0].selectors[7] = Anybody.liquidateOver.selector;
    }

    /// Nothing is kept but what was sent there by mistake, and no allowance stands.
    function invariant_nothingIsKeptAndNothingAllowed() public view {
        address liquidator = address(anybody.liquidator());
        for (uint256 i = 0; i < 4; ++i) {
            address token = anybody.tokens(i);
            same(IAnyToken(token).balanceOf(liquidator), anybody.gifts(token), "kept");
            same(IAnyToken(token).allowance(liquidator, address(anybody.market())), 0, "allowed");
            same(IAnyToken(token).allowance(liquidator, address(anybody.other())), 0, "allowed");
        }
    }

    function invariant_nothingWentWrong() public view {
        require(bytes(anybody.wrong()).length == 0, anybody.wrong());
    }
}
