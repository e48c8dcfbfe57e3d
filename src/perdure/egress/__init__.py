"""Egress: the one way out.

Here belongs what judges, resolves, sends, scans and records an outgoing request: the function that every
request of a tool takes (`Egress`), the owner's rules for it (`rules`), and the proxy through which the
sandbox reaches it (`proxy`). What does not belong here: where secrets are kept and how leaks are found
(secrets, leaks; see `SecretSource` and `LeakScanner`), what a page means (tools), whether a call may run
at all (guard). Requests to model providers do not come here: their destination is the owner's
configuration and nothing else (models).
"""

from .door import Door
from .egress import Egress
from .errors import Refused, Unreachable
from .injecting import SecretSource
from .message import Caller, Incoming, Outgoing, Request
from .record import EgressLog, Entry
from .refusals import Refusals
from .resolve import Resolver, SystemResolver, Table
from .rules import Rule, Rules, Ruling, parse_private, parse_rule
from .scanning import Leak, LeakScanner

__all__ = [
    "Caller",
    "Door",
    "Egress",
    "EgressLog",
    "Entry",
    "Incoming",
    "Leak",
    "LeakScanner",
    "Outgoing",
    "Refusals",
    "Refused",
    "Request",
    "Resolver",
    "Rule",
    "Rules",
    "Ruling",
    "SecretSource",
    "SystemResolver",
    "Table",
    "Unreachable",
    "parse_private",
    "parse_rule",
]
