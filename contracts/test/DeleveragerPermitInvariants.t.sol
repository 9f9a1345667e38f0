// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

import {Deleverager} from "../src/Deleverager.sol";
import {Base, IAnyToken, IFactory} from "./Base.sol";
import {Keys} from "./DeleveragerPermit.t.sol";
import {Market} from "./Market.sol";
import {Coin, PermitCoin} from "./Zoo.sol";

/// Signs, hands in and uses permits in any order; forge chooses.
contract Signers is Base {
    Keys internal constant keys = Keys(address(vm));
    uint24 internal constant FEE = 3_000;
    uint256 internal constant SUPPLIED = 10_007e18;
    uint256 internal constant OWED = 7_777e18;
    address internal constant OPERATOR = address(0x0FE8A);

    Deleverager public immutable deleverager;
    Market public immutable market;
    PermitCoin public immutable aToken;
    address public immutable collateral;
    address public immutable debt;
    address[2] public accounts;
    /// What each signed away with the permits that its token took, less what was taken of it.
    mapping(address => uint256) public most;
    mapping(address => Deleverager.Permit) internal last;
    uint256 public taken;
    /// What went wrong first: a revert in here would only be a walk not taken.
    string public wrong;

    IFactory internal immutable factory;

    constructor() {
        factory = uniswap();
        market = new Market();
        deleverager = new Deleverager(address(factory));
        aToken = new PermitCoin();
        (collateral, debt) = (address(new Coin()), address(new Coin()));
    }

    function open() external {
        exchange(factory, collateral, debt, FEE, 1e26);
        market.issue(collateral, aToken);
        IAnyToken(collateral).mint(address(market), 1e30);
        for (uint256 i = 0; i < 2; ++i) {
            accounts[i] = keys.addr(1 + i);
            market.supply(collateral, accounts[i], SUPPLIED);
            market.borrow(debt, accounts[i], OWED);
            vm.prank(accounts[i]);
            deleverager.allow(
                OPERATOR,
                address(market),
                Deleverager.Mandate(type(uint40).max, 100, uint64(9 * WAD), uint128(OWED), uint128(OWED))
            );
        }
    }

    /// A new permit with the nonce of now or, one time in four, the next one.
    function sign(uint8 who, uint96 value, uint16 lasts) public {
        address account = accounts[who % 2];
        uint256 signed = uint256(value) % SUPPLIED;
        uint256 deadline = block.timestamp + lasts;
        uint256 nonce = aToken.nonces(account) + (lasts % 4 == 3 ? 1 : 0);
        bytes32 digest = aToken.digest(account, address(deleverager), signed, nonce, deadline);
        (uint8 v, bytes32 r, bytes32 s) = keys.sign(1 + who % 2, digest);
        last[account] = Deleverager.Permit(signed, deadline, v, r, s);
    }

    function pass(uint16 seconds_) external {
        vm.warp(block.timestamp + seconds_);
    }

    function handedInFirst(uint8 who) external {
        address account = accounts[who % 2];
        Deleverager.Permit memory permit = last[account];
        try aToken.permit(
            account, address(deleverager), permit.value, permit.deadline, permit.v, permit.r, permit.s
        ) {
            most[account] = permit.value;
        } catch {}
    }

    function byOperator(uint8 who, uint8 whose, uint96 repay, bytes32 intent, bool plain) public {
        _run(OPERATOR, who, whose, uint256(repay) % 800e18, intent, plain);
    }

    function byBorrower(uint8 who, uint8 whose, uint96 repay, bytes32 intent, bool plain) external {
        _run(accounts[who % 2], who, whose, uint256(repay) % OWED, intent, plain);
    }

    function byStranger(uint8 who, uint96 repay, bytes32 intent) external {
        Deleverager.Order memory order = _order(accounts[who % 2], uint256(repay) % OWED, intent);
        vm.prank(who % 3 == 0 ? address(0xBAD) : accounts[(uint256(who) + 1) % 2]);
        try deleverager.deleverageWithPermit(order, last[order.account]) {
            _wrong("a stranger's order was taken");
        } catch {}
    }

    /// `whose`: the permit may be another's.
    function _run(address sender, uint8 who, uint8 whose, uint256 repay, bytes32 intent, bool plain) private {
        Deleverager.Order memory order = _order(accounts[who % 2], repay, intent);
        Deleverager.Permit memory permit = last[accounts[(whose % 5 == 0 ? uint256(who) + 1 : who) % 2]];
        address other = accounts[(uint256(who) + 1) % 2];
        uint256 held = aToken.balanceOf(order.account);
        uint256 others = aToken.balanceOf(other) + aToken.allowance(other, address(deleverager)) * 3;
        uint256 nonce = aToken.nonces(order.account);
        vm.prank(sender);
        if (plain) {
            try deleverager.deleverage(order) {
                ++taken;
            } catch {}
        } else {
            try deleverager.deleverageWithPermit(order, permit) {
                ++taken;
            } catch {}
        }
        if (aToken.nonces(order.account) != nonce) most[order.account] = permit.value;
        uint256 gone = held - aToken.balanceOf(order.account);
        if (gone > most[order.account]) return _wrong("more taken than was signed");
        most[order.account] -= gone;
        if (plain && aToken.nonces(order.account) != nonce) _wrong("a permit came from nowhere");
        if (others != aToken.balanceOf(other) + aToken.allowance(other, address(deleverager)) * 3) {
            _wrong("another's was touched");
        }
    }

    function _order(address account, uint256 repay, bytes32 intent) private view returns (Deleverager.Order memory) {
        return Deleverager.Order({
            intent: bytes32(uint256(intent) % 1024),
            pool: address(market),
            account: account,
            collateral: collateral,
            debt: debt,
            repay: repay,
            maxSold: type(uint128).max,
            minHealth: 0,
            deadline: block.timestamp,
            path: path(collateral, FEE, debt)
        });
    }

    function _wrong(string memory what) private {
        if (bytes(wrong).length == 0) wrong = what;
    }
}

