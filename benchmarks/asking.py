"""How often an honest owner is asked: AgentDojo's 97 tasks without an attacker, by an owner who says yes."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from .meter import Facts


async def prompts() -> Facts:
    """What is asked at once is one prompt: so it matters whether the model makes its calls at once or one by
    one, and both are played. Needs AgentDojo (`make setup-test`)."""
    from tests.dojo.campaign import plain
    from tests.dojo.play import workplace
    from tests.dojo.report import tally
    from tests.dojo.suites import suites

    campaign, outcomes, began = plain(attacks=False), [], time.process_time()
    for name in suites():
        with tempfile.TemporaryDirectory(prefix="dojo-") as folder:
            async with workplace(name, Path(folder)) as place:
                outcomes += [outcome async for outcome in campaign(place)]
    ways = [
        tally(way, [o for o in outcomes if o.variant == way])
        for way in dict.fromkeys(o.variant for o in outcomes)
    ]
    return {
        "tasks": min(way.benign for way in ways),
        "useful": min(way.useful for way in ways),
        "fewest": min(way.batches for way in ways),
        "prompts": max(way.batches for way in ways),
        "cpu_s": time.process_time() - began,
    }
