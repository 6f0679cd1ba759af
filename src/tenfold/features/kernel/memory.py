"""Keeps the memory of temporary arrays in the process, instead of giving it back and getting it again page by page."""

from functools import cache

import numpy as np

LARGEST = 31 << 20
"""Just below what glibc allows its threshold to be."""


@cache
def keep() -> None:
    """Let the C library reuse arrays of up to 31 MB; once in a process, and nothing where it has no such threshold.

    glibc maps a block above a threshold anew each time and unmaps it when it is freed; its pages are then faulted in again,
    which took a third of the kernel's time. The threshold, and how much is kept for reuse, follow the largest mapped block
    that was freed (mallopt(3), M_MMAP_THRESHOLD): this frees one whose pages are never touched.
    """
    block = np.empty(LARGEST, dtype=np.uint8)
    del block
