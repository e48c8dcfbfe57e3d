"""The rows of the design's table, each with who takes part and what is demanded."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from .durability import checkpoints, stopping, unfinished
from .lab import Column, Contestant, Failed, Lab, Limit, Row, Seed
from .meter import Facts

PEERS = {
    "agno_agent": "agno",
    "pydanticai": "pydantic-ai",
    "openaiagents": "OpenAI Agents",
    "langgraph_agent": "LangGraph",
    "smol": "smolagents",
    "nanobot_sdk": "nanobot",
}
FLOORS = {"sockets": "raw sockets", "aiohttp": "aiohttp loop", "httpx": "httpx loop"}
WRITES, READS = "Perdure", "Perdure, tool that only reads"

Go = Callable[[], Facts]


def _floor(lab: Lab, client: str, scenario: str, stream: bool, **given: object) -> Facts:
    away = client == "httpx"
    if away and (lab.peers is None or "httpx" in lab.peers.missing):
        raise Failed("httpx is not installed")
    return lab.call(
        "scenarios",
        scenario,
        peer=away,
        driver="floors",
        client=client,
        url=lab.url,
        stream=stream,
        **given,
    )


def _peer(lab: Lab, driver: str, scenario: str, stream: bool, **given: object) -> Facts:
    options = {"folder": str(lab.folder()), **given}
    return lab.call(
        "scenarios",
        scenario,
        peer=True,
        driver=f"peers.{driver}",
        url=lab.url,
        stream=stream,
        **options,
    )


def _house(lab: Lab, scenario: str, stream: bool, effects: str, **given: object) -> Facts:
    options = {"folder": str(lab.house(stream=stream)), **given}
    return lab.call(
        "scenarios",
        scenario,
        driver="house",
        url=lab.url,
        stream=stream,
        effects=effects,
        **options,
    )


def _both(plain: Facts, streaming: Facts) -> Facts:
    return {f"plain_{k}": v for k, v in plain.items()} | {
        f"stream_{k}": v for k, v in streaming.items()
    }


def _peers(lab: Lab, go: Callable[[str], Facts], runs: int) -> list[Contestant]:
    if lab.peers is None:
        return []
    found = []
    for driver, name in PEERS.items():
        version = lab.peers.versions.get(driver, "")
        skipped = lab.peers.missing.get(driver, "")
        found.append(
            Contestant(
                name=f"{name} {version}".strip(),
                kind="peer",
                go=lambda driver=driver: go(driver),
                runs=runs,
                skipped=skipped,
            )
        )
    return found


def rounds(lab: Lab) -> Row:
    turns = 5 if lab.quick else 20

    def house(effects: str) -> Go:
        return lambda: _both(
            *(_house(lab, "rounds", s, effects, turns=turns) for s in (False, True))
        )

    def floor(client: str) -> Go:
        return lambda: _both(
            *(_floor(lab, client, "rounds", s, turns=turns) for s in (False, True))
        )

    runs = lab.runs(5)
    return Row(
        key="rounds",
        title="CPU per tool round, everything durable",
        about="Turns of ten tool rounds and an answer, each in a new session, one after the other; "
        "milliseconds per tool round, the turn's beginning and end included. The tool of the first "
        "row declares that it writes, so that its intent is synced before it runs and its result "
        "after.",
        columns=[
            Column(fact="plain_cpu_ms", title="CPU, plain"),
            Column(fact="stream_cpu_ms", title="CPU, streaming"),
            Column(fact="plain_wall_ms", title="wall, plain"),
            Column(fact="stream_wall_ms", title="wall, streaming"),
        ],
        contestants=[
            Contestant(name=WRITES, kind="perdure", go=house("writes"), runs=runs),
            Contestant(name=READS, kind="perdure", go=house("reads"), runs=runs),
            *(
                Contestant(name=name, kind="floor", go=floor(client), runs=runs)
                for client, name in FLOORS.items()
            ),
            *_peers(
                lab,
                lambda d: _both(*(_peer(lab, d, "rounds", s, turns=5) for s in (False, True))),
                lab.runs(3),
            ),
        ],
        limits=[
            Limit(who=WRITES, fact="plain_cpu_ms", most=1.0),
            Limit(who=WRITES, fact="stream_cpu_ms", most=1.2),
        ],
    )


def crowd(lab: Lab) -> Row:
    runs = lab.runs(5)

    def house(effects: str) -> Go:
        return lambda: _both(*(_house(lab, "crowd", s, effects) for s in (False, True)))

    return Row(
        key="crowd",
        title="100 sessions at once, ten rounds each",
        about="In one process; tool rounds per second of its CPU time, and the most memory it took.",
        columns=[
            Column(fact="plain_rounds_per_cpu_s", title="rounds per CPU s, plain", digits=0),
            Column(fact="stream_rounds_per_cpu_s", title="streaming", digits=0),
            Column(fact="stream_rounds_per_s", title="rounds per s, streaming", digits=0),
            Column(fact="stream_peak_mb", title="peak MB, streaming", digits=0),
        ],
        contestants=[
            Contestant(name=WRITES, kind="perdure", go=house("writes"), runs=runs),
            Contestant(name=READS, kind="perdure", go=house("reads"), runs=runs),
            *(
                Contestant(
                    name=name,
                    kind="floor",
                    go=lambda c=client: _both(*(_floor(lab, c, "crowd", s) for s in (False, True))),
                    runs=runs,
                )
                for client, name in FLOORS.items()
            ),
            *_peers(lab, lambda d: _both(*(_peer(lab, d, "crowd", s) for s in (False, True))), 1),
        ],
        limits=[
            Limit(who=WRITES, fact="plain_rounds_per_cpu_s", least=1000),
            Limit(who=WRITES, fact="stream_rounds_per_cpu_s", least=1000),
            Limit(who=WRITES, fact="stream_peak_mb", most=80),
        ],
    )


def long(lab: Lab) -> Row:
    runs = lab.runs(3)
    upto, limit = (300, 60.0) if lab.quick else (1000, 200.0)
    return Row(
        key="long",
        title="One long session",
        about="One turn with 1,000 tool rounds in one session, no result cleared: milliseconds of CPU "
        "per round around the hundredth, the three-hundredth and the thousandth, where the request is "
        "0.5 MB long. Peers run once, and are left where they are after 200 seconds.",
        columns=[
            Column(fact="cpu_ms_at_100", title="CPU at round 100"),
            Column(fact="cpu_ms_at_300", title="at round 300"),
            Column(fact="cpu_ms_at_1000", title="at round 1,000"),
            Column(fact="peak_mb", title="peak MB", digits=0),
        ],
        contestants=[
            Contestant(
                name=WRITES,
                kind="perdure",
                go=lambda: _house(lab, "long", False, "writes", upto=upto),
                runs=runs,
            ),
            Contestant(
                name="Perdure, streaming",
                kind="perdure",
                go=lambda: _house(lab, "long", True, "writes", upto=upto),
                runs=runs,
            ),
            *(
                Contestant(
                    name=name,
                    kind="floor",
                    go=lambda c=client: _floor(lab, c, "long", False, upto=upto),
                    runs=runs,
                )
                for client, name in FLOORS.items()
            ),
            *_peers(lab, lambda d: _peer(lab, d, "long", False, upto=upto, limit=limit), 1),
        ],
        limits=[
            Limit(who=WRITES, fact="cpu_ms_at_100", most=1.2),
            Limit(who=WRITES, fact="cpu_ms_at_1000", most=1.8),
        ],
    )


def start(lab: Lab) -> Row:
    runs = lab.runs(7)
    return Row(
        key="start",
        title="Import and ready agent",
        about="From the start of the interpreter until an agent could take a message (Perdure: "
        "workspace opened, a session on disk), and until its first turn is over.",
        columns=[
            Column(fact="cpu_s", title="ready, CPU s"),
            Column(fact="mb", title="ready, MB", digits=0),
            Column(fact="turn_cpu_s", title="first turn over, CPU s"),
            Column(fact="turn_mb", title="first turn over, MB", digits=0),
        ],
        contestants=[
            Contestant(
                name=WRITES,
                kind="perdure",
                go=lambda: _house(lab, "start", True, "writes"),
                runs=runs,
            ),
            Contestant(
                name="bare Python", kind="floor", go=lambda: lab.call("floors", "bare"), runs=runs
            ),
            *(
                Contestant(
                    name=name,
                    kind="floor",
                    go=lambda c=client: _floor(lab, c, "start", True),
                    runs=runs,
                )
                for client, name in FLOORS.items()
            ),
            *_peers(lab, lambda d: _peer(lab, d, "start", True), lab.runs(3)),
        ],
        limits=[
            Limit(who=WRITES, fact="cpu_s", most=0.35),
            Limit(who=WRITES, fact="mb", most=50),
        ],
    )


def help(lab: Lab) -> Row:
    runs = lab.runs(9)

    def command(*argv: str) -> Go:
        return lambda: lab.call("parts", "run", argv=list(argv))

    own = [
        Contestant(
            name=WRITES,
            kind="perdure",
            go=command(sys.executable, "-m", "perdure", "--help"),
            runs=runs,
        ),
        Contestant(
            name="bare Python", kind="floor", go=command(sys.executable, "-c", "pass"), runs=runs
        ),
        Contestant(
            name="Python and click",
            kind="floor",
            go=command(sys.executable, "-c", "import click"),
            runs=runs,
        ),
    ]
    if lab.peers is not None:
        nanobot = str(lab.peers.python.parent / "nanobot")
        own.append(
            Contestant(
                name="nanobot",
                kind="peer",
                go=command(nanobot, "--help"),
                runs=lab.runs(5),
                skipped=lab.peers.missing.get("nanobot_sdk", ""),
            )
        )
    return Row(
        key="help",
        title="`perdure --help`",
        about="Milliseconds of CPU of the whole process.",
        columns=[
            Column(fact="cpu_ms", title="CPU ms", digits=0),
            Column(fact="wall_ms", title="wall ms", digits=0),
        ],
        contestants=own,
        limits=[Limit(who=WRITES, fact="cpu_ms", most=90)],
    )


def server(lab: Lab) -> Row:
    return Row(
        key="server",
        title="`perdure serve`",
        about="From the start of the process until it listens; at rest a second later; after the first "
        "turn, asked for over HTTP.",
        columns=[
            Column(fact="wall_s", title="ready, s"),
            Column(fact="cpu_s", title="ready, CPU s"),
            Column(fact="idle_mb", title="idle MB", digits=0),
            Column(fact="turn_mb", title="MB after the first turn", digits=0),
        ],
        contestants=[
            Contestant(
                name=WRITES,
                kind="perdure",
                go=lambda: lab.call("parts", "serve", folder=str(lab.house())),
                runs=lab.runs(5),
            )
        ],
        limits=[
            Limit(who=WRITES, fact="wall_s", most=0.7),
            Limit(who=WRITES, fact="idle_mb", most=60),
            Limit(who=WRITES, fact="turn_mb", most=75),
        ],
    )


def resume(lab: Lab) -> Row:
    runs = lab.runs(3)
    sizes = {1_000: 100} if lab.quick else {1_000: 100, 10_000: 1_000}
    contestants: dict[str, Contestant] = {}

    def add(name: str, kind: str, size: int, go: Go, runs: int, skipped: str = "") -> None:
        label = f"{name}, {size:,} messages"
        contestants[label] = Contestant(name=label, kind=kind, go=go, runs=runs, skipped=skipped)

    def house(seed: Seed, snapshot: bool) -> Facts:
        folder, facts = seed.fresh()
        if not snapshot:
            home = folder / ".perdure" / "sessions" / str(facts["session"])
            (home / "snapshot.json").unlink(missing_ok=True)
        return _house(
            lab,
            "resume",
            True,
            "reads",
            folder=str(folder),
            session=facts["session"],
            results=facts["results"],
        )

    def floor(seed: Seed) -> Facts:
        folder, facts = seed.fresh()
        return _floor(lab, "aiohttp", "resume", True, **{**facts, "folder": str(folder)})

    def peer(driver: str, seed: Seed) -> Facts:
        folder, facts = seed.fresh()
        return _peer(lab, driver, "resume", True, **{**facts, "folder": str(folder)})

    for size, turns in sizes.items():
        own = Seed(lab, lab.house(), _seed(lab, "perdure", turns))
        add("Perdure", "perdure", size, lambda s=own: house(s, True), runs)
        add("Perdure without snapshot", "perdure", size, lambda s=own: house(s, False), runs)
        plain = Seed(lab, lab.folder(), _seed(lab, "floor", turns))
        add("aiohttp loop", "floor", size, lambda s=plain: floor(s), runs)
        if lab.peers is None:
            continue
        for driver, name in PEERS.items():
            if driver == "smol" or (size > 1_000 and driver in ("agno_agent", "nanobot_sdk")):
                continue  # stores nothing; can only be filled by real turns, which takes for ever
            seed = Seed(lab, lab.folder(), _peer_seed(lab, driver, turns))
            skipped = lab.peers.missing.get(driver, "")
            add(name, "peer", size, lambda d=driver, s=seed: peer(d, s), 1, skipped)
    limits = [
        Limit(who=f"{name}, {size:,} messages", fact="cpu_ms", most=most)
        for size, most in ((1_000, 8.0), (10_000, 40.0))
        if size in sizes
        for name in ("Perdure", "Perdure without snapshot")
    ]
    return Row(
        key="resume",
        title="One turn on a stored session",
        about="In a process that is warm: the session is opened and asked something that needs no tool. "
        "And the median of three more turns, the session being open.",
        columns=[
            Column(fact="cpu_ms", title="first turn, CPU ms", digits=1),
            Column(fact="wall_ms", title="wall ms", digits=1),
            Column(fact="next_cpu_ms", title="next turn, CPU ms", digits=1),
            Column(fact="mb", title="MB", digits=0),
        ],
        contestants=list(contestants.values()),
        limits=limits,
    )


def _seed(lab: Lab, function: str, turns: int) -> Callable[[Path], Facts]:
    return lambda folder: lab.call("seeds", function, folder=str(folder), turns=turns, each=4)


def _peer_seed(lab: Lab, driver: str, turns: int) -> Callable[[Path], Facts]:
    return lambda folder: lab.call(
        "seeds",
        "peer",
        peer=True,
        driver=f"peers.{driver}",
        folder=str(folder),
        url=lab.url,
        turns=turns,
        each=4,
    )


def sessions(lab: Lab) -> Row:
    runs = lab.runs(7)
    count = 1_000 if lab.quick else 10_000
    none, many = "Perdure, no session", f"Perdure, {count:,} sessions"
    one = Seed(
        lab, lab.house(), lambda folder: lab.call("seeds", "many", folder=str(folder), count=1)
    )
    full = Seed(
        lab, lab.house(), lambda folder: lab.call("seeds", "many", folder=str(folder), count=count)
    )

    def go(seed: Seed) -> Facts:
        folder = str(seed.kept()[0])
        facts = _house(lab, "start", True, "writes", folder=folder)
        return facts | lab.call("parts", "listing", folder=folder)

    return Row(
        key="sessions",
        title="Start with 10,000 sessions on disk",
        about="As in `start`: the workspace is opened and a session made. And the newest fifty are "
        "listed: without the index, which is then rebuilt from the logs, and with it.",
        columns=[
            Column(fact="cpu_s", title="ready, CPU s", digits=3),
            Column(fact="mb", title="ready, MB", digits=0),
            Column(fact="cpu_ms", title="list 50, CPU ms", digits=1),
        ],
        contestants=[
            Contestant(name=none, kind="perdure", go=lambda: go(one), runs=runs),
            Contestant(name=many, kind="perdure", go=lambda: go(full), runs=runs),
        ],
        limits=[Limit(who=many, fact="cpu_s", most=1.2, times=none)],
    )


def append(lab: Lab) -> Row:
    runs = lab.runs(5)
    count = 200 if lab.quick else 1000

    def own(sessions: int, each: int) -> Go:
        return lambda: lab.call(
            "parts", "append", folder=str(lab.folder()), sessions=sessions, each=each
        )

    def floor(function: str) -> Go:
        return lambda: lab.call("floors", function, folder=str(lab.folder()), count=count)

    alone, shared = "Perdure, one session", "Perdure, 100 sessions at once"
    return Row(
        key="append",
        title="Durable append",
        about="A record of about 400 bytes, on disk before the next one is written.",
        columns=[
            Column(fact="cpu_ms", title="CPU ms per commit", digits=3),
            Column(fact="wall_ms", title="wall ms per commit", digits=3),
            Column(fact="syncs", title="syncs per commit"),
        ],
        contestants=[
            Contestant(name=alone, kind="perdure", go=own(1, count), runs=runs),
            Contestant(name=shared, kind="perdure", go=own(100, 20), runs=runs),
            Contestant(name="write + fdatasync", kind="floor", go=floor("append"), runs=runs),
            Contestant(name="SQLite, WAL, FULL", kind="floor", go=floor("sqlite"), runs=runs),
        ],
        limits=[
            Limit(who=shared, fact="syncs", most=0.1),
            Limit(who=shared, fact="wall_ms", most=1.0, times="write + fdatasync"),
        ],
    )


def syncs(lab: Lab) -> Row:
    def go(effects: str, sessions: int) -> Go:
        return lambda: lab.call(
            "parts", "syncs", folder=str(lab.house()), effects=effects, sessions=sessions
        )

    shapes = {
        "Perdure, tool that writes": ("writes", 1),
        "Perdure, tool that only reads": ("reads", 1),
        "Perdure, tool that writes, 100 sessions": ("writes", 100),
        "Perdure, tool that only reads, 100 sessions": ("reads", 100),
    }
    return Row(
        key="syncs",
        title="What a tool round asks of the disk",
        about="Syncs and bytes per tool round, of turns of ten rounds; a session's beginning and its "
        "turn's end included.",
        columns=[
            Column(fact="syncs", title="syncs per round"),
            Column(fact="kb", title="kB per round"),
        ],
        contestants=[
            Contestant(name=name, kind="perdure", go=go(*shape), runs=1)
            for name, shape in shapes.items()
        ],
        limits=[],
    )


def command(lab: Lab) -> Row:
    def go() -> Facts:
        facts = lab.call("parts", "commands", folder=str(lab.folder()), count=40)
        return facts | {"more_ms": facts["wall_ms"] - facts["plain_wall_ms"]}

    return Row(
        key="command",
        title="Supervised command",
        about="`true`, run under the supervisor that lets it outlive the runtime, against a plain "
        "subprocess. What the sandbox adds has a row of its own.",
        columns=[
            Column(fact="wall_ms", title="wall ms", digits=1),
            Column(fact="plain_wall_ms", title="plain, wall ms", digits=1),
            Column(fact="more_ms", title="more, ms", digits=1),
            Column(fact="cpu_ms", title="runtime's CPU ms", digits=1),
        ],
        contestants=[Contestant(name=WRITES, kind="perdure", go=go, runs=lab.runs(5))],
        limits=[Limit(who=WRITES, fact="more_ms", most=8)],
    )


def sandboxed(lab: Lab) -> Row:
    return Row(
        key="sandbox",
        title="Command in the sandbox",
        about="`true`, supervised, in the sandbox and without it, in turns; medians of wall time.",
        columns=[
            Column(fact="none_ms", title="without, wall ms", digits=1),
            Column(fact="bubblewrap_more_ms", title="bubblewrap, more ms", digits=1),
            Column(fact="launcher_more_ms", title="launcher, more ms", digits=1),
        ],
        contestants=[
            Contestant(
                name=WRITES,
                kind="perdure",
                go=lambda: lab.call("parts", "contained", folder=str(lab.folder()), count=40),
                runs=lab.runs(3),
            )
        ],
        limits=[
            Limit(who=WRITES, fact="bubblewrap_more_ms", most=8),
            Limit(who=WRITES, fact="launcher_more_ms", most=8),
        ],
    )


def policy(lab: Lab) -> Row:
    return Row(
        key="policy",
        title="Policy decision",
        about="The gate's judgement of a shell command under a policy of twenty rules, arguments "
        "validated, microseconds.",
        columns=[Column(fact="cpu_us", title="CPU µs", digits=0)],
        contestants=[
            Contestant(
                name=WRITES,
                kind="perdure",
                go=lambda: lab.call("parts", "decisions", folder=str(lab.house()), count=2000),
                runs=lab.runs(5),
            )
        ],
        limits=[Limit(who=WRITES, fact="cpu_us", most=200)],
    )


def egress(lab: Lab) -> Row:
    return Row(
        key="egress",
        title="Outgoing request",
        about="A GET of 2 KB on loopback by name: judged, scanned, resolved, pinned and recorded, against "
        "bare aiohttp. The server's CPU time is in both.",
        columns=[
            Column(fact="egress_cpu_ms", title="CPU ms"),
            Column(fact="bare_cpu_ms", title="bare, CPU ms"),
            Column(fact="more_ms", title="more, ms"),
        ],
        contestants=[
            Contestant(
                name=WRITES,
                kind="perdure",
                go=lambda: lab.call("outside", "requests", folder=str(lab.folder()), count=500),
                runs=lab.runs(5),
            )
        ],
        limits=[Limit(who=WRITES, fact="more_ms", most=2)],
    )


def leaks(lab: Lab) -> Row:
    return Row(
        key="leaks",
        title="Search for leaked secrets",
        about="CPU of a scan with a vault of twenty secrets, encodings undone; `re`: the formats alone, in "
        "one pass of the standard library's regular expressions.",
        columns=[
            Column(fact="code_ms", title="code, ms per MB", digits=1),
            Column(fact="picture_ms", title="base64, ms per MB", digits=1),
            Column(fact="re_ms", title="re, ms per MB", digits=1),
            Column(fact="small_us", title="1 KB, µs", digits=0),
        ],
        contestants=[
            Contestant(
                name=WRITES,
                kind="perdure",
                go=lambda: lab.call("leaking", "scan", folder=str(lab.folder()), times=5),
                runs=lab.runs(5),
            )
        ],
        limits=[
            Limit(who=WRITES, fact="code_ms", most=35),
            Limit(who=WRITES, fact="picture_ms", most=35),
        ],
    )


def prompts(lab: Lab) -> Row:
    return Row(
        key="prompts",
        title="Prompts per task",
        about="AgentDojo's 97 tasks without an attacker, by a model that does them as they are meant and an "
        "owner who says yes; what is asked at once is one prompt.",
        columns=[
            Column(fact="tasks", title="tasks", digits=0),
            Column(fact="useful", title="done", digits=0),
            Column(fact="fewest", title="prompts, calls at once", digits=0),
            Column(fact="prompts", title="prompts, one by one", digits=0),
            Column(fact="cpu_s", title="CPU s", digits=0),
        ],
        contestants=[
            Contestant(
                name=WRITES, kind="perdure", go=lambda: lab.call("asking", "prompts"), runs=1
            )
        ],
        limits=[Limit(who=WRITES, fact="prompts", most=30)],
    )


ROWS: dict[str, Callable[[Lab], Row]] = {
    f.__name__: f
    for f in (
        rounds,
        crowd,
        long,
        start,
        help,
        server,
        resume,
        sessions,
        append,
        syncs,
        unfinished,
        stopping,
        checkpoints,
        command,
        sandboxed,
        policy,
        egress,
        leaks,
        prompts,
    )
}
