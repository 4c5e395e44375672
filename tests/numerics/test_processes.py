"""Several processes: gloo on this machine, started the way that torchrun does."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from support.ranks import torchrun

from delve.journal.reading import read_epochs

EXAMPLES = Path(__file__).parents[2] / "examples"
PROLOGUE = """
import json, logging, os, sys
from pathlib import Path
import torch, torch.distributed as dist
from torch import nn
from delve import SaturationTracker
from delve.numerics.reduction import CovarianceReducer
from delve.numerics.covariance import TorchCovarianceMatrix
dist.init_process_group("gloo")
rank, folder = dist.get_rank(), Path(sys.argv[1])
logging.basicConfig(format="%(message)s")
def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # at once, whole
def leave():  # at once: torch's own threads may abort a process that takes its time to end
    dist.barrier()
    dist.destroy_process_group()
    os._exit(0)
class Saying:
    def add_scalars(self, value_dict, global_step):
        say("ROW", global_step, json.dumps(value_dict, sort_keys=True))
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
"""


def run_ranks(tmp_path, body, processes=2):
    program = tmp_path / "program.py"
    # Torch's own threads may abort a process that takes its time to end.
    end = "\nsys.stdout.flush()\nsys.stderr.flush()\nos._exit(0)\n"
    program.write_text(PROLOGUE + textwrap.dedent(body) + end)
    return torchrun(program, tmp_path / "run", processes=processes, cwd=tmp_path)


def test_the_example_gives_what_one_process_gives(tmp_path):
    done = torchrun(EXAMPLES / "distributed.py", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the largest difference is 0.0e+00" in done.stdout
    assert read_epochs(tmp_path / "runs" / "distributed") == [0, 1, 2]


def test_covariances_of_unequal_processes_are_those_of_all_samples(tmp_path):
    body = """
        mine = {}
        for key, sizes in ((("train", "a"), (50, 7, 0)), (("eval", "b"), (0, 9, 0))):
            generator = torch.Generator().manual_seed(rank)
            x = torch.randn(sizes[rank], 4, generator=generator) * (rank + 1) + 1000 * rank
            if len(x):
                mine[key] = TorchCovarianceMatrix()
                mine[key].update(x)
        whole = CovarianceReducer().reduce(mine)
        if rank == 0:
            found = {f"{m}/{n}": c.fix().tolist() for (m, n), c in whole.items()}
            folder.mkdir()
            (folder / "found.json").write_text(json.dumps(found))
        dist.destroy_process_group()
    """
    done = run_ranks(tmp_path, body, processes=3)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "run" / "found.json").read_text())
    for key, sizes in (("train/a", (50, 7)), ("eval/b", (0, 9))):
        import torch

        parts = [
            torch.randn(n, 4, generator=torch.Generator().manual_seed(rank)) * (rank + 1)
            + 1000 * rank
            for rank, n in enumerate(sizes)
        ]
        expected = np.cov(torch.cat(parts).double().numpy().T, bias=True)
        difference = np.abs(np.array(found[key]) - expected).max()
        assert difference <= 1e-6 * np.linalg.eigvalsh(expected).max()


def test_the_first_process_alone_writes(tmp_path):
    body = """
        class Talking:
            def start(self, run): print("STARTED", rank, flush=True)
            def save(self, epoch): print("SAVED", rank, epoch, flush=True)
        with SaturationTracker(folder, Talking(), model) as tracker:
            for _ in range(2):
                model(torch.randn(20, 6))
                tracker.add_scalar("loss", rank)
                tracker.add_saturations()
            assert tracker.epoch == 2
        with SaturationTracker(folder, Talking(), model, initial_epoch="auto") as tracker:
            assert tracker.epoch == 2, tracker.epoch
        dist.destroy_process_group()
    """
    done = run_ranks(tmp_path, body)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith(("STARTED", "SAVED"))]
    assert lines == ["STARTED 0", "SAVED 0 0", "SAVED 0 1"]


def rows(done):
    """The rows that a ``Saying`` writer got, by epoch."""
    lines = [line.split(" ", 2) for line in done.stdout.splitlines() if line.startswith("ROW")]
    return {int(epoch): json.loads(row) for _, epoch, row in lines}


def test_without_reset_a_process_with_nothing_new_still_counts(tmp_path):
    body = """
        layer = nn.Linear(4, 3)
        arguments = dict(stats=["n"], reset_covariance=False)
        with SaturationTracker(folder, Saying(), layer, **arguments) as tracker:
            for sizes in ((40, 40), (10, 0), (0, 5), (0, 0)):
                layer(torch.randn(sizes[rank], 4))
                tracker.add_saturations()
        dist.destroy_process_group()
    """
    done = run_ranks(tmp_path, body)
    assert done.returncode == 0, done.stderr
    found = {epoch: row["train-samples/Linear-0"] for epoch, row in rows(done).items()}
    assert found == {0: 80, 1: 90, 2: 95}  # and nothing where no process saw anything


def test_a_process_without_batches_misses_no_layer_that_another_saw(tmp_path):
    body = """
        with SaturationTracker(folder, Saying(), model, stats=["n"]) as tracker:
            if rank == 0:
                model[0](torch.randn(20, 6))
            tracker.add_saturations()
        dist.destroy_process_group()
    """
    done = run_ranks(tmp_path, body)
    assert done.returncode == 0, done.stderr
    assert rows(done) == {0: {"train-samples/0": 20}}
    named = [line for line in done.stderr.splitlines() if "saw nothing in this epoch" in line]
    assert named
    assert all("saw nothing in this epoch: 2. " in line for line in named)


def test_a_layer_of_other_size_in_another_process_is_left_out_and_named_once(tmp_path):
    body = """
        model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.AdaptiveAvgPool2d(2), nn.Conv2d(2, 3, 1))
        arguments = dict(stats=["n"], conv_method="flatten")
        with SaturationTracker(folder, Saying(), model, **arguments) as tracker:
            for _ in range(2):
                model.train()(torch.randn(5, 1, 4 + rank, 4))
                model.eval()(torch.randn(6, 1, 4, 4))
                tracker.add_saturations()
        dist.destroy_process_group()
    """
    done = run_ranks(tmp_path, body)
    assert done.returncode == 0, done.stderr
    row = {"train-samples/2": 10, "eval-samples/0": 12, "eval-samples/2": 12}
    assert rows(done) == {0: row, 1: row}
    assert done.stderr.count("these layers are left out: 0 (32 and 40);") == 1


MISTAKES = {
    "an unknown writer": ('SaturationTracker(folder, "cvs", model)', "WriterNotFoundError"),
    "a locked folder": (
        'lock = rank == 0 and __import__("delve.journal.lock").journal.lock.FolderLock(folder); '
        'SaturationTracker(folder, "print", model)',
        "RunFolderInUseError",
    ),
    "a folder that is a file": (
        'rank == 0 and folder.write_text(""); dist.barrier(); '
        'SaturationTracker(folder, "print", model)',
        "ArgumentError",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_first_process_ends_all_with_the_same_error(tmp_path, mistake):
    code, error = MISTAKES[mistake]
    body = f"""
        try:
            {code}
        except Exception as found:
            say("FOUND", rank, type(found).__name__)
        dist.barrier()
        dist.destroy_process_group()
    """
    done = run_ranks(tmp_path, body)
    assert done.returncode == 0, done.stderr
    found = sorted(line for line in done.stdout.splitlines() if line.startswith("FOUND"))
    assert found == [f"FOUND 0 {error}", f"FOUND 1 {error}"]


LONE_MISTAKES = {
    "a statistic in the first": ("stats=['lsatt'] if rank == 0 else 'lsat'", "ArgumentError", 0),
    "a device in the last": ("device='warp' if rank == 1 else None", "ArgumentError", 1),
    "an error that cannot travel": ("layer_filter=fail if rank == 1 else None", "DelveError", 1),
    "both": ("stats=['a', 'b'][rank]", "ArgumentError", 0),
}


@pytest.mark.parametrize("mistake", LONE_MISTAKES)
def test_a_mistake_in_one_process_is_raised_in_all(tmp_path, mistake):
    arguments, error, culprit = LONE_MISTAKES[mistake]
    body = f"""
        def fail(layers):
            class Local(Exception):
                pass
            raise Local("no such layer")
        try:
            SaturationTracker(folder, "print", model, {arguments})
        except Exception as found:
            text = str(found).partition("(")[0]
            say("FOUND", type(found).__name__, *found.__notes__, text)
        assert not any(module._forward_hooks for module in model.modules())
        assert not folder.exists()
        # The processes can go on, and together.
        SaturationTracker(folder, "print", model).close()
        dist.destroy_process_group()
    """
    done = run_ranks(tmp_path, body)
    assert done.returncode == 0, done.stderr
    first, second = (line for line in done.stdout.splitlines() if line.startswith("FOUND"))
    assert first == second
    assert first.startswith(f"FOUND {error} raised in the process of rank {culprit} ")


def test_an_error_in_the_first_process_at_an_epochs_end_is_raised_in_all(tmp_path):
    """A writer's failure, where it is to be raised: the others would wait for the next epoch."""
    body = """
        class Full:
            def save(self, epoch):
                if epoch == 1:
                    raise OSError("no space left")

        tracker = SaturationTracker(folder, Full(), model, on_writer_error="raise")
        for epoch in range(2):
            model(torch.randn(20, 6))
            try:
                tracker.add_saturations()
            except Exception as found:
                say("FOUND", rank, epoch, type(found).__name__)
        tracker.close(OSError())
        dist.destroy_process_group()
    """
    done = run_ranks(tmp_path, body)
    assert done.returncode == 0, done.stderr
    found = sorted(line for line in done.stdout.splitlines() if line.startswith("FOUND"))
    assert found == ["FOUND 0 1 WriterFailedError", "FOUND 1 1 WriterFailedError"]


