"""What stands behind the budgets of a session: the caps its files set, and what its models' tokens cost."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Literal

import msgspec

from perdure.agents import Agent, Agents
from perdure.agents.config import CapSettings, WorkspaceFile
from perdure.budgets import BudgetCaps, Caps, Ledger, Quote, Spent
from perdure.kernel.errors import PerdureError
from perdure.kernel.events import Usage
from perdure.models import ModelSpec
from perdure.models.prices import Price

from .cast import Cast
from .views import AgentSpending, SpendingView, Used

UNPAID = frozenset(("script", "rehearsal"))
"""Models that run in this process."""


class CapsNow:
    """The caps of a session, as the files say when it is called. Raises PerdureError."""

    def __init__(self, agent: Callable[[], Agent], workspace: Callable[[], WorkspaceFile]) -> None:
        self._agent, self._workspace = agent, workspace
        self._read: tuple[object, object] | None = None
        self._caps = BudgetCaps()

    def __call__(self) -> BudgetCaps:
        own, all_ = self._agent().caps, self._workspace().spending
        if self._read is None or self._read[0] is not own or self._read[1] is not all_:
            self._caps = BudgetCaps(
                session=_caps(own["session"]),
                day=_caps(own["day"]),
                month=_caps(own["month"]),
                unattended=_caps(own["unattended"]),
                workspace_day=_caps(all_.day),
                workspace_month=_caps(all_.month),
            )
            self._read = own, all_
        return self._caps


def _caps(settings: CapSettings) -> Caps:
    return Caps(
        cost_usd=settings.cost_usd,
        tokens=settings.tokens,
        calls=settings.calls,
        turns=settings.turns,
        seconds=settings.seconds,
    )


class Quotes:
    """What the tokens of a session's models cost at most."""

    def __init__(self, agent: Callable[[], Agent], chosen: Callable[[], str]) -> None:
        """`chosen`: the owner's model for the session, or empty."""
        self._agent, self._chosen = agent, chosen
        self._found: tuple[Agent | None, str, str, Price] | None = None
        """What was found last: for which agent, choice and name, and what."""

    async def __call__(self, model: str, tokens: int) -> Quote:
        price = self._price(model)
        spec = price.spec
        if spec.provider in UNPAID:
            return Quote(input=0.0, output=0.0, max_output=spec.max_output_tokens)
        await price.look_up()  # at once, but for the first time in a process
        # Some prices rise with the size of the request; nothing is taken to be cached.
        each = max(1, tokens)
        input_ = price.of(Usage(input=each))
        both = price.of(Usage(input=each, output=1))
        if input_ is None or both is None:
            return Quote(input=None, output=None, max_output=spec.max_output_tokens)
        return Quote(input=input_ / each, output=both - input_, max_output=spec.max_output_tokens)

    def _price(self, model: str) -> Price:
        """Of a model by its name."""
        try:
            agent = self._agent()
        except PerdureError:
            agent = None
        chosen, last = self._chosen(), self._found
        if last is not None and last[0] is agent and last[1:3] == (chosen, model):
            return last[3]
        price = Price(_spec(agent, chosen, model))
        self._found = agent, chosen, model, price
        return price


def _spec(agent: Agent | None, chosen: str, model: str) -> ModelSpec:
    """One that nobody named is taken apart."""
    try:
        for spec in Cast.specs(agent, chosen) if agent is not None else ():
            if model in (spec.label, spec.provider, f"{spec.provider}:{spec.name}"):
                return spec
    except PerdureError:
        pass
    provider, _, name = model.partition(":" if model.startswith("script:") else "/")
    return ModelSpec(provider=provider, name=name)


def overview(ledger: Ledger, agents: Agents, now: datetime) -> SpendingView:
    """What was spent, and what may be. Raises StorageError."""
    day, month = f"{now:%Y-%m-%d}", f"{now:%Y-%m}"
    all_ = agents.workspace.config.spending
    rows = []
    for entry in agents.list():
        caps = entry.agent.caps if entry.agent else {}
        none = CapSettings()
        rows.append(
            AgentSpending(
                agent=entry.name,
                error=entry.error,
                used=(
                    _used("day", ledger.total(entry.name, day), caps.get("day", none)),
                    _used("month", ledger.total(entry.name, month), caps.get("month", none)),
                ),
            )
        )
    return SpendingView(
        day=day,
        month=month,
        workspace=(
            _used("day", ledger.total("", day), all_.day),
            _used("month", ledger.total("", month), all_.month),
        ),
        agents=tuple(rows),
        unsettled=ledger.open(),
    )


def _used(period: Literal["day", "month"], spent: Spent, caps: CapSettings) -> Used:
    found: dict[str, float] = dict(_caps(caps))
    return Used(period=period, caps=found, **msgspec.structs.asdict(spent))
