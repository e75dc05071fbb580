"""Whether this machine has pseudo-terminals: a minimal container may have none (/dev/pts)."""

import os
import pty


def has_terminals() -> bool:
    try:
        for fd in pty.openpty():
            os.close(fd)
    except OSError:
        return False
    return True
