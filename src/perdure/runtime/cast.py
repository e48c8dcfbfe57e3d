"""The models of one session: the agent's own, its fallbacks, or the owner's choice; opened when needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from perdure.agents import Agent
from perdure.agents.config import OneModel
from perdure.context import ContextBudget, SessionContext
from perdure.kernel.desk import Setup
from perdure.kernel.errors import InvalidInput
from perdure.kernel.ports import Model
from perdure.kernel.prompt import Item
from perdure.models import ModelSpec

from .services import ModelSource

if TYPE_CHECKING:
    from perdure.models.transcript import Kept

EMBEDDED = ModelSpec(provider="rehearsal", name="")
"""Used when neither agent nor workspace names a model and no provider has a key."""


@runtime_checkable
class Keeping(Protocol):
    """A model whose pieces of a conversation outlive it. See `perdure.models.adapter.Adapter`."""

    def keep(self, items: Sequence[Item], revision: int, /) -> Kept | None: ...

    def take_up(self, kept: Kept, items: Sequence[Item], /) -> None: ...


class Cast:
    def __init__(self, agent: Callable[[], Agent], models: ModelSource) -> None:
        """`agent` is asked at each turn, so that a reload takes effect; it may raise PerdureError."""
        self._agent, self._source = agent, models
        self._open: list[tuple[ModelSpec, Model]] = []
        self._kept: tuple[Kept, Sequence[Item]] | None = None
        """Pieces that wait for the model they are of, until the first turn."""
        self.name = ""
        """Of the model last set up, or that would be."""

    def setup(self, chosen: str, context: SessionContext) -> Setup:
        """For a turn. Raises ConfigError when an agent's file or its model cannot be used."""
        agent = self._agent()
        specs = self.specs(agent, chosen)
        models = [self._model(spec) for spec in specs]
        self.name, self._kept = models[0].name, None
        context.budget = self._budget(agent, min(self._source.window(s) for s in specs))
        return Setup(models=models, limits=agent.limits, collect=agent.session.collect_ms / 1000)

    def alone(self, chosen: str) -> Model:
        """One that has seen nothing of the session. Raises ConfigError."""
        return self._source.open(self.specs(self._agent(), chosen)[0])

    def check(self, chosen: str) -> None:
        """Raises InvalidInput or ConfigError when the owner's choice cannot be opened."""
        self._model(_parsed(chosen))

    def first_budget(self) -> ContextBudget:
        """Before the first turn, when the model's window has not been looked up."""
        agent = self._agent()
        spec = self.specs(agent, "")[0]
        self.name = _name(spec)
        return self._budget(agent, spec.context_window or ContextBudget().window)

    def keep(self, context: SessionContext) -> Kept | None:
        """What a model was last sent of the conversation, to be sent again after the next opening."""
        found = [
            kept
            for _, model in self._open
            if isinstance(model, Keeping) and (kept := model.keep(context.items, context.revision))
        ]
        if not found and self._kept is not None:  # no turn since the last opening
            kept, items = self._kept
            return kept if items is context.items and kept.revision == context.revision else None
        return max(found, key=lambda kept: len(kept.sizes), default=None)

    def take_up(self, kept: Kept, context: SessionContext) -> None:
        """Give that to the model whose pieces they are, should it be used in the first turn."""
        self._kept = kept, context.items

    async def close(self) -> None:
        for _, model in self._open:
            await model.close()
        self._open.clear()

    @staticmethod
    def specs(agent: Agent, chosen: str) -> list[ModelSpec]:
        if chosen:
            return [_parsed(chosen)]
        return [_spec(m) for m in agent.models] or [EMBEDDED]

    def _model(self, spec: ModelSpec) -> Model:
        for known, model in self._open:
            if known == spec:
                return model
        model = self._source.open(spec)
        if self._kept is not None and isinstance(model, Keeping):
            model.take_up(*self._kept)
        self._open.append((spec, model))
        return model

    @staticmethod
    def _budget(agent: Agent, window: int) -> ContextBudget:
        own = agent.context
        return ContextBudget(
            window=min(own.window or window, window),
            max_result_tokens=own.max_result_tokens,
            clear_at=own.clear_at,
            keep_results=own.keep_results,
            compact_at=own.compact_at,
            keep_tokens=own.keep_tokens,
        )


def _name(spec: ModelSpec) -> str:
    if not spec.name:
        return spec.provider
    return f"{spec.provider}{':' if spec.provider == 'script' else '/'}{spec.name}"


def _parsed(chosen: str) -> ModelSpec:
    """`provider/name` or `script:path`. Raises InvalidInput."""
    provider, _, name = chosen.partition(":" if chosen.startswith("script:") else "/")
    if not provider or (not name and provider != "rehearsal"):
        raise InvalidInput(f"{chosen!r} names no model", hint="Write provider/model, or rehearsal.")
    return ModelSpec(provider=provider, name=name)


def _spec(settings: OneModel) -> ModelSpec:
    return ModelSpec(
        provider=settings.provider,
        name=settings.name,
        base_url=settings.base_url,
        temperature=settings.temperature,
        max_output_tokens=settings.max_output_tokens,
        effort=settings.effort,
        context_window=settings.context_window,
        price=(settings.price.input, settings.price.output) if settings.price else None,
        timeout_seconds=settings.timeout_seconds,
        headers=settings.headers,
        extra=settings.extra,
    )
