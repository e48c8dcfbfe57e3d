"""The plan of a command's walls: what it sees, where, and what is kept from it."""

# Paths are texts here: many are handled for every command, and openat2 and mount take texts.
# ruff: noqa: PTH110, PTH112, PTH113, PTH114, PTH115, PTH118
from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from . import hidden
from .containment import NICE, Containment, Unavailable, home_of
from .hidden import within
from .repositories import guarded
from .toolchains import SYSTEM, toolchains
from .walls.plan import PROXY_PORT, STAGE, Limits, Plan, Step

if TYPE_CHECKING:
    from .means import Means

SCRIPT = "/run/command"
"""Where a command too long for an argument lies, as it sees it."""
TRUSTED = "/run/trusted.pem"
TRUSTING = (
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
)
"""Variables by which programs are told whom to trust."""
SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
PRIVATE = ".private"
"""Folder of a session's own /tmp and home, in `processes/<session>/`."""


class Made(msgspec.Struct, frozen=True):
    plan: Plan
    env: dict[str, str]
    """Put over the command's environment."""
    script: str
    """Where it finds its script."""


@dataclass(slots=True)
class _Area:
    """A folder of the session's own, and where it is put together before it is shown."""

    shown: str
    staged: str
    source: str


@dataclass(slots=True)
class View:
    """Folders that are shown, besides the system's and the session's own: real paths."""

    write: list[str]
    read: list[str]
    home: str
    tools: list[str] = field(default_factory=list)

    def covers(self, path: str) -> str | None:
        """The folder that shows it, if one does: the innermost."""
        found = [f for f in (*self.write, *self.read) if within(path, f)]
        return max(found, key=len, default=None)


def view_of(containment: Containment, environment: Mapping[str, str]) -> View:
    """Raises Unavailable for a working folder that would show everything."""
    home = str(home_of(environment))
    workdir = os.path.realpath(containment.workdir)
    _check(workdir, home, containment)
    view = View(write=[workdir], read=[], home=home)
    confines = containment.confines
    for kind, paths in (("write", confines.write), ("read", confines.read)):
        for path in paths:
            full = os.path.realpath(os.path.join(workdir, _expand(path, home)))
            if kind == "write":
                _check(full, home, containment)
            elif full == "/":
                raise Unavailable("`sandbox.read` names /, which would show everything")
            if os.path.exists(full):
                (view.write if kind == "write" else view.read).append(full)
    tools = toolchains(environment.get("PATH", ""), Path(home))
    view.tools = [t for t in tools if view.covers(t) is None]
    return view


def writable_of(containment: Containment, environment: Mapping[str, str]) -> tuple[Path, ...]:
    """What `sandbox.write` names, there or not."""
    home, workdir = str(home_of(environment)), os.path.realpath(containment.workdir)
    named = (os.path.join(workdir, _expand(p, home)) for p in containment.confines.write)
    return tuple(Path(os.path.realpath(path)) for path in named)


def _expand(path: str, home: str) -> str:
    return home + path[1:] if path == "~" or path.startswith("~/") else path


def _check(folder: str, home: str, containment: Containment) -> None:
    if within(home, folder):
        what = "your home folder" if folder == home else "a folder that holds your home folder"
        raise Unavailable(
            f"commands do not run in {folder}: it is {what}, and all in it could be changed",
            hint="Work in a folder of its own (`cd` there first), or choose `sandbox: {backend: none}` "
            "in perdure.yaml, knowing that commands can then do whatever you can.",
        )
    if folder in SYSTEM or within(folder, "/etc") or folder in ("/proc", "/sys", "/dev", "/var"):
        raise Unavailable(f"commands do not run in {folder}: it belongs to the system")
    for control in containment.control:
        if control.suffix == "" and within(folder, os.path.realpath(control)):
            raise Unavailable(f"commands do not run in {folder}: it is Perdure's own")


