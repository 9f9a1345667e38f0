// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

import {IAnyToken} from "./Base.sol";

interface ISpending {
    function transferFrom(address from, address to, uint256 amount) external;
    function approve(address spender, uint256 amount) external;
}

/// Exchanges at a price of its own, out of what it was given: whoever calls is whoever pays.
contract Venue {
    uint256 public constant WAD = 1e18;
    /// Of `buy` for a whole of `sell`, in wads.
    uint256 public price;

    constructor(uint256 price_) {
        price = price_;
    }

    function swap(address sell, address buy, uint256 amount) public virtual {
        _take(sell, msg.sender, amount);
        _give(buy, msg.sender, amount * price / WAD);
    }

    /// Tokens that answer nothing are taken too.
    function _take(address token, address from, uint256 amount) internal {
        ISpending(token).transferFrom(from, address(this), amount);
    }

    function _give(address token, address to, uint256 amount) internal {
        IAnyToken(token).transfer(to, amount);
    }
}

/// Spends allowances for a venue beside it, as some aggregators' do: it is approved and not called.
contract Proxy {
    address public venue;

    function serve(address venue_) external {
        venue = venue_;
    }

    function take(address token, address from, uint256 amount) external {
        require(msg.sender == venue, "not the venue");
        ISpending(token).transferFrom(from, venue, amount);
    }
}

/// Has its allowances taken by a proxy.
contract ProxiedVenue is Venue {
    Proxy public immutable proxy;

    constructor(uint256 price_, Proxy proxy_) Venue(price_) {
        proxy = proxy_;
    }

    function swap(address sell, address buy, uint256 amount) public override {
        proxy.take(sell, msg.sender, amount);
        _give(buy, msg.sender, amount * price / WAD);
    }
}

/// Does something else than it should.
contract HostileVenue is Venue {
    enum Fault {
        TAKES_ALL,
        GIVES_LESS,
        TAKES_NOTHING,
        TAKES_LESS,
        COMES_BACK,
        REFUSES,
        SHOUTS,
        SENDS_COIN
    }

    Fault public fault;
    address public door;
    bytes public data;
    bool public open;
    bytes public said;

    constructor(Fault fault_) Venue(1e18) {
        fault = fault_;
    }

    /// Whom it calls, as itself, in the middle of a sale.
    function set(address door_, bytes calldata data_) external {
        (door, data) = (door_, data_);
        (open, said) = (false, "");
    }

    function swap(address sell, address buy, uint256 amount) public override {
        if (fault == Fault.REFUSES) revert("no liquidity");
        if (fault == Fault.SHOUTS) {
            assembly {
                revert(0, 50000)
            }
        }
        if (fault == Fault.TAKES_NOTHING) return;
        if (fault == Fault.COMES_BACK) (open, said) = door.call(data);
        _take(sell, msg.sender, fault == Fault.TAKES_LESS ? amount / 2 : amount);
        if (fault == Fault.SENDS_COIN) {
            (bool sent,) = msg.sender.call{value: address(this).balance}("");
            require(sent, "the coin was refused");
        }
        if (fault != Fault.TAKES_ALL) _give(buy, msg.sender, fault == Fault.GIVES_LESS ? amount * 9 / 10 : amount);
    }

    /// What was left allowed would be taken later.
    function rob(address token, address from) external {
        _take(token, from, 1);
    }

    receive() external payable {}
}

/// No token when it is listed, and one afterwards.
contract Turncoat {
    bool public turned;
    mapping(address => uint256) public allowance;

    function turn() external {
        turned = true;
    }

    function balanceOf(address) external view returns (uint256) {
        require(turned, "no token");
        return 0;
    }
}
