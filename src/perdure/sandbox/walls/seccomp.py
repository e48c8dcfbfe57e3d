"""The filter of system calls: what a contained command cannot ask the kernel for.

Assembled by hand into the kernel's filter machine: `filter_for` gives the bytes, eight per instruction.
What is refused fails with EPERM, or with ENOSYS where programs then do it in another way.
"""

from __future__ import annotations

import errno
import struct

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
NAMESPACES, NEW_TIME = 0x7E020000, 0x80
"""Every CLONE_NEW… flag. That of time is one for unshare alone; in clone these bits are a signal."""
FAMILIES = (1, 2, 10)
"""Sockets of unix, inet and inet6; and of netlink only its routes, which tell of addresses."""
NETLINK = 16
TERMINAL_TRICKS = (0x5412, 0x541C, 0x5423)
"""TIOCSTI types into the terminal, TIOCLINUX pastes into it, TIOCSETD changes its discipline."""
PERSONALITIES = (0, 8, 0x20000, 0x40000, 0xFFFFFFFF)

_NEW = {  # the same numbers everywhere
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "pidfd_getfd": 438,
    "mount_setattr": 442,
    "quotactl_fd": 443,
    "open_tree_attr": 467,
}
_MISSING = {"io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "clone3": 435}
"""Told not to exist: what uses them has another way. The flags of clone3 lie where no filter sees them."""

DENIED: dict[str, dict[str, int]] = {
    "x86_64": _NEW
    | {
        "ptrace": 101,
        "syslog": 103,
        "uselib": 134,
        "vhangup": 153,
        "modify_ldt": 154,
        "pivot_root": 155,
        "_sysctl": 156,
        "adjtimex": 159,
        "chroot": 161,
        "acct": 163,
        "settimeofday": 164,
        "mount": 165,
        "umount2": 166,
        "swapon": 167,
        "swapoff": 168,
        "reboot": 169,
        "sethostname": 170,
        "setdomainname": 171,
        "iopl": 172,
        "ioperm": 173,
        "create_module": 174,
        "init_module": 175,
        "delete_module": 176,
        "get_kernel_syms": 177,
        "query_module": 178,
        "quotactl": 179,
        "nfsservctl": 180,
        "lookup_dcookie": 212,
        "clock_settime": 227,
        "kexec_load": 246,
        "add_key": 248,
        "request_key": 249,
        "keyctl": 250,
        "perf_event_open": 298,
        "fanotify_init": 300,
        "open_by_handle_at": 304,
        "clock_adjtime": 305,
        "setns": 308,
        "process_vm_readv": 310,
        "process_vm_writev": 311,
        "kcmp": 312,
        "finit_module": 313,
        "kexec_file_load": 320,
        "bpf": 321,
        "userfaultfd": 323,
    },
    "aarch64": _NEW
    | {
        "lookup_dcookie": 18,
        "umount2": 39,
        "mount": 40,
        "pivot_root": 41,
        "nfsservctl": 42,
        "chroot": 51,
        "vhangup": 58,
        "quotactl": 60,
        "acct": 89,
        "kexec_load": 104,
        "init_module": 105,
        "delete_module": 106,
        "clock_settime": 112,
        "syslog": 116,
        "ptrace": 117,
        "reboot": 142,
        "sethostname": 161,
        "setdomainname": 162,
        "settimeofday": 170,
        "adjtimex": 171,
        "add_key": 217,
        "request_key": 218,
        "keyctl": 219,
        "swapon": 224,
        "swapoff": 225,
        "perf_event_open": 241,
        "fanotify_init": 262,
        "open_by_handle_at": 265,
        "clock_adjtime": 266,
        "setns": 268,
        "process_vm_readv": 270,
        "process_vm_writev": 271,
        "kcmp": 272,
        "finit_module": 273,
        "bpf": 280,
        "userfaultfd": 282,
        "kexec_file_load": 294,
    },
}
JUDGED: dict[str, dict[str, int]] = {
    "x86_64": {
        "ioctl": 16,
        "socket": 41,
        "socketpair": 53,
        "clone": 56,
        "personality": 135,
        "unshare": 272,
    },
    "aarch64": {
        "ioctl": 29,
        "personality": 92,
        "unshare": 97,
        "socket": 198,
        "socketpair": 199,
        "clone": 220,
    },
}
"""Refused or not, by their arguments."""

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH = 0, 4
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_X32 = 0x40000000


def _argument(index: int) -> int:
    """Offset of its lower half; all that these calls look at."""
    return 16 + 8 * index


def _do(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


def _fail(number: int) -> bytes:
    return _do(_RETURN, _ERRNO | number)


def _among(offset: int, values: tuple[int, ...], otherwise: bytes) -> bytes:
    """Allow if the word at `offset` is one of these."""
    made = _do(_LOAD, offset)
    for value in values:
        made += _do(_EQUAL, value, 0, 1) + _do(_RETURN, _ALLOW)
    return made + otherwise


def _judged(name: str, sockets: bool) -> bytes:
    """What follows when the call is this one; ends in a decision."""
    allow, refuse = _do(_RETURN, _ALLOW), _fail(errno.EPERM)
    match name:
        case "ioctl":
            made = _do(_LOAD, _argument(1))
            for value in TERMINAL_TRICKS:
                made += _do(_EQUAL, value, 0, 1) + refuse
            return made + allow
        case "clone" | "unshare":
            flags = NAMESPACES | (NEW_TIME if name == "unshare" else 0)
            return _do(_LOAD, _argument(0)) + _do(_ANY_BIT, flags, 0, 1) + refuse + allow
        case "personality":
            return _among(_argument(0), PERSONALITIES, refuse)
        case "socketpair":
            return _among(_argument(0), (1,), _fail(errno.EAFNOSUPPORT))
        case "socket" if not sockets:
            return _fail(errno.EACCES)
        case "socket":
            netlink = _among(_argument(2), (0,), _fail(errno.EAFNOSUPPORT))
            rest = _do(_EQUAL, NETLINK, 0, len(netlink) // 8) + netlink + _fail(errno.EAFNOSUPPORT)
            return _among(_argument(0), FAMILIES, rest)
    raise ValueError(name)


def filter_for(machine: str, *, sockets: bool = True) -> bytes:
    """The program. `sockets`: without, none can be made: for where there is no network of one's own.
    Raises KeyError for a machine whose numbers are not known."""
    made = _do(_LOAD, _ARCH) + _do(_EQUAL, AUDIT_ARCH[machine], 1, 0) + _fail(errno.EPERM)
    made += _do(_LOAD, _NUMBER)
    if machine == "x86_64":  # the same calls under other numbers
        made += _do(_AT_LEAST, _X32, 0, 1) + _fail(errno.ENOSYS)
    for number in sorted(DENIED[machine].values()):
        made += _do(_EQUAL, number, 0, 1) + _fail(errno.EPERM)
    for number in sorted(_MISSING.values()):
        made += _do(_EQUAL, number, 0, 1) + _fail(errno.ENOSYS)
    for name, number in JUDGED[machine].items():
        judged = _judged(name, sockets)
        made += _do(_EQUAL, number, 0, len(judged) // 8) + judged
    return made + _do(_RETURN, _ALLOW)


def apply(program: bytes) -> None:
    """To this process and all it becomes or starts; it must have promised to gain no privileges."""
    import ctypes

    from .syscalls import PR_SET_SECCOMP, prctl

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))

    code = ctypes.create_string_buffer(program, len(program))
    wanted = Program(length=len(program) // 8, code=ctypes.addressof(code))
    prctl(PR_SET_SECCOMP, 2, ctypes.addressof(wanted))
