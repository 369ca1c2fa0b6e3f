"""Memory that two processes see: the child puts rows of numbers there, the parent reads them where they lie."""

from __future__ import annotations

import mmap
import os
import secrets
import sys
import tempfile

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
Numbers = NDArray[np.float32]


class Block:
    """A name (or a descriptor) for memory that is not there yet: how much is needed is known after the load.

    Nothing is left behind: it has no name in any folder, and goes with the last process that has it.
    """

    def __init__(self, handle: str) -> None:
        """`handle` is what `handle` of the other side says."""
        self.handle = handle

    @classmethod
    def new(cls) -> Block:
        """In the parent, before the child is started."""
        if sys.platform == "win32":
            return cls(f"foredraft-{secrets.token_hex(16)}")
        if hasattr(os, "memfd_create"):  # Linux; not in /dev/shm, of which containers have 64 MB
            return cls(str(os.memfd_create("foredraft-rows", os.MFD_CLOEXEC)))
        with tempfile.TemporaryFile() as file:
            return cls(str(os.dup(file.fileno())))

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What the child must inherit."""
        return () if sys.platform == "win32" else (int(self.handle),)

    def make(self, rows: int, columns: int, more: int = 0) -> tuple[Rows, Numbers]:
        """In the child: memory for so many rows, and for so many more numbers behind them."""
        if sys.platform != "win32":
            os.ftruncate(int(self.handle), max(1, rows * columns + more) * 4)
        return self.open(rows, columns, more, write=True)

    def open(self, rows: int, columns: int, more: int = 0, *, write: bool = False) -> tuple[Rows, Numbers]:
        """In the parent: what the child has made. The memory goes with the last view of it."""
        size = max(1, rows * columns + more) * 4
        if sys.platform == "win32":
            memory = mmap.mmap(-1, size, tagname=self.handle)
        else:
            memory = mmap.mmap(int(self.handle), size, mmap.MAP_SHARED)
        numbers = np.frombuffer(memory, dtype=np.float32, count=rows * columns + more)
        numbers.flags.writeable = write
        return numbers[: rows * columns].reshape(rows, columns), numbers[rows * columns :]

    def close(self) -> None:
        """The handle; what was opened stays as long as it is used. Calling it twice does nothing."""
        if self.handle and sys.platform != "win32":
            os.close(int(self.handle))
        self.handle = ""
