"""Checkpoints of several processes: each sample once, whoever holds it."""

import json
import textwrap

import numpy as np
import pytest
import torch
from support.ranks import lines_of, run_ranks
from support.writers import Recorder
from torch import nn

from delve import SaturationTracker
from delve.errors import ArgumentError

BEGIN = """
import torch.distributed.checkpoint as dcp
states = folder.parent / "states"
def batch(number, count):
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(number))
def tracked(**arguments):
    return SaturationTracker(folder, Saying(), model, stats=["trc", "n"], **arguments)
def begun():
    # 10 samples in the first process, 30 in the second, of an epoch that a crash ends.
    tracker = tracked()
    model(batch(rank, 10 + 20 * rank))
    return tracker
def crash(tracker):
    tracker.close(RuntimeError("killed"))
    dist.barrier()
def go_on(tracker):
    model(batch(5 + rank, 5))
    tracker.add_saturations()
    tracker.close()
"""


def batch(number, count):
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(number))


def assert_whole(done, *batches):
    """The one row is that of all samples, by NumPy, of the first layer of the prologue."""
    assert done.returncode == 0, done.stderr
    row = json.loads(lines_of(done, "ROW")[0].split(" ", 2)[2])
    torch.manual_seed(0)
    first = nn.Linear(6, 5)
    x = torch.cat([batch(*one) for one in batches]).double()
    rows = (x @ first.weight.double().T + first.bias.double()).detach().numpy()
    assert row["train-samples/0"] == len(rows)
    trace = np.cov(rows.T, bias=True).trace()
    assert row["train-covariance-trace/0"] == pytest.approx(trace, rel=1e-6)


BEFORE, SINCE = [(0, 10), (1, 30)], [(5, 5), (6, 5)]

WAYS = {
    "each its own": """
        torch.save(tracker.state_dict(), f"{states}-{rank}")
        crash(tracker)
        state = torch.load(f"{states}-{rank}", weights_only=True)
    """,
    "all of all": """
        torch.save(tracker.state_dict(), f"{states}-{rank}")
        crash(tracker)
        state = [torch.load(f"{states}-{one}", weights_only=True) for one in (1, 0)]
    """,
    "merged in one file": """
        state = tracker.state_dict(merged=True)
        if rank == 0:
            torch.save(state, states)
        crash(tracker)
        state = torch.load(states, weights_only=True)
    """,
    "distributed": """
        dcp.save({"tracker": tracker.state_dict()}, checkpoint_id=states)
        crash(tracker)
        loaded = {"tracker": (again := tracked()).state_dict()}
        again.close()
        dcp.load(loaded, checkpoint_id=states)
        state = loaded["tracker"]
    """,
    "distributed and merged": """
        dcp.save({"tracker": tracker.state_dict(merged=True)}, checkpoint_id=states)
        crash(tracker)
        loaded = {"tracker": (again := tracked()).state_dict(merged=True)}
        again.close()
        dcp.load(loaded, checkpoint_id=states)
        state = loaded["tracker"]
    """,
}


@pytest.mark.parametrize("way", WAYS)
def test_each_sample_counts_once_after_a_resume(tmp_path, way):
    body = """
        tracker = tracked()
        tracker.load_state_dict(state)
        go_on(tracker)
    """
    begin = BEGIN + "tracker = begun()" + textwrap.dedent(WAYS[way])
    done = run_ranks(tmp_path, begin, body)
    assert_whole(done, *BEFORE, *SINCE)


def test_the_tracker_itself_is_stateful_for_distributed_checkpoints(tmp_path):
    body = """
        tracker = begun()
        dcp.save({"tracker": tracker}, checkpoint_id=states)
        crash(tracker)
        tracker = tracked()
        dcp.load({"tracker": tracker}, checkpoint_id=states)
        go_on(tracker)
    """
    assert_whole(run_ranks(tmp_path, BEGIN, body), *BEFORE, *SINCE)


@pytest.mark.parametrize(("merged", "processes"), [(False, 1), (True, 3)])
def test_another_number_of_processes_takes_all_of_them(tmp_path, merged, processes):
    body = f"""
        tracker = begun()
        torch.save(tracker.state_dict(merged={merged}), f"{{states}}-{{rank}}")
        crash(tracker)
    """
    assert run_ranks(tmp_path, BEGIN, body).returncode == 0
    body = f"""
        kept = [torch.load(f"{{states}}-{{one}}", weights_only=True) for one in range(2)]
        tracker = tracked()
        tracker.load_state_dict(kept[0] if {merged} else kept)
        go_on(tracker)
    """
    done = run_ranks(tmp_path, BEGIN, body, processes=processes)
    assert_whole(done, *BEFORE, *((5 + rank, 5) for rank in range(processes)))


