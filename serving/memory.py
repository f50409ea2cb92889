"""Memory that stays what it was: a server's peaks come and go, its size should not follow them."""

import ctypes
import gc

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # glibc's mallopt(3)


def bound() -> None:
    """Have the C library give back what large requests needed; does nothing where it has no such settings, as on macOS."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        for parameter, value in ((M_ARENA_MAX, 1), (M_MMAP_THRESHOLD, 2**24), (M_TRIM_THRESHOLD, 2**24)):
            mallopt(parameter, value)


def settle() -> None:
    """Take what was loaded out of the garbage collector's rounds: it stays as long as the process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
