"""Attacks that a contained command tries, to see whether the walls hold: for `perdure sandbox test`, and
for our own tests. Each is a program that ends with 0 when it was kept from what it tried, with 1 when it
got through (and says how), with 77 when it could not try. What gets through does no harm either: nothing but
the arena is changed. All the same they are never run where there are no walls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NOT_TRIED = 77


@dataclass(frozen=True, slots=True)
class Attack:
    name: str
    what: str
    code: str
    language: Literal["sh", "python"] = "sh"
    only: tuple[str, ...] = ()
    """Backends for which it is promised; empty: all."""

    def argv(self, place: str, port: int) -> list[str]:
        """`place`: where the arena lies (see `arena`). `port`: somebody of the machine listens there, on
        its loopback, and under that number on an abstract socket."""
        if self.language == "sh":
            return ["sh", "-c", self.code, "sh", place, str(port)]
        return ["python3", "-c", PRELUDE + self.code, place, str(port)]


PRELUDE = """
import ctypes, errno, fcntl, os, platform, signal, socket, struct, sys
place, port = sys.argv[1], int(sys.argv[2])
libc = ctypes.CDLL(None, use_errno=True)
ARM = platform.machine() == "aarch64"
def call(x86, arm, *args):
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    done = libc.syscall(ctypes.c_long(arm if ARM else x86), *words)
    return done if done >= 0 else -ctypes.get_errno()
def through(text):
    print(text); sys.exit(1)
"""

MOUNTED = ("bubblewrap", "launcher", "docker")
"""Backends with namespaces of their own."""

ATTACKS: tuple[Attack, ...] = (
    Attack(
        "read-outside",
        "read a file outside of the working folder",
        'cat "$1/outside/secret" 2>/dev/null && exit 1; exit 0',
    ),
    Attack(
        "read-through-proc",
        "read it through /proc and its links",
        'for p in 1 self $$ $PPID; do cat "/proc/$p/root$1/outside/secret" "/proc/$p/cwd/../outside/secret" '
        "2>/dev/null && exit 1; done; exit 0",
    ),
    Attack(
        "read-through-link",
        "read it through a link in the working folder",
        'ln -sfn "$1/outside" ./way; cat ./way/secret 2>/dev/null && exit 1; exit 0',
    ),
    Attack(
        "read-credentials",
        "read the credentials in the home folder",
        "for f in .ssh .aws .gnupg .netrc .docker .kube .config/perdure .config/gh .mozilla; do "
        '(: < "$HOME/$f/." || ls "$HOME/$f/." | grep -q . || : < "$HOME/$f") 2>/dev/null && '
        '{ [ -d "$HOME/$f" ] && [ -z "$(ls -A "$HOME/$f")" ] || { echo "$f"; exit 1; }; }; done; exit 0',
    ),
    Attack(
        "read-shadow",
        "read the system's passwords",
        "cat /etc/shadow 2>/dev/null | grep -q . && exit 1; exit 0",
    ),
    Attack(
        "write-outside",
        "write outside of the working folder",
        'for f in "$1/outside/new" /usr/perdure-was-here /etc/perdure-was-here /perdure-was-here; '
        'do (: > "$f") 2>/dev/null && { rm -f "$f"; echo "$f"; exit 1; }; done; '
        "cat /proc/sys/kernel/hostname > name; (cat name > /proc/sys/kernel/hostname) 2>/dev/null && "
        "{ echo settings of the kernel; exit 1; }; exit 0",
    ),
    Attack(
        "hard-link",
        "write to a file outside through a second name for it",
        'ln "$1/outside/secret" ./name 2>/dev/null && exit 1; '
        "ln /etc/hostname ./name 2>/dev/null && exit 1; exit 0",
    ),
    Attack(
        "control-files",
        "read or change Perdure's own files",
        "cat .perdure/policy.yaml 2>/dev/null && exit 1; "
        "(echo 'mode: dangerous' > .perdure/policy.yaml) 2>/dev/null && exit 1; "
        "mv .perdure away 2>/dev/null && exit 1; rm -rf .perdure 2>/dev/null && exit 1; "
        "cat perdure.yaml 2>/dev/null | grep -q . && exit 1; (echo x >> perdure.yaml) 2>/dev/null && exit 1; "
        "rm -f perdure.yaml 2>/dev/null && exit 1; exit 0",
        only=(*MOUNTED, "seatbelt"),
    ),
    Attack(
        "git-hooks",
        "leave a program for the owner's git to run",
        "(echo x > .git/hooks/pre-commit) 2>/dev/null && exit 1; "
        "(echo x >> .git/config) 2>/dev/null && exit 1; "
        "mv .git away 2>/dev/null && exit 1; mv .git/hooks away 2>/dev/null && exit 1; "
        "rm -f .git/config 2>/dev/null && exit 1; exit 0",
        only=(*MOUNTED, "seatbelt"),
    ),
    Attack(
        "connect-out",
        "connect to another machine",
        """
