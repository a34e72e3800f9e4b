"""seccomp: a process gives up system calls for good, on 64-bit Linux for x86 and Arm.

A filter in BPF (man 2 seccomp) looks at each call and what it is given. Most of what is given up ends with EPERM, so
that a library which tries it goes on without.
"""

import ctypes
import errno
import os
import platform
import struct

from nanolocal.engines.syscalls import prctl, renounce_privileges

_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _MACHINE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
_KILL, _ALLOW, _FAIL = 0x8000_0000, 0x7FFF_0000, 0x0005_0000
_REFUSE, _UNKNOWN = _FAIL | errno.EPERM, _FAIL | errno.ENOSYS
_CLONE_THREAD = 0x1_0000
_FIRST_NEW = 470
"""Calls from here on are younger than this list; x86's second numbering, x32, is far above."""

_MACHINES = {"x86_64": (0, 0xC000_003E), "aarch64": (1, 0xC000_00B7)}
"""Of each machine its column below, and how the kernel writes it (AUDIT_ARCH)."""

_CLONE, _CLONE3 = (56, 220), (435, 435)

_ON_OTHERS = (
    (62, 129),  # kill
    (234, 131),  # tgkill
    (129, 138),  # rt_sigqueueinfo
    (297, 240),  # rt_tgsigqueueinfo
    (302, 261),  # prlimit64
)
"""What begins with a process id: allowed on this one, and on 0, which means this one or its own group."""

_GIVEN_UP: tuple[tuple[int, int | None], ...] = (
    # Network: there are pipes to the parent, and nothing else.
    (41, 198),  # socket
    (53, 199),  # socketpair
    # Other programs.
    (57, None),  # fork
    (58, None),  # vfork
    (59, 221),  # execve
    (322, 281),  # execveat
    # Other processes: their memory, their files, their ends.
    (101, 117),  # ptrace
    (310, 270),  # process_vm_readv
    (311, 271),  # process_vm_writev
    (312, 272),  # kcmp
    (440, 440),  # process_madvise
    (434, 434),  # pidfd_open
    (438, 438),  # pidfd_getfd
    (424, 424),  # pidfd_send_signal
    (200, 130),  # tkill
    (29, 194),  # shmget
    (30, 196),  # shmat
    (31, 195),  # shmctl
    # What Landlock does not cover: attributes of files, and being told of changes.
    (90, None),  # chmod
    (91, 52),  # fchmod
    (268, 53),  # fchmodat
    (452, 452),  # fchmodat2
    (92, None),  # chown
    (93, 55),  # fchown
    (94, None),  # lchown
    (260, 54),  # fchownat
    (188, 5),  # setxattr
    (189, 6),  # lsetxattr
    (190, 7),  # fsetxattr
    (463, 463),  # setxattrat
    (197, 14),  # removexattr
    (198, 15),  # lremovexattr
    (199, 16),  # fremovexattr
    (466, 466),  # removexattrat
    (469, 469),  # file_setattr
    (132, None),  # utime
    (235, None),  # utimes
    (261, None),  # futimesat
    (280, 88),  # utimensat
    (76, 45),  # truncate
    (253, None),  # inotify_init
    (294, 26),  # inotify_init1
    (300, 262),  # fanotify_init
    (304, 265),  # open_by_handle_at
    # What is mounted where.
    (165, 40),  # mount
    (166, 39),  # umount2
    (155, 41),  # pivot_root
    (161, 51),  # chroot
    (428, 428),  # open_tree
    (429, 429),  # move_mount
    (430, 430),  # fsopen
    (431, 431),  # fsconfig
    (432, 432),  # fsmount
    (433, 433),  # fspick
    (442, 442),  # mount_setattr
    (467, 467),  # open_tree_attr
    (308, 268),  # setns
    (272, 97),  # unshare
    # Doors into the kernel.
    (248, 217),  # add_key
    (249, 218),  # request_key
    (250, 219),  # keyctl
    (321, 280),  # bpf
    (323, 282),  # userfaultfd
    (298, 241),  # perf_event_open
    (425, 425),  # io_uring_setup
    (426, 426),  # io_uring_enter
    (427, 427),  # io_uring_register
    (175, 105),  # init_module
    (313, 273),  # finit_module
    (176, 106),  # delete_module
    (246, 104),  # kexec_load
    (320, 294),  # kexec_file_load
    (169, 142),  # reboot
    (167, 224),  # swapon
    (168, 225),  # swapoff
)


def restrict() -> None:
    """Give up the calls above, for good. Raises ``OSError``."""
    if platform.machine() not in _MACHINES or struct.calcsize("P") != 8:
        raise OSError(f"the system calls of {platform.machine()} are not known")
    program = _program(*_MACHINES[platform.machine()], os.getpid())
    code = ctypes.create_string_buffer(b"".join(program))
    renounce_privileges()
    described = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(code)))
    prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(described))


def _program(column: int, machine: int, pid: int) -> list[bytes]:
    """The filter, in instructions that skip so many of the next ones if true, and so many if false."""
    ends = [_instruction(_RETURN, end) for end in (_ALLOW, _REFUSE)]
    first_argument = _instruction(_LOAD, _FIRST_ARGUMENT_AT)
    is_thread = [first_argument, _instruction(_IF_ANY_BIT, _CLONE_THREAD, 0, 1), *ends]
    is_own = [first_argument, _instruction(_IF_EQUAL, 0, 1, 0), _instruction(_IF_EQUAL, pid, 0, 1), *ends]
    program = [
        _instruction(_LOAD, _MACHINE_AT),
        _instruction(_IF_EQUAL, machine, 1, 0),
        _instruction(_RETURN, _KILL),
        _instruction(_LOAD, _NUMBER_AT),
        _instruction(_IF_AT_LEAST, _FIRST_NEW, 0, 1),
        _instruction(_RETURN, _UNKNOWN),
        # What clone3 is asked for lies in memory, where no filter can look; the C library then uses clone.
        *_for(_CLONE3[column], [_instruction(_RETURN, _UNKNOWN)]),
        *_for(_CLONE[column], is_thread),
    ]
    for theirs in _ON_OTHERS:
        program += _for(theirs[column], is_own)
    for given_up in _GIVEN_UP:
        program += _for(given_up[column], [_instruction(_RETURN, _REFUSE)])
    return [*program, _instruction(_RETURN, _ALLOW)]


def _for(number: int | None, then: list[bytes]) -> list[bytes]:
    """Do ``then`` for the call of that number, ``None`` where this machine does not have it."""
    return [] if number is None else [_instruction(_IF_EQUAL, number, 0, len(then)), *then]


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
