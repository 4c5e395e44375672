"""Memory: how much of it is free, and whether an error says that there was not enough."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import torch

_CGROUPS = (  # the limit, and what is used of it
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)
# Of PyTorch's allocator on the CPU, of its memory-mapped and shared storage, and of oneDNN.
_REFUSED = re.compile(
    r"can't allocate memory|not enough memory|out of memory|Cannot allocate memory"
    r"|could not create a memory|bad_alloc",
    re.IGNORECASE,
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory was not to be had; on the CPU it is a RuntimeError."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError | OSError) and bool(_REFUSED.search(str(error)))


def free_memory(device: torch.device) -> int:
    """How many bytes are to be had there, as far as the system tells."""
    if device.type == "cuda" and torch.cuda.is_available():
        free = torch.cuda.mem_get_info(device)[0]
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + kept)
    return min(_bytes_of_the_system(), _bytes_of_the_group(), _bytes_of_the_process())


_UNKNOWN = 2**62


def _bytes_of_the_system() -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with contextlib.suppress(ImportError, OSError, ValueError, AttributeError):
        import os  # where there is no /proc

        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return 8 * 2**30


def _bytes_of_the_group() -> int:
    """What a container's limit leaves."""
    for limit, used in _CGROUPS:
        with contextlib.suppress(OSError, ValueError):
            return max(0, int(Path(limit).read_text()) - int(Path(used).read_text()))
    return _UNKNOWN


def _bytes_of_the_process() -> int:
    """What a limit of the process (``ulimit -v``) leaves."""
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (ImportError, OSError, ValueError, AttributeError):
        return _UNKNOWN
    return _UNKNOWN if limit == resource.RLIM_INFINITY else max(0, limit - used)