for family, address in ((socket.AF_INET, ("192.0.2.1", 80)), (socket.AF_INET6, ("2001:db8::1", 80))):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        try:
            s = socket.socket(family, kind); s.settimeout(0.3); s.connect(address)
        except TimeoutError:
            through("packets leave")
        except OSError:
            continue
        through("it was connected")
""",
        "python",
    ),
    Attack(
        "connect-to-the-machine",
        "connect to a server of the machine's own",
        """
try:
    socket.create_connection(("127.0.0.1", port), 1)
except OSError:
    sys.exit(0)
through("it was connected")
""",
        "python",
    ),
    Attack(
        "abstract-socket",
        "connect to an abstract socket of the machine",
        """
try:
    s = socket.socket(socket.AF_UNIX); s.connect("\\0perdure-%d" % port)
except OSError:
    sys.exit(0)
through("it was connected")
""",
        "python",
    ),
    Attack(
        "socket-families",
        "open sockets of other kinds",
        """
kinds = (40, 1, 0), (17, 3, 0), (38, 5, 0), (16, 3, 16), (16, 3, 9), (31, 3, 1), (44, 3, 0)
for family, kind, protocol in kinds:
    try:
        socket.socket(family, kind, protocol)
    except OSError:
        continue
    through("family %d, protocol %d" % (family, protocol))
""",
        "python",
        only=("bubblewrap", "launcher", "landlock"),
    ),
    Attack(
        "other-processes",
        "see other processes of the machine",
        'n=$(ls /proc 2>/dev/null | grep -c "^[0-9]"); '
        '[ "$n" -lt 8 ] || { echo "$n processes"; exit 1; }; exit 0',
        only=MOUNTED,
    ),
    Attack(
        "other-environment",
        "read the environment of the first process",
        "(tr '\\0' '\\n' < /proc/1/environ) 2>/dev/null | grep -q '^PERDURE_ARENA=' && exit 1; exit 0",
    ),
    Attack(
        "signal-others",
        "signal processes of the machine",
        """
seen = []
for pid in range(2, 60000):
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        continue
    seen.append(pid)
if len(seen) > 8:
    through("%d could be signalled" % len(seen))
""",
        "python",
        only=("bubblewrap", "launcher", "docker"),
    ),
    Attack(
        "mount",
        "mount something",
        """
os.makedirs("spot", exist_ok=True)
if libc.mount(b"tmpfs", b"spot", b"tmpfs", 0, None) == 0:
    libc.umount2(b"spot", 2)
    through("mount")
if libc.umount2(b".perdure", 2) == 0:
    through("umount")
for name, number, args in (("fsopen", 430, (b"tmpfs", 0)), ("open_tree", 428, (-100, b"spot", 1))):
    if call(number, number, *args) >= 0:
        through(name)
""",
        "python",
    ),
    Attack(
        "namespaces",
        "make a namespace of users, with powers in it",
        """
for flags in (0x10000000, 0x20000, 0x40000000, 0x20000000, 0x2000000):
    if libc.unshare(flags) == 0:
        through("unshare %x" % flags)
pid = call(56, 220, 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0)
if pid == 0:
    os._exit(0)
if pid > 0:
    through("clone")
args = (ctypes.c_uint64 * 11)(0x10000000, 0, 0, 0, signal.SIGCHLD)
pid = call(435, 435, args, 88)
if pid == 0:
    os._exit(0)
if pid > 0:
    through("clone3")
if call(308, 268, os.open("/proc/self/ns/net", os.O_RDONLY), 0) >= 0:
    through("setns")
""",
        "python",
    ),
    Attack(
        "trace",
        "trace another process, or read its memory",
        """
child = os.fork()
if child == 0:
    signal.pause()
try:
    if libc.ptrace(16, child, 0, 0) == 0:
        through("ptrace")
    local = (ctypes.c_char * 8)(); vector = (ctypes.c_void_p * 2)(ctypes.addressof(local), 8)
    if call(310, 270, child, vector, 1, vector, 1, 0) >= 0:
        through("process_vm_readv")
finally:
    os.kill(child, 9)
""",
        "python",
    ),
    Attack(
        "kernel",
        "reach the kernel by calls that nobody needs",
        """
