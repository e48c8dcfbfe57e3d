"""Guard: may this call run? Decided outside the model, from the owner's policy files.

Here belongs the policy (its files, rules and matching), the paths that no tool may touch, and the gate
that stands before the tools and owns them. What does not belong here: what a tool does (tools), how a
command is contained (sandbox), how an approval is shown and stored (runtime, edges).

Wiring, one `PolicyFiles` per agent and one gate per session:

    policy = PolicyFiles(P, agent)                       # P/policy.yaml, the agent's, P/policy.local.yaml
    places = Places(workspace=W, workdir=workdir, agent=agent, commands=hooks_of_config)
    trust = TrustFile(P / "trust.yaml")                  # whom the owner has approved for good
    flow = Flow(earlier=log.read, tools=toolbox.get, directory=trust.current, control=…, contained=…)
    gate = PolicyGate(bench, policy, places, session=session, ids=ids, clock=clock, flow=flow,
                      environment=environment, earlier=log.read, boot=boot)
    gate.feed(record)                                    # every record, as it is appended
    permit = await gate.judge(call, key=key)             # Allow, Ask or Refuse
    result = await gate.run(permit, emit, resumed=False)
    policy.remember(request.rule)                        # after the answer "always"

What cannot be judged is refused or asked, never allowed: a policy file that does not parse denies every
call with that file's error.

What the gate weighs is in places (what no rule can change), policy and rules (the owner's), flow (labels
on data) and a `seams.Loops`; what a question shows is in asking, what its answer covers in binding.
"""

from .flow import Flow
from .gate import PolicyGate
from .loops import Loops
from .places import Places
from .policy import Policy, PolicyFiles
from .rules import Rule
from .trust import TrustFile

__all__ = ["Flow", "Loops", "Places", "Policy", "PolicyFiles", "PolicyGate", "Rule", "TrustFile"]
