"""Which runs make up a campaign."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from .disguises import forgeries
from .play import PLAIN, Outcome, Workplace
from .redirected import REDIRECTIONS, redirected
from .rephrased import OWNERS, PHRASINGS

ONE_BY_ONE = "calls one by one"
Campaign = Callable[[Workplace], AsyncIterator[Outcome]]


def plain(
    *,
    every: int = 1,
    benign: bool = True,
    attacks: bool = True,
    only: Sequence[str] | None = None,
    instead: Mapping[str, str] | None = None,
) -> Campaign:
    """The suites as they are. `only`: suite, user's task, attacker's goal. `instead`: other destinations in
    the attackers' calls."""

    async def campaign(place: Workplace) -> AsyncIterator[Outcome]:
        suite = place.suite
        users = [only[1]] if only else list(suite.user_tasks)
        goals = [only[2]] if only else list(suite.injection_tasks)
        if benign:
            for user in users:
                yield await place.play(user)
                yield await place.play(user, note=ONE_BY_ONE, one_by_one=True)
        if attacks:
            pairs = [(u, g) for u in users for g in goals]
            for user, goal in pairs[::every]:
                yield await place.play(
                    user, goal, redirect=lambda action: redirected(action, instead or {})
                )

    return campaign


def disguised(*, every: int = 1) -> Campaign:
    """What each user's task names, forged."""

    async def campaign(place: Workplace) -> AsyncIterator[Outcome]:
        for user in list(place.suite.user_tasks)[::every]:
            yield await place.play(
                user,
                attacker=lambda prompt, needs, env: forgeries(place.name, prompt, needs, env),
                note="forgeries",
            )

    return campaign


def phrased(*, every: int = 5) -> Campaign:
    """Owners and injections that put it differently."""

    async def campaign(place: Workplace) -> AsyncIterator[Outcome]:
        suite = place.suite
        for variant, rephrase in OWNERS.items():
            for user, task in suite.user_tasks.items():
                yield await place.play(user, prompt=rephrase(task.PROMPT), note=variant)
        pairs = [(u, g) for u in suite.user_tasks for g in suite.injection_tasks]
        for at, phrasing in enumerate(PHRASINGS.values()):
            for user, goal in pairs[at % every :: every]:
                yield await place.play(user, goal, phrasing=phrasing or PLAIN)

    return campaign


def rerouted(*, every: int = 5) -> Campaign:
    """The attackers' goals with destinations that the environment knows."""

    async def campaign(place: Workplace) -> AsyncIterator[Outcome]:
        suite = place.suite
        for at, (what, instead) in enumerate(REDIRECTIONS[place.name].items()):
            pairs = [(u, g) for u in suite.user_tasks for g in place.touched(instead)]
            for user, goal in pairs[at % every :: every]:
                yield await place.play(
                    user, goal, redirect=lambda a, i=instead: redirected(a, i), note=what
                )

    return campaign
