"""Budgets: what may be spent in a session, a day, a month; reserved before a model is called (S11).

Here belongs what may be spent beyond a turn: the caps, the ledger of what was reserved and spent, and the
reservation. What does not belong here: what one turn may use (kernel.limits), what a token costs (models),
loops of tool calls (guard).

Wiring, one `Ledger` per workspace and one `SessionBudgets` per session:

    ledger = Ledger(private / "budgets", clock)
    budgets = SessionBudgets(ledger, caps, worst, clock, agent="main", session=session)
"""

from .caps import BudgetCaps, Caps
from .ledger import Ledger, Spent
from .reserving import Quote, SessionBudgets

__all__ = ["BudgetCaps", "Caps", "Ledger", "Quote", "SessionBudgets", "Spent"]
