"""The main job, on real files: a turn that survives kill -9 in the middle of a tool.

Needs no key and no network: the built-in rehearsal model plays the agent; everything else is real.
Exits 0 only if the folder is tidy, the same turn finished, and no step ran twice.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

PATIENCE = 60.0
"""Seconds that any one step of the demo may take."""
WISH = "tidy the folder downloads slowly"
QUESTION = "what did you do?"
BOLD, DIM, GREEN, RED, RESET = (
    ("\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[0m")
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ
    else ("",) * 5
)


class Demo:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.workspace = root / "workspace"
        self.mess = self.workspace / "downloads"
        home = root / "home"
        home.mkdir()
        self.workspace.mkdir()
        # A stranger's machine: no keys, no configuration, nothing of the person who runs this.
        keep = ("PATH", "LANG", "LC_ALL", "TERM", "TMPDIR")
        self.env = {k: v for k, v in os.environ.items() if k in keep} | {
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "NO_COLOR": "1",
        }
        self.server: subprocess.Popen[bytes] | None = None

    # The story ----------------------------------------------------------------------------------

    def play(self) -> None:
        say("A workspace with a messy folder of real files")
        self.perdure("init", "--yes")
        (self.workspace / ".perdure" / "policy.yaml").write_text("mode: auto\n")
        before = make_mess(self.mess)
        show(self.mess)

        say("A server, and a first terminal that asks for the folder to be tidied")
        self.start()
        print(f"{DIM}$ perdure run {WISH!r}{RESET}")
        first = subprocess.Popen(
            [sys.executable, "-m", "perdure", "run", "--json", WISH],
            cwd=self.workspace,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        until("a tool to be in the middle of its work", self.moving)
        say("kill -9, while a tool is running")
        running = self.kill()
        print(f"The server is gone. Running at that moment: {running}")

        say("A server is started again: by us, or by the first terminal, if that is quicker")
        self.start()
        answer, _ = first.communicate(timeout=PATIENCE)
        outcome = json.loads(answer)
        print(f"The first terminal, which stayed, got its answer: {outcome['reason']}")

        say("A second terminal attaches and asks what was done")
        seen = self.perdure("attach", outcome["session"], stdin=QUESTION + "\n")
        print(indent(seen))

        say("The event log, and what it cost")
        records = self.records()
        print(f"{self.log()}  ({len(records)} records)")
        cost = sum(r["event"].get("cost_usd") or 0 for r in records)
        print(f"${cost:.2f}  (the rehearsal is no language model, and free)")
        show(self.mess)
        self.check(before, outcome, seen)

    def check(self, before: Counter[bytes], outcome: dict[str, Any], seen: str) -> None:
        say("Checked")
        events = [r["event"] for r in self.records()]
        started = Counter(e["call"] for e in events if e["type"] == "tool_started")
        finished = Counter(e["call"] for e in events if e["type"] == "tool_finished")
        statuses = {e["result"].get("status", "ok") for e in events if e["type"] == "tool_finished"}
        turns = [e for e in events if e["type"] == "turn_started"]
        moved = Counter(
            line.partition("  ->  ")[0]
            for e in events
            if e["type"] == "tool_finished"
            for part in e["result"].get("parts", ())
            for line in part.get("text", "").split("\n")
            if line.startswith("moved  ")
        )
        loose = [p.name for p in self.mess.iterdir() if p.is_file() and p.name[0] != "."]
        verified = self.perdure("session", "verify", outcome["session"])
        for good, text in (
            (not loose, "the folder is tidy: no loose file is left"),
            (contents(self.mess) == before, "every file is there, with its content"),
            (outcome["reason"] == "done", "the turn that was killed has finished"),
            (len(turns) == 2, "it was one turn; the question was the second"),
            (
                started == finished and set(started.values()) == {1},
                "every call: one start, one result",
            ),
            (statuses == {"ok"}, "no call failed or was in doubt"),
            (bool(moved) and set(moved.values()) == {1}, f"{len(moved)} files moved, each once"),
            ("moved" in seen, "the second terminal was told what was done"),
            ("damage" not in verified.lower(), "the log's checksums hold"),
        ):
            print(f"  {GREEN + 'yes' if good else RED + 'NO '}{RESET}  {text}")
            if not good:
                raise Failure(text)

    # The parts ----------------------------------------------------------------------------------

    def perdure(self, *arguments: str, stdin: str | None = None) -> str:
        print(f"{DIM}$ perdure {' '.join(arguments)}{RESET}")
        done = subprocess.run(
            [sys.executable, "-m", "perdure", *arguments],
            cwd=self.workspace,
            env=self.env,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if done.returncode:
            raise Failure(f"perdure {arguments[0]} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def start(self) -> None:
        print(f"{DIM}$ perdure serve{RESET}")
        gone = self.serving()
        self.server = subprocess.Popen(
            [sys.executable, "-m", "perdure", "serve"],
            cwd=self.workspace,
            env=self.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until("the server", lambda: self.serving() not in (0, gone))
        print(f"process {self.serving()}")

    def serving(self) -> int:
        """The process that last said it serves; 0: none did."""
        file = self.workspace / ".perdure" / "run" / "server.json"
        try:
            return int(json.loads(file.read_text())["pid"])
        except (OSError, ValueError):
            return 0

    def moving(self) -> bool:
        """A command that moves files is running, and has moved some."""
        return any("# Move" in json.dumps(call) for call in self.running()) and any(
            path.is_file() for path in self.mess.glob("[A-Z]*/*")
        )

    def running(self) -> list[dict[str, Any]]:
        events = [r["event"] for r in self.records()]
        done = {e["call"] for e in events if e["type"] == "tool_finished"}
        open_calls = {
            e["call"] for e in events if e["type"] == "tool_started" and e["call"] not in done
        }
        return [
            part
            for e in events
            if e["type"] == "model_responded"
            for part in e["parts"]
            if part.get("id") in open_calls
        ]

    def kill(self) -> str:
        assert self.server is not None
        self.server.send_signal(signal.SIGKILL)
        self.server.wait()
        running = self.running()
        if not running:
            raise Failure("no tool was running when the server was killed")
        return str(running[-1]["arguments"]["command"]).split("\n")[0].lstrip("# ")

    def log(self) -> Path | None:
        return next((self.workspace / ".perdure" / "sessions").glob("s_*/events.jsonl"), None)

    def records(self) -> list[dict[str, Any]]:
        log = self.log()
        lines = log.read_bytes().split(b"\n")[:-1] if log else []
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        if self.server is None:
            return
        with contextlib.suppress(Failure, subprocess.TimeoutExpired):
            self.perdure("serve", "stop")  # whoever started it
        if self.server.poll() is None:
            self.server.terminate()
            self.server.wait(timeout=PATIENCE)


class Failure(Exception):
    pass


def say(text: str) -> None:
    print(f"\n{BOLD}== {text}{RESET}", flush=True)


def show(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            print(f"  {path.relative_to(folder.parent)}")


def indent(text: str) -> str:
    return "\n".join(f"  | {line}" for line in text.splitlines())


def until(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise Failure(f"waited {PATIENCE:.0f} s for {what}")
        time.sleep(0.01)


def contents(folder: Path) -> Counter[bytes]:
    return Counter(p.read_bytes() for p in folder.rglob("*") if p.is_file())


def make_mess(folder: Path) -> Counter[bytes]:
    """Real files of many kinds, under the names that people give them."""
    folder.mkdir()
    texts = {
        "notes.txt": "Call the plumber\n",
        "Übersicht 2026.md": "# Overview\n",
        'it\'s "final" (2).txt': "really final\n",
        "-rf.txt": "a name that looks like an option\n",
        "invoice.pdf": "%PDF-1.4\n%%EOF\n",
        "expenses.csv": "day,amount\n2026-11-20,12.50\n",
        "settings.json": '{"volume": 3}\n',
        "backup.py": "print('hello')\n",
        ".keep-me": "hidden files stay\n",
        "README": "no extension\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    row = b"\0" + b"\xff\x80\x00" * 8
    pixels = zlib.compress(row * 8)
    chunks = b""
    for kind, data in (
        (b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)),
        (b"IDAT", pixels),
        (b"IEND", b""),
    ):
        chunks += struct.pack(">I", len(data)) + kind + data
        chunks += struct.pack(">I", zlib.crc32(kind + data))
    for n in range(3):
        (folder / f"photo {n}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks + bytes([n]))
    (folder / "song.wav").write_bytes(b"RIFF\x24\0\0\0WAVEfmt " + b"\0" * 24)
    with zipfile.ZipFile(folder / "old.zip", "w") as archive:
        archive.writestr("inside.txt", "zipped\n")
    (folder / "project").mkdir()
    (folder / "project" / "main.c").write_text("int main(void) { return 0; }\n")
    return contents(folder)


def main() -> NoReturn:
    root = Path(tempfile.mkdtemp(prefix="perdure-demo-"))
    demo = Demo(root)
    try:
        demo.play()
    except (Failure, subprocess.TimeoutExpired) as failure:
        print(f"\n{RED}The demo failed:{RESET} {failure}\nEverything was left in {root}")
        sys.exit(1)
    finally:
        demo.close()
    if "--keep" in sys.argv:
        print(f"\nKept in {root}")
    else:
        shutil.rmtree(root, ignore_errors=True)
    print(f"\n{GREEN}Nothing was lost, and nothing was done twice.{RESET}")
    sys.exit(0)


if __name__ == "__main__":
    main()
