// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

import {Coin} from "./Zoo.sol";

interface IReceiver {
    function executeOperation(address asset, uint256 amount, uint256 premium, address initiator, bytes calldata params)
        external
        returns (bool);
}

/// Stands in for an Aave v3 market where tokens, market or borrower are hostile: the real one is tested on the devnet.
/// Every token is worth one; an account's threshold is 80 %.
contract Market {
    uint256 public constant PREMIUM_BPS = 5;
    uint256 public constant BONUS_BPS = 500;
    uint256 public constant THRESHOLD_BPS = 8_000;

    /// account, asset
    mapping(address => mapping(address => uint256)) public owes;
    mapping(address => Coin) public aTokens;

    /// What it does instead of what it should.
    enum Fault {
        NONE,
        SEIZES_NOTHING,
        TAKES_NOTHING,
        TAKES_HALF,
        KEEPS_LOAN,
        WANTS_MORE
    }

    Fault public fault;
    address public trap;
    bytes public trapData;
    bytes public said;

    function become(Fault fault_) external {
        fault = fault_;
    }

    /// Whom it calls, as itself, in the middle of a liquidation or repayment.
    function set(address trap_, bytes calldata data) external {
        (trap, trapData) = (trap_, data);
    }

    mapping(address => bool) internal known;
    address[] internal listed;
    address[] internal supplied;

    function supply(address asset, address account, uint256 amount) external {
        if (address(aTokens[asset]) == address(0)) {
            aTokens[asset] = new Coin();
            supplied.push(asset);
        }
        aTokens[asset].mint(account, amount);
    }

    function borrow(address asset, address account, uint256 amount) external {
        owes[account][asset] += amount;
        if (known[asset]) return;
        known[asset] = true;
        listed.push(asset);
    }

    /// Gives a token of the test's own for what is supplied of `asset`.
    function issue(address asset, Coin aToken) external {
        aTokens[asset] = aToken;
        supplied.push(asset);
    }

    /// Says that another token is the one it gave for `asset`.
    function pretend(address asset, Coin aToken) external {
        aTokens[asset] = aToken;
    }

    function flashLoanSimple(address receiver, address asset, uint256 amount, bytes calldata params, uint16) external {
        _send(asset, receiver, amount);
        uint256 premium = amount * PREMIUM_BPS / 10_000;
        require(IReceiver(receiver).executeOperation(asset, amount, premium, msg.sender, params), "not taken");
        if (fault == Fault.WANTS_MORE) _pull(asset, receiver, amount + premium + 1);
        else if (fault != Fault.KEEPS_LOAN) _pull(asset, receiver, amount + premium);
    }

    function liquidationCall(address collateral, address debt, address account, uint256 amount, bool) external {
        _spring();
        require(owes[account][debt] != 0, "owes nothing");
        if (amount > owes[account][debt]) amount = owes[account][debt];
        if (fault == Fault.TAKES_HALF) amount /= 2;
        owes[account][debt] -= amount;
        if (fault != Fault.TAKES_NOTHING) _pull(debt, msg.sender, amount);
        if (fault == Fault.SEIZES_NOTHING) return;
        _send(collateral, msg.sender, amount + amount * BONUS_BPS / 10_000);
    }

    function repay(address asset, uint256 amount, uint256 rateMode, address account) external returns (uint256) {
        require(rateMode == 2, "rate mode");
        _spring();
        if (amount > owes[account][asset]) amount = owes[account][asset];
        if (fault == Fault.TAKES_HALF) amount /= 2;
        if (fault == Fault.TAKES_NOTHING) return 0;
        owes[account][asset] -= amount;
        _pull(asset, msg.sender, amount);
        return amount;
    }

    function withdraw(address asset, uint256 amount, address to) external returns (uint256) {
        Coin aToken = aTokens[asset];
        if (amount == type(uint256).max) amount = aToken.balanceOf(msg.sender);
        aToken.burn(msg.sender, amount);
        _send(asset, to, amount);
        return amount;
    }

    /// Supplied, and not counted as collateral from now on.
    mapping(address => bool) public uncounted;

    function uncount(address asset) external {
        uncounted[asset] = true;
    }

    /// The market is its own provider and oracle.
    function ADDRESSES_PROVIDER() external view returns (address) {
        return address(this);
    }

    function getPriceOracle() external view returns (address) {
        return address(this);
    }

    function getAssetPrice(address asset) external view returns (uint256) {
        return 10 ** Coin(asset).decimals();
    }

    function getReserveData(address asset) external view returns (uint256[15] memory words) {
        words[8] = uint256(uint160(address(aTokens[asset])));
    }

    function getUserAccountData(address account)
        public
        view
        returns (uint256 has, uint256 debt, uint256, uint256, uint256, uint256 health)
    {
        for (uint256 i = 0; i < supplied.length; ++i) {
            if (!uncounted[supplied[i]]) has += aTokens[supplied[i]].balanceOf(account);
        }
        for (uint256 i = 0; i < listed.length; ++i) debt += owes[account][listed[i]];
        health = debt == 0 ? type(uint256).max : has * THRESHOLD_BPS * 1e18 / 10_000 / debt;
        return (has, debt, 0, 0, 0, health);
    }

    function _spring() private {
        if (trap == address(0)) return;
        (bool fine, bytes memory answer) = trap.call(trapData);
        require(!fine, "the trap was taken");
        said = answer;
    }

    function _send(address asset, address to, uint256 amount) private {
        _must(asset, abi.encodeWithSelector(0xa9059cbb, to, amount));
    }

    function _pull(address asset, address from, uint256 amount) private {
        _must(asset, abi.encodeWithSelector(0x23b872dd, from, address(this), amount));
    }

    function _must(address asset, bytes memory data) private {
        (bool done, bytes memory answer) = asset.call(data);
        require(done && (answer.length == 0 || abi.decode(answer, (bool))), "token refused the market");
    }
}
