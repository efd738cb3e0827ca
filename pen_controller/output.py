"""Lines for another program to read, which may stop reading."""

import errno
import os
import sys


def print_line(text: str) -> bool:
    """Print a line on standard output at once; return whether anybody still reads it, as nobody does after `| head`.

    Raises:
        OSError: It cannot be written for another reason, as to a full disk.
    """
    try:
        print(text, flush=True)
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EINVAL):  # the second is Windows' word for it
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it ends
        return False
    return True
