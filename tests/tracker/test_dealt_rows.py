"""The end of an epoch in several processes: each computes its layers, and none waits too long."""

import json

from support.ranks import torchrun

BODY = """
import datetime, json, os, sys, time
from pathlib import Path
import torch, torch.distributed as dist
from torch import nn
import delve.stats.computation as computation
from delve import SaturationTracker
from delve.numerics.reduction import CovarianceReducer
dist.init_process_group("gloo", timeout=datetime.timedelta(seconds={timeout}))
rank, folder = dist.get_rank(), Path(sys.argv[1])
class Keeping:
    def add_scalars(self, value_dict, global_step):
        folder.mkdir(exist_ok=True)
        (folder / f"row{{global_step}}.json").write_text(json.dumps(value_dict))
torch.manual_seed(0)
model = nn.Sequential(*(nn.Linear(20, 20) for _ in range(5)))
decompose, seen = computation.spectrum_of, []
def watched(covariance, *others):
    time.sleep({pause})
    seen.append((covariance.samples, covariance.features))
    return decompose(covariance, *others)
computation.spectrum_of = watched
tracker = SaturationTracker(folder / "run", Keeping(), model, stats={stats}, {options})
held = []
reduce = CovarianceReducer.reduce
def reduced(self, covariances, *others, **options):
    whole = reduce(self, covariances, *others, **options)
    held.append((len(covariances), len(whole), sum(one.samples for one in covariances.values())))
    return whole
CovarianceReducer.reduce = reduced
for epoch in range(2):
    generator = torch.Generator().manual_seed(2 * epoch + rank)
    model(torch.randn(60 + 10 * rank, 20, generator=generator))
    tracker.add_saturations()
os.write(1, f"RANK {{rank}} {{json.dumps([seen, held])}}\\n".encode())
tracker.close()
dist.barrier()
dist.destroy_process_group()
os._exit(0)
"""


def run(tmp_path, processes, options="", timeout=60, pause=0, stats='["lsat", "idim"]'):
    program = tmp_path / "program.py"
    program.write_text(BODY.format(timeout=timeout, pause=pause, options=options, stats=stats))
    done = torchrun(program, tmp_path / "out", processes=processes, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    told = {}
    for line in done.stdout.splitlines():
        if line.startswith("RANK"):
            _, rank, found = line.split(maxsplit=2)
            told[int(rank)] = json.loads(found)
    rows = [json.loads((tmp_path / "out" / f"row{epoch}.json").read_text()) for epoch in range(2)]
    return told, rows


def test_each_process_computes_its_share_of_the_samples_of_all(tmp_path):
    told, rows = run(tmp_path, 2)
    (first, first_held), (second, second_held) = told[0], told[1]
    assert (len(first), len(second)) == (6, 4)  # of five layers in two epochs
    assert {tuple(one) for one in first + second} == {(130, 20)}
    # What another process computes is given back at once, and so is what was taken to this one's.
    assert first_held == [[5, 3, 0]] * 2
    assert second_held == [[5, 2, 0]] * 2
    assert len(rows[0]) == len(rows[1]) == 10


def test_the_row_is_that_of_one_process_with_all_samples(tmp_path):
    import torch
    from torch import nn

    from delve import SaturationTracker

    _, rows = run(tmp_path, 3)
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(20, 20) for _ in range(5)))
    kept = []

    class Keeping:
        def add_scalars(self, value_dict, global_step):
            kept.append(value_dict)

    tracker = SaturationTracker(tmp_path / "one", Keeping(), model, stats=["lsat", "idim"])
    for epoch in range(2):
        for rank in range(3):
            generator = torch.Generator().manual_seed(2 * epoch + rank)
            model(torch.randn(60 + 10 * rank, 20, generator=generator))
        tracker.add_saturations()
    tracker.close()
    assert kept == rows
    assert [list(row) for row in kept] == [list(row) for row in rows]


def test_samples_that_are_kept_are_not_given_back(tmp_path):
    told, rows = run(tmp_path, 2, options="reset_covariance=False")
    assert [held[2] > 0 for held in told[0][1]] == [True, True]
    assert told[0][0][-1] == [260, 20]
    assert len(rows[1]) == 10


def test_statistics_with_arrays_are_the_writers(tmp_path):
    told, rows = run(tmp_path, 2, stats='["lsat", "cov"]')
    assert (len(told[0][0]), len(told[1][0])) == (10, 0)
    assert rows[1]


def test_computing_may_take_longer_than_a_collective_waits(tmp_path):
    """Two and more seconds a layer, in processes whose collectives give up after four."""
    told, rows = run(tmp_path, 2, timeout=4, pause=2.5)
    assert len(told) == 2
    assert len(rows[1]) == 10