def plan(
    containment: Containment,
    means: Means,
    environment: Mapping[str, str],
    processes: Path,
    script: Path | None,
) -> Made:
    """Raises Unavailable, OSError."""
    view = view_of(containment, environment)
    private = processes / containment.session / PRIVATE
    for name in ("tmp", "vartmp", "home"):
        if not os.path.isdir(f"{private}/{name}"):
            (private / name).mkdir(parents=True, exist_ok=True, mode=0o700)
    private = Path(os.path.realpath(private))
    confines = containment.confines
    limits = Limits(
        memory=confines.memory_bytes,
        processes=confines.processes,
        file_size=confines.file_bytes,
        nice=NICE,
    )
    network = confines.network
    proxy = containment.proxy_socket if network == "proxy" else None
    guard = _Guard(containment, view)
    made = Plan(
        means=means.name,
        program=means.program,
        userns=means.userns,
        network="open" if network == "open" else "proxy" if proxy else "none",
        proxy=os.path.realpath(proxy) if proxy else "",
        base=[],
        stage=[],
        system=[],
        root=[],
        read=[],
        write=[],
        limits=limits,
        cgroups=list(means.cgroups),
        unwanted=guard.unwanted,
        wrap=[],
        after=[],
    )
    env = {"HOME": view.home, "TMPDIR": "/tmp"}
    trusted = None
    if proxy:
        env |= _proxied()
        if containment.certificate is not None:
            trusted = bundle(containment.certificate, private)
    inside = os.fspath(script) if script else ""
    match means.name:
        case "bubblewrap" | "launcher":
            files = {SCRIPT: script, TRUSTED: trusted}
            _mounted(made, view, guard, private, {n: f for n, f in files.items() if f})
            if trusted:
                env |= dict.fromkeys(TRUSTING, TRUSTED)
            inside = SCRIPT if script else ""
        case "landlock":
            guard.refuse_what_only_mounts_can_do()
            _ruled(made, view, private, script)
            env |= {"HOME": f"{private}/home", "TMPDIR": f"{private}/tmp"}
        case "docker":
            from .docker import wrapped

            made["wrap"], made["after"] = wrapped(made, view, guard.all, private, script, confines)
            inside = SCRIPT if script else ""
        case "seatbelt":
            from .seatbelt import profile

            text = profile(view, guard.all, private, made["network"], script)
            made["wrap"] = [means.program, "-p", text]
            env |= {"HOME": f"{private}/home", "TMPDIR": f"{private}/tmp"}
    return Made(made, env, inside)


def _proxied() -> dict[str, str]:
    url = f"http://127.0.0.1:{PROXY_PORT}"
    names = ("http_proxy", "https_proxy", "all_proxy")
    here = "localhost,127.0.0.1,::1"
    return {
        **dict.fromkeys(names, url),
        **{n.upper(): url for n in names},
        "no_proxy": here,
        "NO_PROXY": here,
    }


def bundle(certificate: Path, private: Path) -> Path:
    """The system's authorities and this one, in one file of the session's."""
    made = private / "trusted.pem"
    known = next((Path(b) for b in SYSTEM_BUNDLES if os.path.isfile(b)), None)
    wanted = (known.read_bytes() if known else b"") + certificate.read_bytes()
    if not made.is_file() or made.stat().st_size != len(wanted) or made.read_bytes() != wanted:
        new = made.with_suffix(".new")
        new.write_bytes(wanted)
        new.replace(made)
    return made


class _Guard:
    """What is kept from a command within the folders it may see."""

    def __init__(self, containment: Containment, view: View) -> None:
        self.steps: list[Step] = []
        self.unwanted: list[str] = []
        self._view = view
        self._pinned: set[str] = set()
        for folder in view.write:
            repositories = guarded(folder)
            for path in repositories.pinned:
                self._pin(path)
            for path in repositories.kept:
                self._above(path, folder)
                self.steps.append(["keep", path])
            self.unwanted += repositories.unwanted
            for path in repositories.hidden:
                self._hide(path)
            for path in view.read:
                if within(path, folder):
                    self._above(path, folder)
                    self.steps.append(["keep", path])
            # A workspace of a command's making would run its code as the owner's.
            for name in ("perdure.yaml", ".perdure"):
                if not os.path.lexists(f"{folder}/{name}"):
                    self.unwanted.append(f"{folder}/{name}")
                else:
                    self._hide(f"{folder}/{name}")
        for secret in map(os.path.realpath, (*containment.control, *containment.hidden)):
            self._hide(secret)
        for secret in hidden.of_home(view.home, (*view.write, *view.read)):
            self._hide(secret)
        self.system: list[Step] = [["hide", path] for path in hidden.of_system()]

    @property
    def all(self) -> list[Step]:
        return self.steps + self.system

    def _hide(self, path: str) -> None:
        folder = self._view.covers(path)
        if folder is None or not os.path.lexists(path) or ["hide", path] in self.steps:
            return
        if folder in self._view.write:
            self._above(path, folder)
        self.steps.append(["hide", path])

    def _above(self, path: str, folder: str) -> None:
        """Folders on the way are pinned: renamed, they would take along what they hold."""
        rest = os.path.relpath(path, folder).split("/")[:-1]
        for count in range(1, len(rest) + 1):
            self._pin(os.path.join(folder, *rest[:count]))

    def _pin(self, path: str) -> None:
        if path not in self._pinned:
            self._pinned.add(path)
            self.steps.append(["pin", path])

    def refuse_what_only_mounts_can_do(self) -> None:
        for kind, path in self.all:
            if kind == "hide" and any(within(path, f) for f in self._view.write):
                raise Unavailable(
                    f"commands do not run here: {path} could not be kept from them, since this "
                    "system lets us make no namespaces",
                    hint="Work in a folder that does not hold it, or install a backend: see "
                    "perdure sandbox status.",
                )