b = ctypes.create_string_buffer(256)
for name, x86, arm, args in (
    ("bpf", 321, 280, (0, b, 128)), ("perf_event_open", 298, 241, (b, 0, -1, -1, 0)),
    ("userfaultfd", 323, 282, (1,)), ("io_uring_setup", 425, 425, (4, b)),
    ("keyctl", 250, 219, (0, -3, 1)), ("add_key", 248, 217, (b"user", b"x", b"y", 1, -3)),
    ("kexec_load", 246, 104, (0, 0, 0, 0)), ("init_module", 175, 105, (b, 0, b)),
    ("finit_module", 313, 273, (0, b, 0)), ("syslog", 103, 116, (3, b, 10)),
    ("open_by_handle_at", 304, 265, (-100, b, 0)), ("kcmp", 312, 272, (1, 1, 0, 0, 0)),
    ("chroot", 161, 51, (b".",)), ("swapon", 167, 224, (b"nothing", 0)),
    ("sethostname", 170, 161, (b"x", 1000)), ("personality", 135, 92, (0x0400000,)),
    ("pidfd_getfd", 438, 438, (0, 0, 0)),
):
    got = call(x86, arm, *args)
    if got not in (-errno.EPERM, -errno.ENOSYS):
        through("%s: %d" % (name, got))
""",
        "python",
        only=("bubblewrap", "launcher", "landlock"),
    ),
    Attack(
        "other-numbers",
        "make the same calls under other numbers",
        """
if ARM:
    sys.exit(77)
for number in (0x40000000 + 101, 0x40000000 + 39):
    if libc.syscall(ctypes.c_long(number), 0, 0, 0, 0) != -1:
        through("x32")
""",
        "python",
    ),
    Attack(
        "type-into-terminal",
        "type into a terminal",
        """
import pty, termios
ours, theirs = pty.openpty()
for number in (0x5412, 0x5412 | 1 << 32):
    done = libc.ioctl(theirs, ctypes.c_ulong(number), b"x")
    if done == 0 or ctypes.get_errno() != errno.EPERM:
        through("TIOCSTI")
""",
        "python",
        only=("bubblewrap", "launcher", "landlock"),
    ),
    Attack(
        "powers",
        "have or gain powers",
        "grep -q '^CapEff:.0*$' /proc/self/status || { grep CapEff /proc/self/status; exit 1; }; "
        "grep -q '^NoNewPrivs:.1' /proc/self/status || { echo 'new privileges'; exit 1; }; exit 0",
    ),
    Attack(
        "filter",
        "run without the filter of system calls",
        "grep -q '^Seccomp:.2' /proc/self/status || exit 1; exit 0",
        only=("bubblewrap", "launcher", "landlock", "docker"),
    ),
    Attack(
        "devices",
        "reach devices",
        "for d in /dev/sda /dev/vda /dev/nvme0n1 /dev/mem /dev/kmsg /dev/fuse /dev/kvm /dev/net/tun; "
        'do (: < "$d") 2>/dev/null && { echo "$d"; exit 1; }; done; '
        "mknod ./device b 8 0 2>/dev/null && (: < ./device) 2>/dev/null && exit 1; exit 0",
    ),
    Attack(
        "inherited-files",
        "use files left open by others",
        'for f in /proc/self/fd/*; do case "${f##*/}" in 0|1|2) ;; *) [ -e "$f" ] && '
        '[ "$(readlink "$f")" != "/proc/$$/fd" ] && { readlink "$f"; exit 1; } ;; esac; done; exit 0',
    ),
    Attack(
        "many-processes",
        "start processes without end",
        """
made = []
try:
    while len(made) < 3000:
        pid = os.fork()
        if pid == 0:
            signal.pause()
        made.append(pid)
except OSError:
    pass
finally:
    for pid in made:
        os.kill(pid, 9)
if len(made) >= 3000:
    through("3000 of them")
""",
        "python",
    ),
    Attack(
        "much-memory",
        "use memory without end",
        """
pid = os.fork()
if pid == 0:
    held = []
    try:
        for _ in range(40):
            held.append(bytearray(os.urandom(1 << 20)) * 32)
    except MemoryError:
        os._exit(0)
    os._exit(1)
_, status = os.waitpid(pid, 0)
if os.waitstatus_to_exitcode(status) == 1:
    through("more than 1 GB")
""",
        "python",
    ),
    Attack(
        "large-file",
        "fill the disk with one file",
        """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    with open("large", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, 1)
        os.pwrite(file.fileno(), b"x", 300 << 20)
except OSError:
    sys.exit(0)
finally:
    os.unlink("large")
through("300 MB at once")
""",
        "python",
    ),
)
"""To be tried under `LIMITS`."""

MEMORY, PROCESSES, FILE_SIZE = "512M", 200, "200M"
"""Settings under which the last three cannot succeed."""