def test_a_process_that_dies_does_not_leave_the_others_hanging(tmp_path):
    body = """
        tracker = SaturationTracker(folder, "print", model)
        model(torch.randn(20, 6))
        if rank == 1:
            os._exit(3)
        try:
            tracker.add_saturations()
        except Exception as error:
            print("FOUND", type(error).__name__, flush=True)
            tracker.close(error)
            os._exit(4)
    """
    done = run_ranks(tmp_path, body)
    assert done.returncode != 0


def test_without_a_group_the_environment_names_the_first_process(tmp_path):
    program = (
        "import sys, torch; from delve import SaturationTracker;"
        "t = SaturationTracker(sys.argv[1], 'print', torch.nn.Linear(2, 2));"
        "t.add_scalar('a', 1); t.save(); t.close()"
    )
    for rank, writes in (("1", False), ("0", True)):
        command = [sys.executable, "-c", program, str(tmp_path / "run")]
        done = subprocess.run(
            command, env=os.environ | {"RANK": rank}, capture_output=True, text=True, check=True
        )
        assert ("a = 1" in done.stdout) is writes
        assert (tmp_path / "run").exists() is writes


def test_distributed_data_parallel_adds_nothing_to_names_wherever_it_is(tmp_path):
    body = """
        from delve.capture.layers import find_layers
        from torch.nn.parallel import DistributedDataParallel
        inner = DistributedDataParallel(model)
        say("FOUND", *find_layers(inner), *find_layers(nn.Sequential(nn.ReLU(), inner)))
        dist.destroy_process_group()
    """
    done = run_ranks(tmp_path, body)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["FOUND 0 2 1.0 1.2"] * 2


