"""How a request becomes steps: a plan is a generator that yields calls and is sent their results.

Nothing of a plan is kept between two replies. At each call of the model the plans of the open requests
run again from their beginning, fed with the results the conversation holds; where these end, the next
step is. So a plan must depend on nothing but its request and those results.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from perdure.kernel.events import Json, ToolResult

from .view import Exchange


@dataclass(frozen=True, slots=True)
class Call:
    tool: str
    arguments: dict[str, Json]


@dataclass(frozen=True, slots=True)
class Ask:
    say: str
    calls: tuple[Call, ...]


Results = tuple[ToolResult, ...]
Plan = Generator[Ask, Results, str]
"""Returns what to tell the owner in the end."""


@dataclass(frozen=True, slots=True)
class Move:
    """The next reply: `calls` empty means that all is done."""

    say: str
    calls: tuple[Call, ...] = ()


def step(say: str, call: Call) -> Generator[Ask, Results, ToolResult]:
    """One call. Where a crash left its outcome in doubt it is asked for once more, so use it for what
    is safe to do twice."""
    (result,) = yield Ask(say, (call,))
    if result.status == "in_doubt":
        (result,) = yield Ask("It is not certain that this was done, so I do it again.", (call,))
    return result


def only(text: str) -> Plan:
    """A plan that just says something."""
    return text
    yield  # makes it a generator


def next_move(plans: Sequence[Plan], past: Sequence[Exchange], tools: frozenset[str]) -> Move:
    """Replay the plans, one after another, over what was done; their first new step is the move."""
    said: list[str] = []
    at = 0
    for plan in plans:
        results: Results | None = None
        try:
            while True:
                ask = next(plan) if results is None else plan.send(results)
                lacking = sorted({c.tool for c in ask.calls} - tools)
                found = _find(ask.calls, past, at)
                if found is None and lacking:
                    said.append(
                        f"For that I would need the tool {lacking[0]}, which I do not have."
                    )
                    plan.close()
                    break
                if found is None:
                    plan.close()
                    return Move("\n\n".join((*said, ask.say) if ask.say else said), ask.calls)
                # What ended before this step was said with it.
                said.clear()
                at, results = found + 1, past[found].results
        except StopIteration as stop:
            said.append(str(stop.value))
    return Move("\n\n".join(s for s in said if s))


def _find(calls: tuple[Call, ...], past: Sequence[Exchange], at: int) -> int | None:
    """Where these very calls were made, at or after a place. Others in between, of another model or
    of a request that was dropped, are passed over."""
    for index in range(at, len(past)):
        done = past[index].calls
        if len(done) == len(calls) and all(
            d.name == c.tool and d.arguments == c.arguments
            for d, c in zip(done, calls, strict=True)
        ):
            return index
    return None
