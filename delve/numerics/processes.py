"""The processes of one training: which of them writes, and how they talk to each other.

What a ``group`` is: the process group of those that train one model together; None is the group of
all, once there is one.
"""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from delve.errors import ArgumentError, DelveError

T = TypeVar("T")
Group = Any  # torch.distributed.ProcessGroup | None; the class is missing in some builds of torch

# What launchers tell each process of its rank. Batch systems do so too for programs that have
# nothing to do with each other.
_LAUNCHERS = ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK")
_BATCH_SYSTEMS = (
    "SLURM_PROCID",
    "OMPI_COMM_WORLD_RANK",
    "PMI_RANK",
    "PMIX_RANK",
    "MV2_COMM_WORLD_RANK",
    "JSM_NAMESPACE_RANK",
)

_REST = 0.02  # seconds


def has_group() -> bool:
    """Whether there is a process group, of however few processes."""
    return dist.is_available() and dist.is_initialized()


def is_distributed(group: Group = None) -> bool:
    """Whether a process group of more than one process is there."""
    return has_group() and dist.get_world_size(group) > 1


def is_rank_zero(group: Group = None) -> bool:
    """Whether this process is the one that writes: the first, by its group or its environment."""
    return dist.get_rank(group) == 0 if has_group() else not_first() is None


def not_first(environment: Mapping[str, str] = os.environ) -> str | None:
    """The variable by which this process is not the first one, where no process group is there.

    ``RANK`` alone decides where it is set, as ``torchrun`` does. Else each other variable has to
    be 0: inside a job of SLURM, whose shell has ``SLURM_PROCID=0``, Lightning starts processes that
    ``LOCAL_RANK`` tells apart. ``NODE_RANK`` counts beside ``LOCAL_RANK``, but not alone.
    """
    ranks = {
        name: int(environment[name])
        for name in ("RANK", *_LAUNCHERS, *_BATCH_SYSTEMS)
        if environment.get(name, "").isdecimal()
    }
    if "RANK" in ranks:
        ranks = {"RANK": ranks["RANK"]}
    elif "LOCAL_RANK" not in ranks:
        ranks = {name: rank for name, rank in ranks.items() if name not in _LAUNCHERS}
    return next((name for name, rank in ranks.items() if rank > 0), None)


def is_of_batch_system(variable: str) -> bool:
    """Whether a batch system sets it, also where each process trains a model of its own."""
    return variable in _BATCH_SYSTEMS


def place(group: Group = None) -> tuple[int, int]:
    """The rank of this process within its group, and how many processes that has."""
    return (dist.get_rank(group), dist.get_world_size(group)) if has_group() else (0, 1)


def ranks_of(group: Group = None) -> list[int]:
    """The ranks, among all processes, of those in a group; it has to be there."""
    return list(dist.get_process_group_ranks(group or dist.group.WORLD))


def check_group(group: Group, mesh: Any = None) -> Group:
    """The group of a user's, of which this process has to be, and whose processes the mesh has.

    Raises:
        ArgumentError: It is none, or it or the mesh lacks a process.
    """
    if group is None and mesh is None:
        return None
    if not has_group():
        raise ArgumentError(
            "process_group and mesh need torch.distributed; call init_process_group() before"
        )
    if group is not None and not (_is_group(group) and dist.get_rank(group) >= 0):
        raise ArgumentError(
            f"process_group must be a group that this process, of rank {dist.get_rank()}, is in, "
            f"not {group!r}; make the tracker in the processes of the group alone"
        )
    if mesh is not None:
        _check_mesh(mesh, ranks_of(group))
    return group


def _is_group(group: Any) -> bool:
    members = dist.GroupMember.NON_GROUP_MEMBER
    return group == members or isinstance(group, dist.ProcessGroup)


def _check_mesh(mesh: Any, ranks: list[int]) -> None:
    held = getattr(mesh, "mesh", None)
    if not isinstance(held, torch.Tensor) or not getattr(mesh, "mesh_dim_names", None):
        raise ArgumentError(
            "mesh must be a torch.distributed.device_mesh.DeviceMesh whose dimensions have names, "
            f"as init_device_mesh(..., mesh_dim_names=('dp', 'tp')) makes one, not {mesh!r}"
        )
    lacking = sorted(set(ranks) - set(held.flatten().tolist()))
    if lacking:
        raise ArgumentError(
            f"mesh: it lacks {named(lacking)} of the {len(ranks)} processes that the tracker is "
            "made in; give the mesh of all, or process_group= with the processes of this one"
        )


def named(ranks: Iterable[int]) -> str:
    """Ranks as one says them."""
    texts = [str(rank) for rank in ranks]
    if len(texts) < 2:
        return f"rank {''.join(texts)}"
    shown = texts if len(texts) <= 8 else [*texts[:7], f"{len(texts) - 7} more"]
    return f"ranks {', '.join(shown[:-1])} and {shown[-1]}"


def from_rank(value: T, process: int, group: Group = None) -> T:
    """What a process of the group holds, by its rank there; any value that can be pickled.

    Collective: a process group has to be there.
    """
    message: list[Any] = [value]
    source = ranks_of(group)[process]
    dist.broadcast_object_list(message, src=source, group=group, device=device(group))
    received: T = message[0]
    return received


def from_rank_zero(value: T | None, group: Group = None) -> T:
    """What the first process holds, which may be any value that can be pickled.

    Collective: a process group has to be there.
    """
    message: list[Any] = [value]
    first = ranks_of(group)[0]
    dist.broadcast_object_list(message, src=first, group=group, device=device(group))
    received: T = message[0]
    return received


def gather(mine: T, group: Group = None) -> list[T]:
    """What each process has, by rank within the group; collective where one is there."""
    if not is_distributed(group):
        return [mine]
    gathered = [mine] * dist.get_world_size(group)
    dist.all_gather_object(gathered, mine, group=group)
    return gathered


def raise_in_all_ranks(act: Callable[[], T], group: Group = None) -> T:
    """Each process acts for itself; the first error in any of them is raised in all.

    Collective where a process group is there: a mistake made in one process alone would leave the
    others waiting for it.
    """
    if not is_distributed(group):
        return act()
    own_failure: Exception | None = None
    try:
        answer = act()
    except Exception as error:
        own_failure = _portable(error)
    failures = gather(own_failure, group)
    failures[dist.get_rank(group)] = own_failure  # which still has its traceback
    for failure in failures:
        if failure is not None:
            raise failure
    return answer


def union(keys: Iterable[T], group: Group = None) -> list[T]:
    """The keys that any process has, in one order for all of them.

    Collective where a process group is there.
    """
    return list(dict.fromkeys(key for one in gather(list(keys), group) for key in one))


def rest() -> None:
    """Let threads of torch's free what the last exchange has left; a process may end after it.

    A thread of gloo's needs the interpreter for it. Where that ends meanwhile, torch aborts the
    process (pytorch/pytorch#190489, seen in 2.13), and a launcher ends the other ones at once.
    """
    if is_distributed():
        time.sleep(_REST)


def device(group: Group = None) -> torch.device:
    """Where tensors have to be to travel between processes."""
    if "nccl" in str(dist.get_backend(group)):
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def _portable(error: Exception) -> Exception:
    """The error itself if it can travel, else one of the same text; it says where it was raised."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = DelveError(f"{type(error).__name__}: {error}")
    error.add_note(f"raised in the process of rank {dist.get_rank()}")
    return error
