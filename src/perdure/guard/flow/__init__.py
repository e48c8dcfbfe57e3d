"""Flow: may these values go where this call would take them, given who wrote what is in the context?

Here belongs the judgement of one call against labels (S2, S3): which of its arguments decide where
something goes (critical), whether somebody entitled to has named them (endorsed), and what data could go
along. What does not belong here: what a tool is (it declares its sink itself), the owner's policy rules
(guard), how a question is put (guard), reading `trust.yaml` (guard), where labels come from (kernel, tools,
storage).

    flow = Flow(earlier=log.read, tools=toolbox.get, directory=trust.current, control=…, contained=…)
    flow.feed(record)                                       # every record, in order, once
    finding = flow.weigh(prepared, label=state.label, endorsed=state.endorsed)

The rules stand at the top of `engine`; `judge` says who named a value, `words` what the owner said, `seen`
what results held, `forms` and `days` when two values are the same, `fold` what a disguise is, `live` what
in a text is a destination.
"""

from .directory import EMPTY, Directory
from .engine import Flow
from .finding import Finding, FlowVerdict
from .view import Declared, Prepared, Sink

__all__ = ["EMPTY", "Declared", "Directory", "Finding", "Flow", "FlowVerdict", "Prepared", "Sink"]
