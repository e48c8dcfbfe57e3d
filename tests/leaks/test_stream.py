"""What a process that knows secrets prints."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from perdure.leaks import Leaks, Own
from perdure.leaks.stream import LONGEST, WITHHELD, CleanStream

VALUE = "shp-9Qx2LmV7rT4kW8zB1nC6"
OWN = (Own(name="secret://shop", value=VALUE),)


def stream() -> tuple[CleanStream, io.StringIO]:
    out = io.StringIO()
    return CleanStream(out, Leaks(lambda: OWN)), out


def test_a_value_written_in_pieces_is_found_at_the_end_of_its_line() -> None:
    clean, out = stream()
    for piece in ("a ", VALUE[:7], VALUE[7:], " b\nnext"):
        clean.write(piece)
    assert out.getvalue() == "a [redacted: secret://shop] b\n"
    clean.flush()
    assert out.getvalue().endswith("\nnext")


def test_a_line_without_end_does_not_wait_for_ever() -> None:
    clean, out = stream()
    clean.write("x" * (LONGEST + 1))
    assert len(out.getvalue()) == LONGEST + 1


def test_print_and_writelines_are_whole(capsys: pytest.CaptureFixture[str]) -> None:
    clean, out = stream()
    print("key:", VALUE, file=clean)  # type: ignore[call-overload]
    clean.writelines([f"{VALUE}\n", "ok\n"])
    assert out.getvalue().count("[redacted: secret://shop]") == 2
    assert clean.writable() and not clean.readable() and not clean.isatty()


def test_what_cannot_be_searched_is_withheld(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    monkeypatch.delitem(sys.modules, "perdure.leaks.rules", raising=False)
    clean, out = stream()
    clean.write(f"harmless, or not: {VALUE}\n")
    assert out.getvalue() == WITHHELD


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is of Linux")
def test_a_sealed_process_is_not_dumped_and_its_programs_leave_no_core_either() -> None:
    code = (
        "import ctypes, resource, subprocess, sys\n"
        "from perdure.secrets.process import seal_process\n"
        "print(seal_process(), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), flush=True)\n"
        "subprocess.run([sys.executable, '-c', 'import ctypes, resource\\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE)[0], ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # A program it starts can be looked into as before: a sandbox needs that to set itself up.
    assert done.stdout.splitlines() == ["() 0", "0 1"]
