// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

import {Deleverager} from "../src/Deleverager.sol";
import {IUniswapV3Factory} from "../src/lib/Interfaces.sol";
import {Base, IAnyToken, IFactory, IPoolActions} from "./Base.sol";
import {Market} from "./Market.sol";
import {Coin, SilentCoin} from "./Zoo.sol";

/// Does with the deleverager whatever borrowers, operators and strangers could, in any order; forge chooses.
contract Borrowers is Base {
    uint24 internal constant FEE = 3_000;
    uint256 internal constant SUPPLIED = 10_007e18;
    uint256 internal constant OWED = 7_777e18;

    Deleverager public immutable deleverager;
    Market public immutable market;
    address[3] public tokens;
    address[3] public accounts = [address(0xB0B0), address(0xB0B1), address(0xB0B2)];
    address internal constant OPERATOR = address(0x0FE8A);
    uint256 public taken;
    /// What went wrong first: a revert in here would only be a walk not taken.
    string public wrong;
    IFactory internal immutable factory;
    mapping(address => uint128) internal perDay;
    mapping(address => mapping(uint256 => uint256)) internal spent;

    constructor() {
        factory = uniswap();
        market = new Market();
        deleverager = new Deleverager(address(factory));
        tokens = [address(new Coin()), address(new SilentCoin()), address(new Coin())];
    }

    function open() external {
        for (uint256 i = 0; i < 3; ++i) {
            IAnyToken(tokens[i]).mint(address(market), 1e30);
            for (uint256 j = 0; j < i; ++j) exchange(factory, tokens[i], tokens[j], FEE, 1e26);
            market.supply(tokens[i], accounts[i], SUPPLIED);
            market.borrow(tokens[(i + 1) % 3], accounts[i], OWED);
        }
        for (uint256 i = 0; i < 3; ++i) {
            Coin aToken = market.aTokens(tokens[i]);
            vm.prank(accounts[i]);
            aToken.approve(address(deleverager), type(uint256).max);
        }
    }

    function allow(uint8 who, uint128 perTransaction, uint128 aDay, uint64 below, uint8 ended) external {
        address account = accounts[who % 3];
        perDay[account] = aDay % uint128(OWED / 8);
        Deleverager.Mandate memory mandate = Deleverager.Mandate({
            until: ended % 8 == 0 ? uint40(block.timestamp - 1) : uint40(block.timestamp + 30 days),
            maxCostBps: 100,
            below: below,
            perTransaction: perTransaction % uint128(OWED),
            perDay: perDay[account]
        });
        vm.prank(account);
        deleverager.allow(OPERATOR, address(market), mandate);
    }

    function pass(uint16 seconds_) external {
        vm.warp(block.timestamp + seconds_);
    }

    function byOperator(uint8 who, uint96 repay, uint96 most, bytes32 intent, uint8 sold) external {
        _run(OPERATOR, who, uint256(repay) % 400e18, most, intent, sold, 0);
    }

    function byBorrower(uint8 who, uint96 repay, uint96 most, bytes32 intent, uint8 sold, uint8 fault) external {
        _run(accounts[who % 3], who, uint256(repay) % (OWED * 2), most, intent, sold, fault);
    }

    function byStranger(uint8 who, uint8 as_, uint96 repay, bytes32 intent) external {
        address sender = as_ % 2 == 0 ? address(0xBAD) : accounts[(who % 3 + 1) % 3];
        Deleverager.Order memory order = _order(who, uint256(repay) % OWED, type(uint128).max, intent, who);
        vm.prank(sender);
        try deleverager.deleverage(order) {
            _wrong("a stranger's order was taken");
        } catch {}
    }

    /// Moves an exchange pool, by up to two percent of its depth, one time in four.
    function push(uint8 which, uint96 amount, bool down) external {
        if (amount % 4 != 0) return;
        IPoolActions(factory_().getPool(tokens[which % 3], tokens[(which + 1) % 3], FEE)).swap(
            address(1),
            down,
            int256(uint256(amount) % 2e24 + 1),
            down ? 4295128740 : 1461446703485210103287273052203988822378723970341,
            ""
        );
    }

    function factory_() public view returns (IUniswapV3Factory) {
        return deleverager.factory();
    }

    function uniswapV3SwapCallback(int256 amount0, int256 amount1, bytes calldata) external {
        (address token, int256 owed) = amount0 > 0
            ? (IPoolActions(msg.sender).token0(), amount0)
            : (IPoolActions(msg.sender).token1(), amount1);
        IAnyToken(token).mint(msg.sender, uint256(owed));
    }

    function callBack(address sender, int256 amount0, int256 amount1, bytes calldata data) external {
        vm.prank(sender);
        try deleverager.uniswapV3SwapCallback(amount0, amount1, data) {
            _wrong("called back");
        } catch {}
    }

    function _run(address sender, uint8 who, uint256 repay, uint256 most, bytes32 intent, uint8 sold, uint8 fault)
        private
    {
        market.become(Market.Fault(fault % 10 < 5 ? fault % 10 : 0));
        Deleverager.Order memory order = _order(who, repay, most, intent, sold);
        Look memory before = _look(order.account);
        vm.prank(sender);
        try deleverager.deleverage(order) {
            ++taken;
            _judge(order, before, _look(order.account), sender == OPERATOR);
        } catch {
            Look memory after_ = _look(order.account);
            if (after_.has != before.has || after_.owes != before.owes) _wrong("a refusal changed something");
        }
        market.become(Market.Fault.NONE);
    }

    struct Look {
        uint256 has;
        uint256 owes;
        uint256 health;
        uint256 others;
    }

    function _look(address account) private view returns (Look memory look) {
        (look.has, look.owes,,,, look.health) = market.getUserAccountData(account);
        look.others = _others(account);
    }

    function _judge(Deleverager.Order memory order, Look memory before, Look memory now_, bool operator) private {
        if (now_.health <= before.health) _wrong("worse than before");
        if (now_.owes >= before.owes) _wrong("nothing repaid");
        if (before.has - now_.has > order.maxSold + 1) _wrong("more sold than said");
        if (now_.others != before.others) _wrong("another's position changed");
        if (!operator) return;
        uint256 repaid = before.owes - now_.owes;
        if (before.has - now_.has > repaid + repaid / 100) _wrong("dearer than allowed");
        uint256 today = spent[order.account][block.timestamp / 1 days] += repaid;
        if (today > perDay[order.account]) _wrong("more than a day's amount");
    }

    function _others(address account) private view returns (uint256 sum) {
        for (uint256 i = 0; i < 3; ++i) {
            if (accounts[i] == account) continue;
            (uint256 has, uint256 owes,,,,) = market.getUserAccountData(accounts[i]);
            sum += has * 3 + owes * 5;
        }
    }

    function _order(uint8 who, uint256 repay, uint256 most, bytes32 intent, uint8 sold)
        private
        view
        returns (Deleverager.Order memory)
    {
        uint256 i = who % 3;
        address collateral = sold % 5 == 0 ? tokens[(i + 2) % 3] : tokens[i];
        address debt = tokens[(i + 1) % 3];
        return Deleverager.Order({
            intent: bytes32(uint256(intent) % 1024),
            pool: address(market),
            account: accounts[i],
            collateral: collateral,
            debt: debt,
            repay: repay,
            maxSold: most,
            minHealth: 0,
            deadline: block.timestamp,
            path: path(collateral, FEE, debt)
        });
    }

    function _wrong(string memory what) private {
        if (bytes(wrong).length == 0) wrong = what;
    }
}

