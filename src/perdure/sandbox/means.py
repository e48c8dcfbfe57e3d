"""By what commands are contained on this machine: found by trying, and remembered until it changes."""

# Paths are texts here: many are handled for every command, and openat2 and mount take texts.
from __future__ import annotations

import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .cgroups import usable
from .containment import Confines, Containment, Unavailable
from .environment import boot_id, clean_environment
from .supervision import script

Name = Literal["bubblewrap", "launcher", "landlock", "docker", "seatbelt"]

INSTALL = (
    "Debian, Ubuntu: sudo apt install bubblewrap. Fedora: sudo dnf install bubblewrap. Arch: sudo "
    "pacman -S bubblewrap."
)
OR_NONE = (
    "To run commands without a sandbox, knowing that they can then do whatever you can: "
    "`sandbox: {backend: none}` in perdure.yaml."
)
TRYING = 20.0
"""Seconds."""
AGAIN = 5.0
"""Seconds after which it is tried again where nothing worked."""
TRIAL = """
set -u
name=$1 outside=$2 port=$3 pid=$4
fails() { echo "$1"; exit 1; }
if [ "$name" = seatbelt ]; then
    kill -0 "$pid" 2>/dev/null && fails 'it can signal other processes'
else
    case $$ in ?|??) ;; *) [ "$name" = landlock ] || fails 'it sees other processes' ;; esac
    grep -q '^Seccomp:.2' /proc/self/status || fails 'no filter of system calls'
    grep -q '^NoNewPrivs:.1' /proc/self/status || fails 'it could gain privileges'
    grep -q '^CapEff:.0*$' /proc/self/status || fails 'it kept capabilities'
fi
: > ./written || fails 'the working folder cannot be written'
: > "$TMPDIR/written" || fails 'there is no /tmp'
(: < "$outside/secret") 2>/dev/null && fails 'it reads files outside'
(: > "$outside/new") 2>/dev/null && fails 'it writes files outside'
(: > /usr/.perdure) 2>/dev/null && { rm -f /usr/.perdure; fails 'the system can be written'; }
if [ "$name" != landlock ]; then
    (: < ./hidden/secret) 2>/dev/null && fails 'it sees what is hidden'
    (: > ./hidden/new) 2>/dev/null && fails 'it writes what is hidden'
    mv ./hidden ./away 2>/dev/null && fails 'it moves what is hidden'
    (: >> ./.git/config) 2>/dev/null && fails 'it changes the settings of git'
    mv ./.git ./away 2>/dev/null && fails 'it moves the settings of git'
fi
bash -c ': < "/dev/tcp/127.0.0.1/$1"' bash "$port" 2>/dev/null && fails 'it reaches the network'
echo contained
"""
"""Arguments: the backend's name, a folder outside of the working folder, a port of the machine's own and
a process of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Means:
    """A backend that works here."""

    name: Name
    program: str = ""
    userns: bool = False
    cgroups: tuple[str, ...] = ()
    evidence: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    name: str
    works: bool
    said: str


class Choice:
    """The backend for commands: what works is found once for this run of the machine, and what does not is
    soon tried again, for it may have been busy or be installed meanwhile. Thread-safe."""

    def __init__(self, notes: Path, environment: Mapping[str, str]) -> None:
        """`notes`: file in which the evidence is kept."""
        self._notes, self._environment = notes, dict(environment)
        self._lock = threading.Lock()
        self._known: dict[str, Means] = {}
        self._failed: dict[str, tuple[Unavailable, float]] = {}

    def means(self, confines: Confines) -> Means:
        """Blocking, at the first call. Raises Unavailable: nothing contains commands here."""
        wanted = confines.backend
        with self._lock:
            known = self._known.get(wanted)
            if known is not None:
                return known
            why, until = self._failed.get(wanted, (None, 0.0))
            if why is None or time.monotonic() >= until:
                found = self._noted(wanted) or self._find(wanted, confines)
                if isinstance(found, Means):
                    self._known[wanted] = found
                    self._failed.pop(wanted, None)
                    return found
                why = found
                self._failed[wanted] = why, time.monotonic() + AGAIN
        raise Unavailable(why.message, hint=why.hint)

    def doubt(self) -> None:
        """A command could not be contained: what was found may not be true any more."""
        with self._lock:
            self._known.clear()
            self._failed.clear()
            self._notes.unlink(missing_ok=True)

    def _find(self, wanted: str, confines: Confines) -> Means | Unavailable:
        tried: list[Tried] = []
        for means in candidates(wanted):
            result = attempt(means, self._environment, confines)
            if result.works:
                found = dataclasses.replace(means, evidence=result.said)
                self._note(wanted, found)
                return found
            tried.append(result)
        return unavailable(wanted, tried)

    def _note(self, wanted: str, means: Means) -> None:
        try:
            noted = json.loads(self._notes.read_bytes())
            if noted.get("key") != _key():
                noted = {}
        except (OSError, ValueError, AttributeError):
            noted = {}
        noted = {**noted, "key": _key(), wanted: dataclasses.asdict(means)}
        try:
            self._notes.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            new = self._notes.with_name(f".{self._notes.name}.{os.getpid()}")
            new.write_text(json.dumps(noted), encoding="utf-8")
            new.replace(self._notes)
        except OSError:
            return  # then it is tried again the next time

    def _noted(self, wanted: str) -> Means | None:
        try:
            noted: dict[str, Any] = json.loads(self._notes.read_bytes())
            if noted["key"] != _key():
                return None
            told = noted[wanted]
            return Means(**{**told, "cgroups": tuple(told["cgroups"])})
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _key() -> list[object]:
    """Differs when what was found may not hold any more."""
    program = shutil.which("bwrap")
    stamp = Path(program).stat().st_mtime_ns if program else 0
    return [boot_id(), os.uname().release, os.geteuid(), program, stamp, _version()]


def _version() -> str:
    from perdure import __version__

    return __version__


def candidates(wanted: str) -> list[Means]:
    """In the order of preference. Empty: there is nothing to try."""
    if sys.platform == "darwin":
        program = shutil.which("sandbox-exec")
        found = [Means(name="seatbelt", program=program)] if program else []
        return found if wanted in ("auto", "seatbelt") else _docker(wanted)
    if not sys.platform.startswith("linux"):
        return _docker(wanted)
    userns, groups = os.geteuid() != 0, usable()
    made = []
    if wanted in ("auto", "bubblewrap") and (program := shutil.which("bwrap")):
        made.append(Means(name="bubblewrap", program=program, userns=userns, cgroups=groups))
    if wanted in ("auto", "launcher"):
        made.append(Means(name="launcher", userns=userns, cgroups=groups))
        made.append(Means(name="landlock", cgroups=groups))
    return made or _docker(wanted)


def _docker(wanted: str) -> list[Means]:
    program = shutil.which("docker")
    return [Means(name="docker", program=program)] if wanted == "docker" and program else []


def attempt(means: Means, environment: Mapping[str, str], confines: Confines) -> Tried:
    """Run a trial command in it, and have it try what it must not. Blocking."""
    from .planning import plan

    if means.name == "docker":
        from .docker import reachable

        said = reachable(means.program)
        if not confines.image:
            said = "`sandbox.image` names no image"
        return Tried(name="docker", works=not said, said=said or "its daemon answers")
    with tempfile.TemporaryDirectory(prefix="perdure-trial-") as folder:
        place = Path(os.path.realpath(folder))
        for name in ("outside/secret", "work/hidden/secret", "work/.git/config"):
            (place / name).parent.mkdir(parents=True)
            (place / name).touch()
        containment = Containment(
            session="trial",
            workdir=place / "work",
            control=() if means.name == "landlock" else (place / "work/hidden",),
            confines=Confines(backend=means.name if means.name != "landlock" else "auto"),
        )
        try:
            made = plan(containment, means, environment, place / "processes", None)
        except (Unavailable, OSError) as error:
            return Tried(name=means.name, works=False, said=str(error))
        with socket.create_server(("127.0.0.1", 0)) as door:
            port, pid = door.getsockname()[1], os.getpid()
            argv = ["sh", "-c", TRIAL, "sh", means.name, f"{place}/outside", f"{port}", f"{pid}"]
            return _run(means.name, dict(made.plan), argv, place / "work", environment, made.env)


def _run(
    name: str,
    plan: dict[str, Any],
    argv: list[str],
    cwd: Path,
    environment: Mapping[str, str],
    env: Mapping[str, str],
) -> Tried:
    told = {"plan": plan, "argv": argv, "cwd": str(cwd), "env": {**environment, **env}}
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", script.__file__, "try"],
            input=json.dumps(told),
            capture_output=True,
            text=True,
            timeout=TRYING,
            env=clean_environment(os.environ),
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Tried(name=name, works=False, said=str(error))
    said = (done.stdout.strip() or done.stderr.strip() or f"exit code {done.returncode}")[-500:]
    works = done.returncode == 0 and done.stdout.strip() == "contained"
    return Tried(name=name, works=works, said=said)


def unavailable(wanted: str, tried: list[Tried]) -> Unavailable:
    why = "; ".join(f"{t.name}: {t.said}" for t in tried)
    if wanted == "docker":
        return Unavailable(
            f"commands cannot run: the docker backend was chosen, and {why or 'there is no docker'}",
            hint="Start its daemon and set `sandbox.image`, or choose `sandbox: {backend: auto}`.",
        )
    if wanted not in ("auto",) and not tried:
        why = f"{wanted} is not there"
    return Unavailable(
        f"commands cannot run: nothing here contains them ({why or 'no backend for this system'})",
        hint=f"{INSTALL} On Ubuntu since 24.04 namespaces of users may be switched off: sudo sysctl "
        f"kernel.apparmor_restrict_unprivileged_userns=0. See: perdure sandbox status. {OR_NONE}",
    )
