"""What cannot be run everywhere, as the text that would be: other machines' filters, docker, macOS."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from perdure.sandbox import Confines, Containment
from perdure.sandbox.means import Means, attempt
from perdure.sandbox.planning import plan
from perdure.sandbox.walls import seccomp

ALLOW = 0x7FFF0000


def judge(program: bytes, arch: int, number: int, *arguments: int) -> int:
    """Run the filter as the kernel does; what it returns."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=IIQ6Q", number, arch, 0, *padded)
    steps = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    at = word = 0
    while True:
        code, yes, no, value = steps[at]
        at += 1
        match code:
            case 0x20:
                (word,) = struct.unpack_from("=I", data, value)
            case 0x15:
                at += yes if word == value else no
            case 0x35:
                at += yes if word >= value else no
            case 0x45:
                at += yes if word & value else no
            case 0x06:
                return int(value)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_refuses_what_it_should_on_every_machine(machine: str) -> None:
    program, arch = seccomp.filter_for(machine), seccomp.AUDIT_ARCH[machine]
    refused = 0x00050000 | errno.EPERM
    for name, number in seccomp.DENIED[machine].items():
        assert judge(program, arch, number) == refused, name
    assert judge(program, arch ^ 1, 0) == refused
    assert judge(program, arch, 435) == 0x00050000 | errno.ENOSYS  # clone3
    numbers = seccomp.JUDGED[machine]
    assert judge(program, arch, numbers["clone"], 0x10000000 | 17) == refused
    assert judge(program, arch, numbers["clone"], 0x003D0F00) == ALLOW  # a thread
    assert judge(program, arch, numbers["unshare"], 0x20000) == refused
    assert judge(program, arch, numbers["unshare"], 0x400) == ALLOW  # files
    assert judge(program, arch, numbers["ioctl"], 0, 0x5412) == refused
    assert judge(program, arch, numbers["ioctl"], 0, 0x5412 | 1 << 40) == refused
    assert judge(program, arch, numbers["ioctl"], 0, 0x5413) == ALLOW
    for family, protocol, allowed in (
        (1, 0, True), (2, 0, True), (10, 0, True), (16, 0, True), (16, 9, False),
        (17, 0, False), (38, 0, False), (40, 0, False),
    ):  # fmt: skip
        got = judge(program, arch, numbers["socket"], family, 1, protocol)
        assert (got == ALLOW) is allowed, (family, protocol)
    without = seccomp.filter_for(machine, sockets=False)
    assert judge(without, arch, numbers["socket"], 2, 1, 0) == 0x00050000 | errno.EACCES
    assert judge(program, arch, 1) == ALLOW


def containment(tmp_path: Path, **confines: object) -> Containment:
    work = tmp_path / "work"
    (work / ".perdure").mkdir(parents=True)
    return Containment(
        session="s",
        workdir=work,
        control=(work / ".perdure",),
        confines=Confines(**confines),  # type: ignore[arg-type]
    )


def test_a_container_has_no_network_no_powers_and_limits(tmp_path: Path) -> None:
    inside = containment(tmp_path, backend="docker", image="debian:stable", memory="1G")
    means = Means(name="docker", program="/usr/bin/docker")
    made = plan(inside, means, dict(os.environ), tmp_path / "processes", None)
    line = " ".join(made.plan["wrap"])
    work = os.path.realpath(tmp_path / "work")
    for words in (
        "--network none", "--read-only", "--cap-drop ALL", "--pids-limit 512",
        "--security-opt no-new-privileges", f"--memory {1 << 30}", "--ulimit fsize=",
        f"--mount type=bind,source={work},target={work}",
        f"--mount type=tmpfs,target={work}/.perdure", f"--workdir {work} debian:stable",
    ):  # fmt: skip
        assert words in line
    assert made.plan["after"][:3] == ["/usr/bin/docker", "rm", "--force"]


def test_a_docker_that_does_not_answer_is_told() -> None:
    tried = attempt(Means(name="docker", program="/bin/false"), {}, Confines(image="x"))
    assert not tried.works
    assert "docker does not answer" in tried.said


def test_the_profile_for_macos_names_what_is_allowed_and_then_what_is_not(tmp_path: Path) -> None:
    inside = containment(tmp_path, backend="seatbelt", network="none")
    means = Means(name="seatbelt", program="/usr/bin/sandbox-exec")
    made = plan(inside, means, dict(os.environ), tmp_path / "processes", None)
    program, flag, text = made.plan["wrap"]
    work = os.path.realpath(tmp_path / "work")
    assert (program, flag) == ("/usr/bin/sandbox-exec", "-p")
    assert text.startswith("(version 1)\n(deny default)\n")
    allowed = text.index(f'(allow file-read* file-write* (subpath "{work}"))')
    assert allowed < text.index(f'(deny file-read* file-write* (subpath "{work}/.perdure"))')
    assert "network" not in text


STAND_IN = """#!/bin/sh
# For sandbox-exec: a profile is given, and walls that leave out one thing are made by another program.
[ "$1" = -p ] || exit 2
shift 2
work=$PWD
set -- --chdir "$work" -- "$@"
{walls}
exec bwrap --ro-bind / / --dev /dev --bind "$work" "$work" --bind "$TMPDIR" "$TMPDIR" "$@"
"""
WALLS = {
    "it can signal other processes": "--unshare-pid",
    "it reads files outside": '--tmpfs "$work/../outside" --remount-ro "$work/../outside"',
    "it sees what is hidden": '--tmpfs "$work/hidden" --remount-ro "$work/hidden"',
    "it changes the settings of git": '--ro-bind "$work/.git" "$work/.git"',
    "it reaches the network": "--unshare-net",
}


@pytest.mark.parametrize("missing", ["", *WALLS])
def test_on_macos_too_it_is_tried_what_the_walls_keep_from_a_command(
    tmp_path: Path, missing: str
) -> None:
    from .containing import needs

    needs("bubblewrap")
    program = tmp_path / "sandbox-exec"
    walls = "\n".join(f'set -- {made} "$@"' for what, made in WALLS.items() if what != missing)
    program.write_text(STAND_IN.replace("{walls}", walls))
    program.chmod(0o755)
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    tried = attempt(Means(name="seatbelt", program=str(program)), environment, Confines())
    assert (tried.works, tried.said) == (not missing, missing or "contained")


ELSEWHERE = """
import ctypes, os, sys
from importlib import import_module
class Library(ctypes.CDLL):
    def __getattr__(self, name):
        if name in ("prctl", "unshare", "mount", "umount2"):
            raise AttributeError(name)
        return super().__getattr__(name)
ctypes.CDLL = Library
del os.O_PATH
sys.platform = "darwin"
for name in ("supervision.launching", "walls.enter", "status", "probing"):
    import_module(f"perdure.sandbox.{name}")
"""


def test_what_runs_commands_can_be_loaded_where_the_kernel_is_another() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


def test_where_only_landlock_holds_what_it_cannot_keep_is_refused(tmp_path: Path) -> None:
    from perdure.sandbox import Unavailable

    inside = containment(tmp_path)
    with pytest.raises(Unavailable, match=r"could not be kept from them"):
        plan(inside, Means(name="landlock"), dict(os.environ), tmp_path / "processes", None)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
def test_landlock_alone_contains_too() -> None:
    from perdure.sandbox.environment import clean_environment
    from perdure.sandbox.walls import landlock

    if not landlock.version():
        pytest.skip("this kernel has no Landlock")
    tried = attempt(Means(name="landlock"), clean_environment(os.environ), Confines())
    assert (tried.works, tried.said) == (True, "contained")
