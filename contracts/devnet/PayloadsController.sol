// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

/// A small timelock that speaks what the keeper asks of Aave's PayloadsController, by its published
/// interface: payloads are lists of calls, queued, and open to anybody once their delay is over.
///
/// It makes the calls itself, so that it must hold the roles that they need; the one it stands for
/// hands them to an executor.  No votes: whoever creates a payload may queue it.
contract PayloadsController {
    enum State { None, Created, Queued, Executed, Cancelled, Expired }

    struct Action {
        address target;
        bool withDelegateCall;
        uint8 accessLevel;
        uint256 value;
        string signature;
        bytes callData;
    }

    struct Payload {
        address creator;
        uint8 maximumAccessLevelRequired;
        State state;
        uint40 createdAt;
        uint40 queuedAt;
        uint40 executedAt;
        uint40 cancelledAt;
        uint40 expirationTime;
        uint40 delay;
        uint40 gracePeriod;
        Action[] actions;
    }

    uint40 public immutable DELAY;
    uint40 public constant GRACE_PERIOD = 7 days;

    Payload[] private payloads;

    event PayloadQueued(uint40 payloadId);
    event PayloadExecuted(uint40 payloadId);
    event PayloadCancelled(uint40 payloadId);

    constructor(uint40 delay) {
        DELAY = delay;
    }

    function createPayload(address[] calldata targets, bytes[] calldata callDatas)
        external
        returns (uint40 id)
    {
        id = uint40(payloads.length);
        Payload storage made = payloads.push();
        made.creator = msg.sender;
        made.maximumAccessLevelRequired = 1;
        made.state = State.Created;
        made.createdAt = uint40(block.timestamp);
        made.expirationTime = uint40(block.timestamp) + 35 days;
        made.delay = DELAY;
        made.gracePeriod = GRACE_PERIOD;
        for (uint256 i = 0; i < targets.length; i++) {
            made.actions.push(Action(targets[i], false, 1, 0, "", callDatas[i]));
        }
    }

    function queuePayload(uint40 id) external {
        require(payloads[id].state == State.Created, "only what was created can be queued");
        payloads[id].state = State.Queued;
        payloads[id].queuedAt = uint40(block.timestamp);
        emit PayloadQueued(id);
    }

    function cancelPayload(uint40 id) external {
        require(payloads[id].state == State.Queued, "only what is queued can be cancelled");
        payloads[id].state = State.Cancelled;
        payloads[id].cancelledAt = uint40(block.timestamp);
        emit PayloadCancelled(id);
    }

    function executePayload(uint40 id) external payable {
        Payload storage it = payloads[id];
        require(it.state == State.Queued, "only what is queued can be executed");
        require(block.timestamp > it.queuedAt + it.delay, "its delay is not over");
        it.state = State.Executed;
        it.executedAt = uint40(block.timestamp);
        for (uint256 i = 0; i < it.actions.length; i++) {
            (bool done, bytes memory why) = it.actions[i].target.call(it.actions[i].callData);
            if (!done) {
                assembly {
                    revert(add(why, 32), mload(why))
                }
            }
        }
        emit PayloadExecuted(id);
    }

    function getPayloadsCount() external view returns (uint40) {
        return uint40(payloads.length);
    }

    function getPayloadState(uint40 id) external view returns (State) {
        return payloads[id].state;
    }

    function getPayloadById(uint40 id) external view returns (Payload memory) {
        return payloads[id];
    }
}
