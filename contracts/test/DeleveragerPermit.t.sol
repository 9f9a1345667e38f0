// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

import {Deleverager} from "../src/Deleverager.sol";
import {Base, IAnyToken, IFactory} from "./Base.sol";
import {Market} from "./Market.sol";
import {Coin, HookPermitCoin, LoudPermitCoin, PermitCoin} from "./Zoo.sol";

/// More of forge's cheatcodes.
interface Keys {
    function sign(uint256 key, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
    function addr(uint256 key) external pure returns (address);
    function chainId(uint256 id) external;
}

/// Orders that bring along what allows them.
contract DeleveragerPermitTest is Base {
    Keys internal constant keys = Keys(address(vm));
    uint256 internal constant KEY = 0xB0B0;
    uint256 internal constant CURVE = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;
    address internal constant OPERATOR = address(0x0FE8A);
    uint24 internal constant FEE = 3_000;
    uint256 internal constant SUPPLIED = 10_007e18;
    uint256 internal constant OWED = 7_777e18;
    uint256 internal constant REPAY = 2_003e18;
    uint256 internal constant SIGNED = 2_100e18;

    IFactory internal factory;
    Market internal market;
    Deleverager internal deleverager;
    address internal borrower;

    function setUp() public {
        factory = uniswap();
        market = new Market();
        deleverager = new Deleverager(address(factory));
        borrower = keys.addr(KEY);
        vm.warp(1_790_000_000);
    }

    // --- what it is for -----------------------------------------------------------------------

    function testAPermitComesWithTheOrder() public {
        (Deleverager.Order memory order, PermitCoin aToken) = _house(new PermitCoin());

        Deleverager.Permit memory permit = _signed(aToken, SIGNED);
        vm.prank(OPERATOR);
        deleverager.deleverageWithPermit(order, permit);

        (uint256 has, uint256 owes,,,, uint256 health) = market.getUserAccountData(borrower);
        same(owes, OWED - REPAY, "debt");
        require(health > 110 * WAD / 100, text(health));
        // what was signed less what was taken: nothing more stands
        same(aToken.allowance(borrower, address(deleverager)), SIGNED - (SUPPLIED - has), "allowance");
        same(aToken.nonces(borrower), 1, "nonce");
        _clean(order, aToken);
    }

    function testTheBorrowerMayToo() public {
        (Deleverager.Order memory order, PermitCoin aToken) = _house(new PermitCoin());

        Deleverager.Permit memory permit = _signed(aToken, SIGNED);
        vm.prank(borrower);
        deleverager.deleverageWithPermit(order, permit);

        same(aToken.nonces(borrower), 1, "nonce");
        _clean(order, aToken);
    }

    /// What is taken is what is sold and a unit: signed exactly so, nothing stands after it.
    function testAnExactPermitLeavesNothing() public {
        (Deleverager.Order memory order, PermitCoin aToken) = _house(new PermitCoin());
        Deleverager.Permit memory probe = _signed(aToken, SIGNED);
        vm.prank(OPERATOR);
        deleverager.deleverageWithPermit(order, probe);
        uint256 taken = SIGNED - aToken.allowance(borrower, address(deleverager));
        setUp();
        (order, aToken) = _house(new PermitCoin());

        Deleverager.Permit memory exact = _signed(aToken, taken);
        vm.prank(OPERATOR);
        deleverager.deleverageWithPermit(order, exact);

        same(aToken.allowance(borrower, address(deleverager)), 0, "allowance");
    }

    function testAnApprovalDoesWithoutThePermit() public {
        (Deleverager.Order memory order,) = _house(PermitCoin(address(new Coin())));
        Coin aToken = market.aTokens(order.collateral);
        vm.prank(borrower);
        aToken.approve(address(deleverager), SIGNED);

        Deleverager.Permit memory none;
        vm.prank(OPERATOR);
        deleverager.deleverageWithPermit(order, none);

        (, uint256 owes,,,,) = market.getUserAccountData(borrower);
        same(owes, OWED - REPAY, "debt");
    }

    // --- what others may do about it ----------------------------------------------------------

    function testAPermitThatSomebodyHandedInFirstStopsNothing() public {
        (Deleverager.Order memory order, PermitCoin aToken) = _house(new PermitCoin());
        Deleverager.Permit memory permit = _signed(aToken, SIGNED);
        vm.prank(address(0xBAD));
        aToken.permit(
            borrower, address(deleverager), permit.value, permit.deadline, permit.v, permit.r, permit.s
        );

        vm.prank(OPERATOR);
        deleverager.deleverageWithPermit(order, permit);

        (uint256 has, uint256 owes,,,,) = market.getUserAccountData(borrower);
        same(owes, OWED - REPAY, "debt");
        same(aToken.allowance(borrower, address(deleverager)), SIGNED - (SUPPLIED - has), "allowance");
    }

    /// The permit gives nobody an authority: the mandate is asked for first.
    function testAStrangerGetsNothingOutOfAPermit(address sender) public {
        vm.assume(sender != borrower && sender != OPERATOR);
        (Deleverager.Order memory order, PermitCoin aToken) = _house(new PermitCoin());
        Deleverager.Permit memory permit = _signed(aToken, SIGNED);

        vm.expectRevert(abi.encodeWithSelector(Deleverager.NotAllowed.selector, sender));
        vm.prank(sender);
        deleverager.deleverageWithPermit(order, permit);

        same(aToken.nonces(borrower), 0, "nonce");
    }

    function testTheMandateBoundsIt() public {
        (Deleverager.Order memory order, PermitCoin aToken) = _house(new PermitCoin());
        Deleverager.Mandate memory mandate = _mandate();
        mandate.perTransaction = uint128(REPAY - 1);
        _allow(mandate);
        _refused(order, _signed(aToken, SIGNED), Deleverager.MoreThanAllowed.selector);

        mandate = _mandate();
        mandate.maxCostBps = 29; // the pool alone takes 30
        _allow(mandate);
        _refused(order, _signed(aToken, SIGNED), Deleverager.TooDear.selector);

        mandate = _mandate();
        mandate.below = 1;
        _allow(mandate);
        _refused(order, _signed(aToken, SIGNED), Deleverager.StillHealthy.selector);
        // a refusal takes the permit back: it serves the next one
        same(aToken.nonces(borrower), 0, "nonce");
        same(aToken.allowance(borrower, address(deleverager)), 0, "allowance");
    }

    /// What stands after it serves the mandate's operator and the borrower, and nobody else.
    function testWhatIsLeftOfAnAllowanceIsNobodyElses() public {
        (Deleverager.Order memory order, PermitCoin aToken) = _house(new PermitCoin());
        Deleverager.Permit memory permit = _signed(aToken, SUPPLIED);
        vm.prank(OPERATOR);
        deleverager.deleverageWithPermit(order, permit);
        uint256 left = aToken.allowance(borrower, address(deleverager));
        require(left > 1_000e18, "none is left");

        order.intent = keccak256("second");
        order.repay = 100e18;
        address thief = address(0x7415F);
        vm.prank(thief);
        vm.expectRevert(abi.encodeWithSelector(Deleverager.NotAllowed.selector, thief));
        deleverager.deleverage(order);
        // nor by a market of the thief's own, which says that its aToken is the borrower's
        Market false_ = new Market();
        false_.supply(order.collateral, thief, SUPPLIED);
        false_.borrow(order.debt, thief, OWED);
        false_.pretend(order.collateral, aToken);
        (order.pool, order.account) = (address(false_), thief);
        Deleverager.Permit memory none;
        vm.prank(thief);
        try deleverager.deleverageWithPermit(order, none) {
            revert("was taken");
        } catch {}
        same(aToken.allowance(borrower, address(deleverager)), left, "allowance");
    }

    // --- what is no permit --------------------------------------------------------------------

    function testAPermitServesOnce() public {
        (Deleverager.Order memory order, PermitCoin aToken) = _house(new PermitCoin());
        Deleverager.Permit memory permit = _signed(aToken, SIGNED);
        vm.prank(OPERATOR);
        deleverager.deleverageWithPermit(order, permit);

        order.intent = keccak256("second");
        order.repay = 1_000e18;
        order.minHealth = 0;
        Deleverager.Mandate memory mandate = _mandate();
        mandate.below = uint64(9 * WAD);
        _allow(mandate);
        _refused(order, permit, Deleverager.TokenRefused.selector);
    }

    function testOnlyTheAccountsOwnSignatureAllows() public {
        (Deleverager.Order memory order, PermitCoin aToken) = _house(new PermitCoin());
        uint256 deadline = block.timestamp + 1 days;
        bytes32 digest = aToken.digest(borrower, address(deleverager), SIGNED, 0, deadline);

        _refused(order, _by(0xBAD, digest, SIGNED, deadline), Deleverager.TokenRefused.selector);
        // another amount than was signed
        _refused(order, _by(KEY, digest, SIGNED + 1, deadline), Deleverager.TokenRefused.selector);
        // another's allowance
        digest = aToken.digest(borrower, address(0xBAD), SIGNED, 0, deadline);
        _refused(order, _by(KEY, digest, SIGNED, deadline), Deleverager.TokenRefused.selector);
        // a nonce that is to come
        digest = aToken.digest(borrower, address(deleverager), SIGNED, 1, deadline);
        _refused(order, _by(KEY, digest, SIGNED, deadline), Deleverager.TokenRefused.selector);
        // another token's
        digest = new PermitCoin().digest(borrower, address(deleverager), SIGNED, 0, deadline);
        _refused(order, _by(KEY, digest, SIGNED, deadline), Deleverager.TokenRefused.selector);
    }

    function testAnotherChainsPermitIsNone() public {
        (Deleverager.Order memory order, PermitCoin aToken) = _house(new PermitCoin());
        Deleverager.Permit memory permit = _signed(aToken, SIGNED);
        keys.chainId(8453);

        _refused(order, permit, Deleverager.TokenRefused.selector);
    }

    function testAnExpiredPermitIsNone(uint32 late) public {
        (Deleverager.Order memory order, PermitCoin aToken) = _house(new PermitCoin());
        Deleverager.Permit memory permit = _signed(aToken, SIGNED);
        vm.warp(permit.deadline + 1 + late);
        order.deadline = block.timestamp;

        _refused(order, permit, Deleverager.TokenRefused.selector);
    }

    function testAPermitForLessIsNotEnough(uint96 value) public {
        (Deleverager.Order memory order, PermitCoin aToken) = _house(new PermitCoin());

        _refused(order, _signed(aToken, uint256(value) % REPAY), Deleverager.TokenRefused.selector);

        same(aToken.nonces(borrower), 0, "nonce");
    }

    function testNoiseAllowsNothing(uint8 v, bytes32 r, bytes32 s, uint256 value, uint256 deadline) public {
        (Deleverager.Order memory order, PermitCoin aToken) = _house(new PermitCoin());
        Deleverager.Permit memory permit = Deleverager.Permit(value, deadline, v, r, s);

        _refused(order, permit, Deleverager.TokenRefused.selector);

        same(aToken.allowance(borrower, address(deleverager)), 0, "allowance");
    }

    // --- hostile tokens -----------------------------------------------------------------------

    function testATokenFindsEveryDoorShutInAPermit() public {
        HookPermitCoin aToken = new HookPermitCoin();
        (Deleverager.Order memory order,) = _house(aToken);
        Deleverager.Order memory second = _order(order.collateral, order.debt, order.path);
        (second.intent, second.account) = (keccak256("second"), address(aToken));
        Deleverager.Permit memory none;
        bytes[3] memory doors = [
            abi.encodeCall(Deleverager.deleverage, (second)),
            abi.encodeCall(Deleverager.deleverageWithPermit, (second, none)),
            abi.encodeCall(Deleverager.uniswapV3SwapCallback, (int256(1e18), int256(-1e18), abi.encode(second, 0, 1)))
        ];
        bytes4[3] memory answers = [
            Deleverager.AlreadyRunning.selector,
            Deleverager.AlreadyRunning.selector,
            Deleverager.CallbackNotExpected.selector
        ];
        for (uint256 i = 0; i < 3; ++i) {
            aToken.hook(address(deleverager), doors[i]);
            order.intent = keccak256(abi.encode("door", i));
            order.repay = 300e18;
            order.minHealth = 0;

            vm.prank(OPERATOR);
            deleverager.deleverageWithPermit(order, Deleverager.Permit(SIGNED, 0, 0, 0, 0));

            require(!aToken.done(), "a door was open");
            require(bytes4(aToken.said()) == answers[i], "another reason");
        }
        _clean(order, aToken);
    }

    function testALoudRefusalStopsNothing() public {
        (Deleverager.Order memory order, PermitCoin aToken) = _house(new LoudPermitCoin());
        vm.prank(borrower);
        aToken.approve(address(deleverager), SIGNED);

        Deleverager.Permit memory none;
        vm.prank(OPERATOR);
        deleverager.deleverageWithPermit(order, none);

        (, uint256 owes,,,,) = market.getUserAccountData(borrower);
        same(owes, OWED - REPAY, "debt");
    }

    // --- helpers ------------------------------------------------------------------------------

    function _refused(Deleverager.Order memory order, Deleverager.Permit memory permit, bytes4 why) private {
        vm.expectPartialRevert(why);
        vm.prank(OPERATOR);
        deleverager.deleverageWithPermit(order, permit);
    }

    /// For a day, with the account's nonce of now.
    function _signed(PermitCoin aToken, uint256 value) private view returns (Deleverager.Permit memory) {
        uint256 deadline = block.timestamp + 1 days;
        bytes32 digest =
            aToken.digest(borrower, address(deleverager), value, aToken.nonces(borrower), deadline);
        return _by(KEY, digest, value, deadline);
    }

    function _by(uint256 key, bytes32 digest, uint256 value, uint256 deadline)
        private
        pure
        returns (Deleverager.Permit memory)
    {
        (uint8 v, bytes32 r, bytes32 s) = keys.sign(key, digest);
        return Deleverager.Permit(value, deadline, v, r, s);
    }

    function _allow(Deleverager.Mandate memory mandate) private {
        vm.prank(borrower);
        deleverager.allow(OPERATOR, address(market), mandate);
    }

    function _mandate() private pure returns (Deleverager.Mandate memory) {
        return Deleverager.Mandate({
            until: type(uint40).max,
            maxCostBps: 100,
            below: uint64(2 * WAD),
            perTransaction: uint128(REPAY),
            perDay: uint128(10 * REPAY)
        });
    }

    /// The borrower has supplied and owes, gave the operator a mandate and approved nothing.
    function _house(PermitCoin aToken) private returns (Deleverager.Order memory order, PermitCoin) {
        (Coin collateral, Coin debt) = (new Coin(), new Coin());
        exchange(factory, address(collateral), address(debt), FEE, 1e26);
        market.issue(address(collateral), aToken);
        market.supply(address(collateral), borrower, SUPPLIED);
        market.borrow(address(debt), borrower, OWED);
        collateral.mint(address(market), SUPPLIED);
        _allow(_mandate());
        order = _order(address(collateral), address(debt), path(address(collateral), FEE, address(debt)));
        return (order, aToken);
    }

    function _order(address collateral, address debt, bytes memory along)
        private
        view
        returns (Deleverager.Order memory)
    {
        return Deleverager.Order({
            intent: keccak256("first"),
            pool: address(market),
            account: borrower,
            collateral: collateral,
            debt: debt,
            repay: REPAY,
            maxSold: REPAY * 101 / 100,
            minHealth: 110 * WAD / 100,
            deadline: block.timestamp + 180,
            path: along
        });
    }

    function _clean(Deleverager.Order memory order, Coin aToken) private view {
        address[3] memory tokens = [order.collateral, order.debt, address(aToken)];
        for (uint256 i = 0; i < 3; ++i) {
            same(IAnyToken(tokens[i]).balanceOf(address(deleverager)), 0, "balance kept");
            same(IAnyToken(tokens[i]).allowance(address(deleverager), order.pool), 0, "allowance left");
        }
    }
}
