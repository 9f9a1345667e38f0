"""`./run demo`: the main job on a local chain, told as a story, ended by a verdict.

* `house`    the keeper of the story: keystore, configuration, inventory, approvals
* `story`    what happens to the chain, tick by tick
* `show`     what one sees of it on a terminal
* `verdict`  what came of it, read from the chain and not from the keeper
* `play`     the four together
"""
