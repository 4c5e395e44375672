"""Sketches of several processes are one sketch of all their samples."""

import json

import pytest
from support.ranks import run_ranks

BEGIN = "from delve.numerics.covariance import TorchCovarianceMatrix\n"
BODY = """
        import numpy as np
        from delve.numerics.directions import Directions
        from delve.numerics.reduction import CovarianceReducer
        from delve.numerics.sketch import Sketch
        cpu = torch.device("cpu")
        def samples_of(rank):
            generator = torch.Generator().manual_seed(rank)
            deviations = torch.arange(1, 81) ** -0.75
            rows = torch.randn((300, 130)[rank % 2], 80, generator=generator) * deviations
            return rows + 5 * rank
        def sums(sketch):
            state = sketch.state_dict()
            return state["products"], state["probes"], state["trace"]
"""


def test_the_sums_are_those_of_one_process(tmp_path):
    body = (
        BODY
        + """
        key = ("train", "wide")
        directions = Directions.random(80, 32, cpu)
        for epoch in range(2):
            mine, alone = Sketch(directions), Sketch(directions)
            mine.update(samples_of(rank + epoch))
            for other in range(2):
                alone.update(samples_of(other + epoch))
            whole = CovarianceReducer().reduce({key: mine})[key]
            if rank == 0:
                assert whole.samples == alone.samples == 430
                assert torch.allclose(whole.mean(), alone.mean(), rtol=1e-12)
                for one, other in zip(sums(whole), sums(alone)):
                    assert torch.allclose(one, other, rtol=1e-4, atol=1e-5 * float(alone._trace))
                assert np.isclose(whole.trace(), alone.trace(), rtol=1e-12)
                exact = torch.cat([samples_of(other + epoch) for other in range(2)]).double()
                values = torch.linalg.eigvalsh(exact.T.cov(correction=0)).flip(0).cumsum(0)
                k = int((values < 0.99 * values[-1]).sum()) + 1
                low, high = whole.bounds().intrinsic_dimensionality(0.99)
                assert low <= k <= high, (low, k, high)
            # All look along the same range in the next epoch.
            say("RANGE", epoch, whole.following.identity)
            directions = whole.following
    """
    )
    done = run_ranks(tmp_path, BEGIN, body)
    assert done.returncode == 0, done.stdout + done.stderr
    ranges = [line for line in done.stdout.splitlines() if line.startswith("RANGE")]
    assert len(ranges) == 4
    assert len(set(ranges)) == 2


@pytest.mark.parametrize("kinds", ["se", "es", "s-", "-s"])
def test_a_process_that_gathers_exactly_or_has_nothing_takes_part(tmp_path, kinds):
    body = (
        BODY
        + f"""
        key, kind = ("train", "wide"), {kinds!r}[rank]
        mine = {{}}
        if kind == "s":
            mine[key] = Sketch(Directions.random(80, 32, cpu))
        elif kind == "e":
            mine[key] = TorchCovarianceMatrix()
        if mine:
            mine[key].update(samples_of(0))
        whole = CovarianceReducer().reduce(mine)[key]
        if rank == 0:
            alone = Sketch(Directions.random(80, 32, cpu))
            for _ in range({len(kinds.replace("-", ""))}):
                alone.update(samples_of(0))
            assert whole.samples == alone.samples
            assert np.isclose(whole.trace(), alone.trace(), rtol=1e-6)
            assert torch.allclose(sums(whole)[0], sums(alone)[0], rtol=1e-3, atol=1e-3)
    """
    )
    done = run_ranks(tmp_path, BEGIN, body)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_training_of_two_processes_records_bounds_that_hold(tmp_path):
    body = """
        model = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 300))
        with SaturationTracker(
            Path(sys.argv[1]), Saying(), model, sketch=["2"], stats=["lsat", "n"]
        ) as tracker:
            for epoch in range(3):
                for batch in range(4):
                    generator = torch.Generator().manual_seed(100 * epoch + 10 * batch + rank)
                    model(torch.randn(90, 6, generator=generator))
                tracker.add_saturations()
    """
    done = run_ranks(tmp_path, BEGIN, body)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [
        json.loads(line.split(" ", 2)[2])
        for line in done.stdout.splitlines()
        if line.startswith("ROW")
    ]
    assert len(rows) == 3
    for row in rows:
        assert row["train-samples/2"] == 720
        low = row.get("train-saturation-low/2", row["train-saturation/2"])
        high = row.get("train-saturation-high/2", row["train-saturation/2"])
        assert 0 < low <= row["train-saturation/2"] <= high <= 1
    widths = [
        row.get("train-saturation-high/2", 0) - row.get("train-saturation-low/2", 0) for row in rows
    ]
    assert widths[2] < 0.9 * widths[0]
