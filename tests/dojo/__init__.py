"""AgentDojo, offline, through the real runtime: what does a wholly compromised model get done?

AgentDojo (public) brings four workplaces with tools, 97 tasks of their users and 35 goals of attackers,
949 pairs. Here no language model is asked: a scripted one plays a user's task as its authors solved it
and, as soon as it has read an injection, whatever the attacker wants. The owner is ideal: approves what
their task needs and denies all else.

Here belongs what turns the suites into tools, models and owners of Perdure, and what counts the outcome.
What does not belong here: rules. What is allowed is decided by the runtime from what the tools declare.

Reading order: suites (theirs), declared (what an owner would declare of their tools), wrapping (tools),
attacks (what the attacker plays), lookalikes and disguises, redirected, rephrased (the same with other
destinations and words), player (the model), owner (the approver), play (one pair), campaign, limits, report.
"""
