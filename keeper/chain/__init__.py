"""The chain as the keeper reads it: JSON-RPC, heads, logs, packed reads.

urls -> provider -> rpc          one node; all nodes of a chain, retried and failed over
wire                             JSON into the words of `keeper.model`, every field checked
subscription -> branch -> heads  every canonical block once, reorgs said
quorum -> vouched, finality      heads voted on, what was taken in doubt too; what is final
logs                             of one block, of a history, and where a contract began
lens -> reader                   many static calls in one eth_call
"""