PCA_PROLOGUE = """
from delve.pca_layers import LinearPCALayer
from torch.nn.parallel import DistributedDataParallel
layer = LinearPCALayer(6, threshold=0.8)
pca = nn.Sequential(nn.Linear(6, 6), layer)
parallel = DistributedDataParallel(pca)
torch.manual_seed(1 + rank)
own, seen = torch.randn(6, 6), []
def train():
    parallel.train()
    seen.clear()
    for step in range(3):
        x = torch.randn(20 + 5 * rank, 6) @ own + rank
        seen.append(pca[0](x).detach().double())
        parallel(x).sum().backward()
        yield step
def evaluate():
    with torch.no_grad():
        return parallel.eval()(torch.ones(2, 6))
"""


@pytest.mark.parametrize("saver", [None, 0, 1])
@pytest.mark.parametrize("when", [1, 2])
def test_a_pca_layer_learns_from_its_own_process_whoever_saves_before_evaluation(
    tmp_path, saver, when
):
    body = f"""
        for epoch in range(2):
            for step in train():
                if rank == {saver} and step == {when}:
                    pca.state_dict()
            for _ in range(2):
                evaluate()
                rows = torch.cat(seen)
                expected = torch.linalg.eigvalsh(torch.cov(rows.T, correction=0)).flip(0)
                torch.testing.assert_close(layer.eigenvalues, expected, rtol=1e-5, atol=1e-6)
                torch.testing.assert_close(layer.mean, rows.mean(dim=0), rtol=1e-5, atol=1e-6)
                assert layer.seen_samples == len(rows)
        dist.destroy_process_group()
    """
    done = run_ranks(tmp_path, PCA_PROLOGUE + textwrap.dedent(body))
    assert done.returncode == 0, done.stderr


def test_an_epoch_that_was_loaded_goes_on_with_the_processs_own_samples(tmp_path):
    body = """
        import copy
        states = [copy.deepcopy(layer.state_dict()) for _ in train()]
        layer.load_state_dict(states[1])
        parallel.train()
        parallel(torch.ones(1, 6)).sum().backward()
        parallel(torch.ones(1, 6)).sum().backward()
        evaluate()
        rows = torch.cat([*seen[:2], pca[0](torch.ones(2, 6)).detach().double()])
        torch.testing.assert_close(layer.mean, rows.mean(dim=0), rtol=1e-5, atol=1e-6)
        dist.destroy_process_group()
    """
    done = run_ranks(tmp_path, PCA_PROLOGUE + textwrap.dedent(body))
    assert done.returncode == 0, done.stderr


def test_a_pca_layer_projects_alike_where_the_first_processs_state_was_loaded(tmp_path):
    body = """
        for share in (False, True):
            for _ in train():
                pass
            if share:
                states = [pca.state_dict()]
                dist.broadcast_object_list(states, src=0)
                pca.load_state_dict(states[0])
            for _ in range(2):
                outputs = [torch.empty(2, 6) for _ in range(2)]
                dist.all_gather(outputs, evaluate())
                assert torch.equal(*outputs) is share
        leave()
    """
    done = run_ranks(tmp_path, PCA_PROLOGUE + textwrap.dedent(body))
    assert done.returncode == 0, done.stderr
