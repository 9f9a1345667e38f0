"""The composition root: settings in, wired engines out.

* `registry`   the dict literals a new protocol or strategy is entered in
* `hands`      from settings to strategies, signing policy and what gas is worth
* `chain`      one chain opened: nodes, reader, discovered markets
* `look`       one reading at the head, for commands that ask and go
* `act`        one action on demand: top up, repay, liquidate, approve
* `service`    `keeper run`: engines, outbox, bot, status page, under one roof
* `desk`       what the bot asks, answered from the store and the engines
"""
