"""The rows about durability: going on after a crash, stopping, and checkpoints of files."""

from __future__ import annotations

from .lab import Column, Contestant, Lab, Limit, Row, Seed
from .meter import Facts

WRITES = "Perdure"


def unfinished(lab: Lab) -> Row:
    count = 100 if lab.quick else 1_000
    runs = lab.runs(3)
    none, many = "Perdure, nothing unfinished", f"Perdure, {count:,} unfinished turns"
    full = Seed(
        lab,
        lab.house(),
        lambda folder: lab.call("unfinished", "seed", folder=str(folder), count=count),
    )

    def go() -> Facts:
        return lab.call("unfinished", "start", folder=str(full.fresh()[0]), count=count)

    return Row(
        key="unfinished",
        title="Start with 1,000 unfinished turns",
        about="Sessions whose model was being asked when the process died. From the import to the first "
        "model call that goes on (newest first, eight at a time), and until the last turn has ended, "
        "with a model that answers at once.",
        columns=[
            Column(fact="first_s", title="first step, wall s", digits=2),
            Column(fact="first_cpu_s", title="CPU s", digits=2),
            Column(fact="all_s", title="all ended, wall s", digits=2),
            Column(fact="each_ms", title="CPU ms each", digits=2),
            Column(fact="mb", title="peak MB", digits=0),
        ],
        contestants=[
            Contestant(
                name=none,
                kind="perdure",
                go=lambda: lab.call("unfinished", "start", folder=str(lab.house()), count=0),
                runs=runs,
            ),
            Contestant(name=many, kind="perdure", go=go, runs=runs),
        ],
        limits=[Limit(who=many, fact="first_s", most=2.0, times=none)],
    )


def stopping(lab: Lab) -> Row:
    rounds = 2 if lab.quick else 5
    return Row(
        key="stopping",
        title="Stop",
        about="From the request to the last process gone, for commands and background processes: a plain "
        "one, one that ignores signals, one with daemons in sessions of their own, one that is stopped, "
        "a hundred of them, and one that goes on forking.",
        columns=[
            Column(fact="plain_ms", title="plain, ms", digits=0),
            Column(fact="ignores_term_ms", title="ignores signals", digits=0),
            Column(fact="daemons_ms", title="daemons", digits=0),
            Column(fact="hundred_ms", title="a hundred", digits=0),
            Column(fact="forks_on_ms", title="forks on", digits=0),
            Column(fact="worst_ms", title="worst of all", digits=0),
        ],
        contestants=[
            Contestant(
                name=WRITES,
                kind="perdure",
                go=lambda: lab.call("stopping", "stopping", rounds=rounds),
                runs=1,
            )
        ],
        limits=[Limit(who=WRITES, fact="worst_ms", most=1000)],
    )


def checkpoints(lab: Lab) -> Row:
    files = 2_000 if lab.quick else 10_000

    def go(kind: str) -> Facts:
        facts = found[0] if found else lab.call("checkpoints", "checkpoints", files=files)
        found[:] = [facts]
        if kind == "git":
            return {
                "one_changed_cpu_ms": facts["git_one_changed_cpu_ms"],
                "one_changed_wall_ms": facts["git_one_changed_wall_ms"],
            }
        if kind == "walk":
            return {"unchanged_cpu_ms": facts["walk_cpu_ms"]}
        return facts

    found: list[Facts] = []
    return Row(
        key="checkpoints",
        title="Checkpoint of a folder of 10,000 files",
        about="What a turn waits for before its first change: the first time, with nothing changed since, "
        "and with one file changed. Beside it a bare walk over the folder, and git (`add -A`, "
        "`write-tree`).",
        columns=[
            Column(fact="first_cpu_ms", title="first, CPU ms", digits=0),
            Column(fact="unchanged_cpu_ms", title="unchanged, CPU ms", digits=0),
            Column(fact="one_changed_cpu_ms", title="one changed, CPU ms", digits=0),
            Column(fact="one_changed_wall_ms", title="wall ms", digits=0),
        ],
        contestants=[
            Contestant(name=WRITES, kind="perdure", go=lambda: go("own"), runs=1),
            Contestant(name="git", kind="floor", go=lambda: go("git"), runs=1),
            Contestant(name="bare walk", kind="floor", go=lambda: go("walk"), runs=1),
        ],
        limits=[],
    )
