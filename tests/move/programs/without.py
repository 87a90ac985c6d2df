"""`without.py userfaultfd|pagemap-scan COMMAND...`: a kernel that lacks something.

A seccomp filter answers as a kernel without it does; all that the command starts inherits it.
"""

import ctypes
import errno
import os
import struct
import sys

PR_SET_SECCOMP, SECCOMP_MODE_FILTER, PR_SET_NO_NEW_PRIVS = 22, 2, 38
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
USERFAULTFD, IOCTL = 323, 16  # x86-64
PAGEMAP_SCAN = 0xC0606610
REQUEST = 24  # offset of the second argument's low half in struct seccomp_data


def instruction(code, operand, true=0, false=0):
    return struct.pack("=HBBI", code, true, false, operand)


FILTERS = {
    "userfaultfd": [
        instruction(LOAD, 0),
        instruction(EQUAL, USERFAULTFD, 0, 1),
        instruction(RETURN, ERRNO | errno.ENOSYS),
        instruction(RETURN, ALLOW),
    ],
    "pagemap-scan": [
        instruction(LOAD, 0),
        instruction(EQUAL, IOCTL, 0, 3),
        instruction(LOAD, REQUEST),
        instruction(EQUAL, PAGEMAP_SCAN, 0, 1),
        instruction(RETURN, ERRNO | errno.ENOTTY),
        instruction(RETURN, ALLOW),
    ],
}


def main():
    program = b"".join(FILTERS[sys.argv[1]])
    buffer = ctypes.create_string_buffer(program, len(program))
    libc = ctypes.CDLL(None, use_errno=True)
    described = struct.pack("=HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, described, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_SECCOMP)")
    os.execv(sys.argv[2], sys.argv[2:])


main()
