"""Guard: may this call run? Decided outside the model, from the owner's policy files.

Here belongs the policy (its files, rules and matching), the paths that no tool may touch, and the gate
that stands before the tools and owns them. What does not belong here: what a tool does (tools), how a
command is contained (sandbox), how an approval is shown and stored (runtime, edges).

Wiring, one `PolicyFiles` per agent and one gate per session:

    policy = PolicyFiles(P, agent)                       # P/policy.yaml, the agent's, P/policy.local.yaml
    places = Places(workspace=W, workdir=workdir, agent=agent, commands=hooks_of_config)
    gate = PolicyGate(bench, policy, places, session=session, ids=ids, boot=boot)
    permit = await gate.judge(call, key=key)             # Allow, Ask or Refuse
    result = await gate.run(permit, emit, resumed=False)
    policy.remember(request.rule)                        # after the answer "always"

What cannot be judged is refused or asked, never allowed: a policy file that does not parse denies every
call with that file's error.
"""

from .gate import PolicyGate
from .places import Places
from .policy import Policy, PolicyFiles
from .rules import Rule

__all__ = ["Places", "Policy", "PolicyFiles", "PolicyGate", "Rule"]