contract DeleveragerPermitInvariants is Base {
    Signers internal signers;

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    function setUp() public {
        vm.warp(1_790_000_000);
        signers = new Signers();
        signers.open();
    }

    function targetContracts() public view returns (address[] memory found) {
        found = new address[](1);
        found[0] = address(signers);
    }

    /// The steps of the walk.
    function targetSelectors() public view returns (FuzzSelector[] memory found) {
        found = new FuzzSelector[](1);
        found[0].addr = address(signers);
        found[0].selectors = new bytes4[](6);
        found[0].selectors[0] = Signers.sign.selector;
        found[0].selectors[1] = Signers.pass.selector;
        found[0].selectors[2] = Signers.handedInFirst.selector;
        found[0].selectors[3] = Signers.byOperator.selector;
        found[0].selectors[4] = Signers.byBorrower.selector;
        found[0].selectors[5] = Signers.byStranger.selector;
    }

    /// What stands is what was signed less what was used, to the unit, and nothing else went wrong.
    function invariant_noMoreStandsThanWasSigned() public view {
        address spender = address(signers.deleverager());
        for (uint256 i = 0; i < 2; ++i) {
            address account = signers.accounts(i);
            same(signers.aToken().allowance(account, spender), signers.most(account), "allowance");
        }
        same(signers.aToken().balanceOf(spender), 0, "aTokens kept");
        same(IAnyToken(signers.debt()).balanceOf(spender), 0, "kept");
        same(IAnyToken(signers.debt()).allowance(spender, address(signers.market())), 0, "allowed");
        require(bytes(signers.wrong()).length == 0, signers.wrong());
    }

    /// A walk that only meets refusals proves nothing.
    function testAWalkCanSucceed() public {
        signers.sign(0, 3_000e18, 100);
        signers.byOperator(0, 1, 700e18, bytes32(uint256(1)), false);
        signers.byOperator(0, 1, 700e18, bytes32(uint256(2)), true);
        signers.sign(1, 3_000e18, 100);
        signers.handedInFirst(1);
        signers.byOperator(1, 1, 700e18, bytes32(uint256(1)), false);

        same(signers.taken(), 3, "taken");
        require(bytes(signers.wrong()).length == 0, signers.wrong());
    }
}
