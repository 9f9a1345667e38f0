// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

/// A plain token that anybody may mint, and what all the others vary.
contract Coin {
    uint8 public constant decimals = 18;
    mapping(address => uint256) internal held;
    mapping(address => mapping(address => uint256)) public allowance;

    function balanceOf(address account) public view virtual returns (uint256) {
        return held[account];
    }

    function mint(address to, uint256 amount) external virtual {
        held[to] += amount;
    }

    function burn(address from, uint256 amount) external {
        held[from] -= amount;
    }

    function approve(address spender, uint256 amount) external virtual returns (bool) {
        allowance[msg.sender][spender] = amount;
        return true;
    }

    function transfer(address to, uint256 amount) external virtual returns (bool) {
        _move(msg.sender, to, amount);
        return true;
    }

    function transferFrom(address from, address to, uint256 amount) external virtual returns (bool) {
        _spend(from, amount);
        _move(from, to, amount);
        return true;
    }

    function _spend(address from, uint256 amount) internal {
        allowance[from][msg.sender] -= amount;
    }

    function _move(address from, address to, uint256 amount) internal virtual {
        held[from] -= amount;
        held[to] += amount;
    }
}

/// As Tether's: answers nothing, and changes an allowance only from zero or to zero.
contract SilentCoin is Coin {
    function approve(address spender, uint256 amount) external override returns (bool) {
        require(amount == 0 || allowance[msg.sender][spender] == 0, "from non-zero to non-zero");
        allowance[msg.sender][spender] = amount;
        _nothing();
    }

    function transfer(address to, uint256 amount) external override returns (bool) {
        _move(msg.sender, to, amount);
        _nothing();
    }

    function transferFrom(address from, address to, uint256 amount) external override returns (bool) {
        _spend(from, amount);
        _move(from, to, amount);
        _nothing();
    }

    function _nothing() private pure {
        assembly {
            return(0, 0)
        }
    }
}

/// Says false and moves nothing, where `who` sends.
contract FalseCoin is Coin {
    address public who;

    function refuse(address sender) external {
        who = sender;
    }

    function transfer(address to, uint256 amount) external override returns (bool) {
        if (msg.sender == who) return false;
        _move(msg.sender, to, amount);
        return true;
    }
}

/// Takes a hundredth of what is moved.
contract FeeCoin is Coin {
    function _move(address from, address to, uint256 amount) internal override {
        held[from] -= amount;
        held[to] += amount - amount / 100;
    }
}

/// Says it moved all and moves a tenth.
contract LyingCoin is Coin {
    function _move(address from, address to, uint256 amount) internal override {
        held[from] -= amount / 10;
        held[to] += amount / 10;
    }
}

/// Balances are shares of a pot that grows with every transfer, and round down.
contract RebasingCoin is Coin {
    uint256 public rate = 1e18 + 7;

    function balanceOf(address account) public view override returns (uint256) {
        return held[account] * rate / 1e18;
    }

    function mint(address to, uint256 amount) external override {
        held[to] += amount * 1e18 / rate + 1;
    }

    function _move(address from, address to, uint256 amount) internal override {
        uint256 shares = amount * 1e18 / rate;
        held[from] -= shares;
        held[to] += shares;
        rate += 1e9 + 1;
    }
}

/// Answers more than a word.
contract BombCoin is Coin {
    uint256 public size = 10_000_000;

    function transfer(address to, uint256 amount) external override returns (bool) {
        _move(msg.sender, to, amount);
        uint256 length = size;
        assembly {
            mstore(0, 1)
            return(0, length)
        }
    }
}

/// Keeps what some may not have.
contract BlacklistCoin is Coin {
    mapping(address => bool) public listed;

    function list(address account) external {
        listed[account] = true;
    }

    function _move(address from, address to, uint256 amount) internal override {
        require(!listed[from] && !listed[to], "blacklisted");
        super._move(from, to, amount);
    }
}

/// As ERC-777: whoever is the `hook` is called with the token's own words whenever something moves.
contract HookCoin is Coin {
    address public target;
    bytes public data;
    bool public done;
    /// What the first of them was answered.
    bytes public said;
    bool private inside;

    function hook(address target_, bytes calldata data_) external {
        (target, data) = (target_, data_);
        delete said;
    }

    function _move(address from, address to, uint256 amount) internal override {
        super._move(from, to, amount);
        if (target == address(0) || inside) return;
        inside = true;
        (bool fine, bytes memory answer) = target.call(data);
        inside = false;
        if (fine) done = true;
        else if (said.length == 0) said = answer;
    }
}

/// Burns all the gas it is given where `who` sends.
contract BurningCoin is Coin {
    address public who;

    function burnFrom(address sender) external {
        who = sender;
    }

    function _move(address from, address to, uint256 amount) internal override {
        if (from == who) while (true) held[address(uint160(gasleft()))] += 1;
        super._move(from, to, amount);
    }
}

/// Refuses `who` a balance with fifty kilobytes of reason.
contract LoudCoin is Coin {
    address public who;

    function shout(address account) external {
        who = account;
    }

    function balanceOf(address account) public view override returns (uint256) {
        if (account != who) return held[account];
        assembly {
            revert(0, 50000)
        }
    }
}

/// Has code and knows nothing of tokens but a balance.
contract Stone {
    function balanceOf(address) external pure returns (uint256) {
        return 0;
    }

    function allowance(address, address) external pure returns (uint256) {
        return 0;
    }
}

/// With EIP-2612, as strict as an aToken.
contract PermitCoin is Coin {
    bytes32 public constant PERMIT_TYPEHASH =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
    mapping(address => uint256) public nonces;

    function DOMAIN_SEPARATOR() public view returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Permit coin"),
                keccak256("1"),
                block.chainid,
                address(this)
            )
        );
    }

    function digest(address owner, address spender, uint256 value, uint256 nonce, uint256 deadline)
        public
        view
        returns (bytes32)
    {
        bytes32 said = keccak256(abi.encode(PERMIT_TYPEHASH, owner, spender, value, nonce, deadline));
        return keccak256(abi.encodePacked("\x19\x01", DOMAIN_SEPARATOR(), said));
    }

    function permit(address owner, address spender, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external
        virtual
    {
        require(block.timestamp <= deadline, "expired");
        address signer = ecrecover(digest(owner, spender, value, nonces[owner], deadline), v, r, s);
        require(owner == signer && owner != address(0), "not the owner's");
        ++nonces[owner];
        allowance[owner][spender] = value;
    }
}

/// Calls whom it was told to in the middle of a permit, and then takes it, whoever signed.
contract HookPermitCoin is PermitCoin {
    address public target;
    bytes public data;
    bool public done;
    /// What it was answered.
    bytes public said;

    function hook(address target_, bytes calldata data_) external {
        (target, data) = (target_, data_);
    }

    function permit(address owner, address spender, uint256 value, uint256, uint8, bytes32, bytes32)
        external
        override
    {
        (done, said) = target.call(data);
        allowance[owner][spender] = value;
    }
}

/// Refuses a permit with a hundred kilobytes of reason.
contract LoudPermitCoin is PermitCoin {
    function permit(address, address, uint256, uint256, uint8, bytes32, bytes32) external pure override {
        assembly {
            revert(0, 100000)
        }
    }
}
