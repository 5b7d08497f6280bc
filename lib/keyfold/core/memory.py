"""Memory of this process."""

import ctypes

import pyarrow as pa


def return_freed_memory() -> None:
    """Returns freed memory to the system: the C library keeps what threads have freed, often more than what is in use."""
    pa.default_memory_pool().release_unused()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # of glibc
        trim(0)
