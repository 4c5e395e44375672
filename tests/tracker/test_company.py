"""What is gathered beside the covariances: over a resume in mid-epoch, and over processes."""

import json

import pytest
import torch
from support.ranks import lines_of, run_ranks
from support.writers import Recorder
from torch import nn

from delve import SaturationTracker

STATS = ["dormant", "redo", "token_var", "lsat", "lsat2", "error", "top", "mshare", "csat"]


def layers():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 40), nn.ReLU(), nn.Linear(40, 30))
    with torch.no_grad():
        model[0].bias[:5] -= 20
    return model


def batches(count):
    generator = torch.Generator().manual_seed(7)
    return [torch.randn(9, 4, 6, generator=generator) for _ in range(count)]


def told(state):
    """A state as text, with every element of its tensors."""
    return json.dumps(state, default=lambda one: one.hex() if hasattr(one, "hex") else one.tolist())


def one_epoch(folder, some, **arguments):
    writer, model = Recorder(), layers()
    with SaturationTracker(folder, writer, model, stats=STATS, **arguments) as tracker:
        for batch in some:
            model(batch)
        tracker.add_saturations()
    return writer.rows[0]


@pytest.mark.parametrize("at", [1, 4, 7])
def test_an_epoch_resumed_in_its_middle_has_the_same_numbers(tmp_path, at):
    some = batches(8)
    whole = one_epoch(tmp_path / "whole", some, timeseries_method="timestepwise")
    assert whole["train-dormant-share/0"] >= 5 / 40
    model = layers()
    arguments = {"stats": STATS, "timeseries_method": "timestepwise"}
    crashed = SaturationTracker(tmp_path / "run", Recorder(), model, **arguments)
    for batch in some[:at]:
        model(batch)
    torch.save(crashed.state_dict(), tmp_path / "state")
    crashed.close(RuntimeError("killed"))
    writer = Recorder()
    with SaturationTracker(tmp_path / "run", writer, model, **arguments) as tracker:
        tracker.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
        for batch in some[at:]:
            model(batch)
        tracker.add_saturations()
    assert writer.rows[0] == pytest.approx(whole, rel=1e-12)


def test_a_state_is_none_of_later_batches(tmp_path):
    """What was saved stays as it was, though the tracker goes on."""
    some, model = batches(6), layers()
    tracker = SaturationTracker(tmp_path, Recorder(), model, stats=STATS)
    model(some[0])
    state = tracker.state_dict()
    before = told(state)
    for batch in some[1:]:
        model(batch)
    assert told(state) == before
    tracker.close()


def test_a_state_of_fewer_statistics_can_be_gone_on_from(tmp_path):
    model = layers()
    tracker = SaturationTracker(tmp_path, Recorder(), model)
    model(batches(1)[0])
    state = tracker.state_dict()
    tracker.close(RuntimeError("killed"))
    writer = Recorder()
    with SaturationTracker(tmp_path, writer, model, stats=STATS) as tracker:
        tracker.load_state_dict(state)
        tracker.add_saturations()
    assert "train-dormant-share/0" not in writer.rows[0]
    assert "train-saturation/0" in writer.rows[0]


def test_an_epoch_begins_with_nothing_unless_it_is_to_go_on(tmp_path):
    model, some = layers(), batches(2)
    for forget, expected in ((True, 1.0), (False, 0.5)):
        writer = Recorder()
        with SaturationTracker(
            tmp_path / str(forget), writer, model[2], stats=["dormant"], reset_covariance=forget
        ) as tracker:
            with torch.no_grad():
                model[2].weight.zero_()
                model[2].bias.fill_(-1)
                model[2].bias[:15] = 1
            model(some[0])
            tracker.add_saturations()
            with torch.no_grad():
                model[2].bias.fill_(-1)
            model(some[1])
            tracker.add_saturations()
        assert list(writer.rows[0].values()) == [0.5]
        assert list(writer.rows[1].values()) == [expected]


def test_a_layer_that_is_left_out_leaves_nothing_beside(tmp_path):
    model = layers()
    with SaturationTracker(tmp_path, Recorder(), model, stats=STATS) as tracker:
        model(batches(1)[0])
        tracker._hooks.untrack("0")
        assert {key[1] for _, key in tracker._gathering.beside.tallies} == {"2"}
        assert {layer for _, layer in tracker._gathering.beside.halves} == {"2"}


BEGIN = """
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(6, 40), nn.ReLU(), nn.Linear(40, 30))
with torch.no_grad():
    model[0].bias[:5] -= 20
generator = torch.Generator().manual_seed(7)
every = [torch.randn(9, 4, 6, generator=generator) for _ in range(8)]
stats = ["dormant", "redo", "token_var", "lsat", "lsat2", "error", "top", "mshare", "csat"]
def tracked():
    return SaturationTracker(
        folder, Saying(), model, stats=stats, timeseries_method="timestepwise"
    )
"""


def row_of(done):
    assert done.returncode == 0, done.stderr
    return json.loads(lines_of(done, "ROW")[0].split(" ", 2)[2])


def test_processes_come_together(tmp_path):
    """Each has every second pair of batches: the halves are the same ones."""
    done = run_ranks(
        tmp_path,
        BEGIN,
        """
        tracker = tracked()
        for number, batch in enumerate(every):
            if number // 2 % 2 == rank:
                model(batch)
        tracker.add_saturations()
        tracker.close()
        """,
    )
    whole = one_epoch(tmp_path / "whole", batches(8), timeseries_method="timestepwise")
    assert row_of(done) == pytest.approx({str(k): v for k, v in whole.items()}, rel=1e-6)


@pytest.mark.parametrize("is_merged", [True, False])
def test_processes_go_on_in_mid_epoch(tmp_path, is_merged):
    done = run_ranks(
        tmp_path,
        BEGIN,
        f"""
        tracker = tracked()
        for number, batch in enumerate(every[:4]):
            if number // 2 % 2 == rank:
                model(batch)
        state = tracker.state_dict(merged={is_merged})
        torch.save(state, f"state-{{rank}}")
        tracker.close(RuntimeError("killed"))
        dist.barrier()
        tracker = tracked()
        name = "state-0" if {is_merged} else f"state-{{rank}}"
        tracker.load_state_dict(torch.load(name, weights_only=True))
        for number, batch in enumerate(every[4:]):
            if number // 2 % 2 == rank:
                model(batch)
        tracker.add_saturations()
        tracker.close()
        """,
    )
    whole = one_epoch(tmp_path / "whole", batches(8), timeseries_method="timestepwise")
    assert row_of(done) == pytest.approx({str(k): v for k, v in whole.items()}, rel=1e-6)