contract DeleveragerInvariants is Base {
    Borrowers internal borrowers;

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    function setUp() public {
        vm.warp(1_790_000_000);
        borrowers = new Borrowers();
        borrowers.open();
    }

    function targetContracts() public view returns (address[] memory found) {
        found = new address[](1);
        found[0] = address(borrowers);
    }

    /// The steps of the walk.
    function targetSelectors() public view returns (FuzzSelector[] memory found) {
        found = new FuzzSelector[](1);
        found[0].addr = address(borrowers);
        found[0].selectors = new bytes4[](7);
        found[0].selectors[0] = Borrowers.allow.selector;
        found[0].selectors[1] = Borrowers.pass.selector;
        found[0].selectors[2] = Borrowers.byOperator.selector;
        found[0].selectors[3] = Borrowers.byBorrower.selector;
        found[0].selectors[4] = Borrowers.byStranger.selector;
        found[0].selectors[5] = Borrowers.callBack.selector;
        found[0].selectors[6] = Borrowers.push.selector;
    }

    /// Nothing is kept, no allowance stands, nobody else was touched and nobody is worse off.
    function invariant_nothingIsKeptAndNobodyWorse() public view {
        address deleverager = address(borrowers.deleverager());
        Market market = borrowers.market();
        for (uint256 i = 0; i < 3; ++i) {
            address token = borrowers.tokens(i);
            same(IAnyToken(token).balanceOf(deleverager), 0, "kept");
            same(IAnyToken(token).allowance(deleverager, address(market)), 0, "allowed");
            same(market.aTokens(token).balanceOf(deleverager), 0, "aTokens kept");
        }
        require(bytes(borrowers.wrong()).length == 0, borrowers.wrong());
    }

    /// A walk that only meets refusals proves nothing: most of many should not.
    function testAWalkCanSucceed() public {
        borrowers.byBorrower(0, 1_000e18, type(uint96).max, "", 1, 0);
        borrowers.allow(1, 1_000e18, 900e18, 2e18, 1);
        borrowers.byOperator(1, 500e18, type(uint96).max, "", 1);

        same(borrowers.taken(), 2, "taken");
        require(bytes(borrowers.wrong()).length == 0, borrowers.wrong());
    }
}