def _mounted(
    made: Plan, view: View, guard: _Guard, private: Path, files: Mapping[str, Path]
) -> None:
    """Of a command in a namespace of mounts. `files`: shown to it, by where."""
    stage = next((s for s in STAGE if os.path.isdir(s)), None)
    if stage is None:
        raise Unavailable(f"none of {', '.join(STAGE)} is there to be covered")
    steps: list[Step] = []
    areas = []
    for name, shown in (("home", view.home), ("tmp", "/tmp"), ("vartmp", "/var/tmp")):
        if shown not in (*view.write, *view.read):
            area = _Area(shown, f"{stage}/{name}", f"{private}/{name}")
            areas.append(area)
            steps.append(["bind", area.source, area.staged])
    for place, file in files.items():
        steps.append(["read", os.path.realpath(file), stage + place])
    steps += guard.steps
    root: list[Step] = []
    kinds = dict.fromkeys((*view.tools, *view.read), "ro") | dict.fromkeys(view.write, "rw")
    for folder in [*kinds]:
        if any(within(folder, w) and folder != w for w in view.write):
            del kinds[folder]  # it is part of it, or kept in it
    placed: list[tuple[str, Step]] = [(a.shown, ["rw", a.staged, a.shown]) for a in areas]
    for folder, kind in sorted(kinds.items()):  # an outer folder comes before what is in it
        home = _area(areas, folder)
        if home is None:
            placed.append((folder, [kind, folder, folder]))
        else:
            there = home.staged + folder[len(home.shown.rstrip("/")) :]
            steps.append(["bind" if kind == "rw" else "read", folder, there])
    root += [step for _, step in sorted(_joined(areas, placed, steps, stage), key=_depth)]
    root += [["ro", stage + place, place] for place in files]
    made["base"], made["stage"] = [["tmpfs", stage], *guard.system], steps
    made["system"], made["root"] = list(_system(made, view)), root
    made["write"] = [*view.write, *(a.shown for a in areas)]


def _depth(placed: tuple[str, Step]) -> int:
    return placed[0].count("/")


def _area(areas: list[_Area], path: str) -> _Area | None:
    found = [a for a in areas if within(path, a.shown)]
    return max(found, key=lambda a: len(a.shown), default=None)


def _joined(
    areas: list[_Area], placed: list[tuple[str, Step]], steps: list[Step], stage: str
) -> Iterator[tuple[str, Step]]:
    """An area that lies within another is put there once it is complete."""
    inner = {
        a.shown: other
        for a in areas
        for other in areas
        if a is not other and within(a.shown, other.shown)
    }
    for shown, step in placed:
        if shown in inner and step[1].startswith(stage):
            outer = inner[shown]
            steps.append(["bind", step[1], outer.staged + shown[len(outer.shown) :]])
        else:
            yield shown, step


def _system(made: Plan, view: View) -> Iterator[Step]:
    for folder in SYSTEM:
        if os.path.islink(folder):
            yield ["symlink", os.readlink(folder), folder]
        elif os.path.isdir(folder) and folder not in (*view.write, *view.read):
            yield ["ro", folder, folder]
    yield ["folder", "/proc"] if made["means"] == "bubblewrap" else ["proc"]
    yield ["dev"]


def _ruled(made: Plan, view: View, private: Path, script: Path | None) -> None:
    """Of a command that only Landlock holds."""
    closed = set(hidden.of_system())
    for folder in SYSTEM:
        if not any(within(path, folder) for path in closed):
            made["read"].append(folder)
        elif os.path.isdir(folder):
            made["read"] += [e.path for e in os.scandir(folder) if e.path not in closed]
    made["read"] += ["/proc", "/dev", *view.tools, *view.read]
    if script:
        made["read"].append(str(script))
    made["write"] = [*view.write, str(private / "tmp"), str(private / "home")]