def test_a_state_of_one_process_is_loaded_by_all(tmp_path):
    body = "tracker = begun(); torch.save(tracker.state_dict(), states); crash(tracker)"
    assert run_ranks(tmp_path, BEGIN, body, processes=1).returncode == 0
    body = """
        tracker = tracked()
        tracker.load_state_dict(torch.load(states, weights_only=True))
        go_on(tracker)
    """
    assert_whole(run_ranks(tmp_path, BEGIN, body), (0, 10), *SINCE)


def test_the_first_processs_state_is_refused_in_the_others(tmp_path):
    body = """
        tracker = begun()
        kept = [None, None]
        dist.all_gather_object(kept, tracker.state_dict())
        crash(tracker)
        tracker = tracked()
        try:
            tracker.load_state_dict(kept[0])
        except Exception as error:
            say("FOUND", rank, type(error).__name__, error)
        try:
            tracker.load_state_dict(dict.fromkeys(["epoch"], 0))
        except Exception as error:
            say("EMPTY", rank, type(error).__name__, error)
        dist.barrier()
        tracker.close()
    """
    done = run_ranks(tmp_path, BEGIN, body)
    assert done.returncode == 0, done.stderr
    (found,) = lines_of(done, "FOUND")
    assert found.startswith("FOUND 1 ArgumentError the state is that of rank 0 of 2 processes, and")
    assert "the samples of rank 1 are not in it" in found
    assert "state_dict(merged=True)" in found
    (empty,) = lines_of(done, "EMPTY")
    assert empty.startswith("EMPTY 0 ArgumentError the state holds no samples")


def test_one_process_refuses_a_state_of_two(tmp_path):
    body = "tracker = begun(); torch.save(tracker.state_dict(), f'{states}-{rank}'); crash(tracker)"
    assert run_ranks(tmp_path, BEGIN, body).returncode == 0
    body = """
        with tracked() as tracker:
            try:
                tracker.load_state_dict(torch.load(f"{states}-0", weights_only=True))
            except Exception as error:
                say("FOUND", error)
    """
    done = run_ranks(tmp_path, BEGIN, body, processes=1)
    assert done.returncode == 0, done.stderr
    (found,) = lines_of(done, "FOUND")
    assert "rank 0 of 2 processes, and this is rank 0 of 1" in found


def test_states_of_tensor_parallel_layers_go_on_in_one_process_when_merged(tmp_path):
    """Added up, samples would count twice, and halves of the features between as samples."""
    body = """
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.tensor.parallel import (
            ColwiseParallel, RowwiseParallel, parallelize_module,
        )
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 12), nn.Linear(12, 16), nn.GELU(), nn.Linear(16, 5))
        mesh = init_device_mesh("cpu", (2,), mesh_dim_names=("tp",))
        parallelize_module(model, mesh, {"1": ColwiseParallel(), "3": RowwiseParallel()})
        tracker = tracked_with(model)
        model(torch.randn(40, 6, generator=torch.Generator().manual_seed(5)))
        torch.save(
            {"own": tracker.state_dict(), "merged": tracker.state_dict(merged=True)},
            folder.parent / f"{rank}.pt",
        )
        dist.barrier()
    """
    begin = """
def tracked_with(model):
    return SaturationTracker(folder, Saying(), model, stats=["trc", "n"], include=[nn.GELU])
"""
    done = run_ranks(tmp_path, begin, body)
    assert done.returncode == 0, done.stderr
    states = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 12), nn.Linear(12, 16), nn.GELU(), nn.Linear(16, 5))
    outputs = []
    model[0].register_forward_hook(lambda *call: outputs.append(call[2].detach().numpy()))
    with torch.no_grad():
        model[0](torch.randn(40, 6, generator=torch.Generator().manual_seed(5)))
    writer = Recorder()
    arguments = {"stats": ["trc", "n"], "include": [nn.GELU]}
    with SaturationTracker(tmp_path / "one", writer, model, **arguments) as tracker:
        with pytest.raises(ArgumentError, match="worked on the same samples"):
            tracker.load_state_dict([state["own"] for state in states])
        tracker.load_state_dict(states[0]["merged"])
        model(torch.randn(20, 6))
        tracker.add_saturations()
    row = writer.rows[0]
    assert (row["train-samples/0"], row["train-samples/1"], row["train-samples/3"]) == (60, 60, 60)
    both = np.concatenate(outputs).astype(np.float64)
    assert row["train-covariance-trace/0"] == pytest.approx(both.var(axis=0).sum(), rel=1e-5)
    assert "train-samples/2" not in row  # which nobody could put together
