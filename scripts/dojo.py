"""AgentDojo's 949 pairs of a user's task and an attacker's goal, and its 97 tasks without an attacker.

    python scripts/dojo.py                      everything, a table for each suite
    python scripts/dojo.py --suite slack --benign
    python scripts/dojo.py --pair slack user_task_1 injection_task_1
    python scripts/dojo.py --replace mark.black-2134@gmail.com=ann@example.org
    python scripts/dojo.py --disguise           what the owner named, forged in every way we know of
    python scripts/dojo.py --redirect           the attackers' goals with destinations that are not strangers
    python scripts/dojo.py --phrasing           injections and owners who put it differently

Exit status 1 when a limit is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.dojo.campaign import Campaign, disguised, phrased, plain, rerouted
from tests.dojo.limits import broken
from tests.dojo.play import Outcome, workplace
from tests.dojo.report import harms, losses, questions, table
from tests.dojo.suites import suites


async def run(campaign: Campaign, names: Sequence[str]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for name in names:
        with tempfile.TemporaryDirectory(prefix="dojo-") as folder:
            async with workplace(name, Path(folder)) as place:
                outcomes += [o async for o in campaign(place)]
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", action="append", choices=sorted(suites()))
    parser.add_argument("--pair", nargs=3, metavar=("SUITE", "USER_TASK", "INJECTION_TASK"))
    parser.add_argument("--every", type=int, default=1, help="only every nth pair of task and goal")
    parser.add_argument(
        "--replace",
        action="append",
        default=[],
        metavar="OLD=NEW",
        help="another destination in the attackers' calls",
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--benign", action="store_true", help="no attacker")
    kind.add_argument("--disguise", action="store_true")
    kind.add_argument("--phrasing", action="store_true")
    kind.add_argument("--redirect", action="store_true")
    options = parser.parse_args()
    if options.disguise:
        campaign = disguised(every=options.every)
    elif options.redirect:
        campaign = rerouted(every=options.every)
    elif options.phrasing:
        campaign = phrased(every=options.every)
    else:
        campaign = plain(
            every=options.every,
            attacks=not options.benign,
            only=options.pair,
            instead=dict(pair.split("=", 1) for pair in options.replace),
        )
    names = [options.pair[0]] if options.pair else options.suite or list(suites())
    began = time.process_time()
    outcomes = asyncio.run(run(campaign, names))
    print(table(outcomes))
    for title, text in (
        ("Asked without an attacker:", questions(outcomes)),
        ("Came to nothing without an attacker:", losses(outcomes)),
        ("Let through without a question:", harms(outcomes)),
    ):
        if text:
            print(f"\n{title}\n{text}")
    print(f"\n{len(outcomes)} runs, {time.process_time() - began:.0f} s of CPU")
    whole = not (options.pair or options.suite or options.every > 1)
    failed = broken(outcomes) if whole else []
    for line in failed:
        print(f"LIMIT: {line}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
