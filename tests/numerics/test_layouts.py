"""Layers that are spread over processes give what one process gives, worked out by NumPy."""

import json

import numpy as np
import pytest
import torch
from support.ranks import lines_of, run_ranks
from torch import nn

BEGIN = """
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import *
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
def batch(number, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(number))
def tracked(model, **arguments):
    arguments = {"stats": ["lsat", "trc", "n"]} | arguments
    return SaturationTracker(folder, Saying(), model, **arguments)
def two_layers(hidden=12):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, hidden), nn.GELU(), nn.Linear(hidden, 4), nn.Linear(4, 3))
"""


def batch(number, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(number))


def outputs(x, hidden=12):
    """What the layers of `two_layers` give, in float64."""
    torch.manual_seed(1)
    layers = [nn.Linear(6, hidden), nn.Linear(hidden, 4), nn.Linear(4, 3)]
    found = {}
    for name, layer in zip("023", layers, strict=True):
        weight, bias = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()
        found[name] = x = x.reshape(-1, x.shape[-1]) @ weight.T + bias
        x = nn.functional.gelu(torch.from_numpy(x)).numpy() if name == "0" else x
    return found


def expected(samples):
    row = {}
    for name, rows in samples.items():
        values = np.linalg.eigvalsh(np.cov(rows.T, bias=True))[::-1].clip(min=0)
        shares = values.cumsum() / values.sum()
        row[f"train-saturation/{name}"] = ((shares < 0.99).sum() + 1) / len(values)
        row[f"train-covariance-trace/{name}"] = values.sum()
        row[f"train-samples/{name}"] = len(rows)
    return row


def rows_of(done):
    assert done.returncode == 0, done.stderr
    return [json.loads(line.split(" ", 2)[2]) for line in lines_of(done, "ROW")]


def assert_one_row(done, samples):
    (row,) = rows_of(done)
    assert row == pytest.approx(expected(samples), rel=1e-5)


@pytest.mark.parametrize(("hidden", "when"), [(12, "after"), (13, "after"), (12, "before")])
def test_columns_and_rows_count_once(tmp_path, hidden, when):
    body = f"""
        mesh, model = init_device_mesh("cpu", (2,)), two_layers({hidden})
        styles = {{"0": ColwiseParallel(), "2": RowwiseParallel()}}
        if {hidden} == 13:  # which two processes cannot have local halves of
            styles["0"] = ColwiseParallel(output_layouts=Replicate())
            styles["2"] = RowwiseParallel(input_layouts=Replicate())
        if "{when}" == "after":
            parallelize_module(model, mesh, styles)
        with tracked(model) as tracker:
            if "{when}" == "before":
                parallelize_module(model, mesh, styles)
            for number in range(3):
                model(batch(number, 20, 6)).sum().backward()
            tracker.add_saturations()
    """
    done = run_ranks(tmp_path, BEGIN, body)
    x = torch.cat([batch(number, 20, 6) for number in range(3)]).double().numpy()
    assert_one_row(done, outputs(x, hidden))


def test_sharded_data_and_tensors_on_a_mesh_of_four_equal_one_process(tmp_path):
    body = """
        mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
        model = two_layers()
        parallelize_module(model, mesh["tp"], {"0": ColwiseParallel(), "2": RowwiseParallel()})
        for layer in (model[0], model[2], model):
            fully_shard(layer, mesh=mesh["dp"])
        with tracked(model) as tracker:
            for number in range(2):
                model(batch(2 * number + rank // 2, 20, 6)).sum().backward()
            tracker.add_saturations()
    """
    done = run_ranks(tmp_path, BEGIN, body, processes=4)
    x = torch.cat([batch(number, 20, 6) for number in range(4)]).double().numpy()
    assert_one_row(done, outputs(x))


def test_the_last_step_of_a_series_in_parts_is_the_whole_series_last(tmp_path):
    body = """
        mesh, model = init_device_mesh("cpu", (2,)), two_layers()
        styles = {
            "0": ColwiseParallel(input_layouts=Shard(1), use_local_output=False),
            "2": RowwiseParallel(output_layouts=Shard(1)),
            "3": SequenceParallel(),
        }
        model[3] = nn.LayerNorm(4)
        with tracked(parallelize_module(model, mesh, styles), log_interval=2) as tracker:
            for number in range(3):
                model(batch(number, 20, 8, 6)[:, 4 * rank : 4 * rank + 4])
            tracker.add_saturations()
    """
    done = run_ranks(tmp_path, BEGIN, body)
    x = torch.cat([batch(number, 20, 8, 6)[:, -1] for number in (0, 2)]).double().numpy()
    samples = outputs(x)
    del samples["3"]
    assert_one_row(done, samples)


def test_what_a_layer_makes_local_itself_is_put_together(tmp_path):
    body = """
        class Columns(nn.Linear):
            def forward(self, x):
                return nn.functional.linear(x, self.weight.to_local(), self.bias.to_local())
        mesh, layer = init_device_mesh("cpu", (2,)), Columns(6, 13)
        for name, parameter in list(layer.named_parameters()):
            spread = distribute_tensor(parameter.detach(), mesh, [Shard(0)])
            setattr(layer, name, nn.Parameter(spread))
        with tracked(layer, max_samples=25) as tracker:
            for number in range(2):
                layer(batch(number, 20, 6))
            tracker.add_saturations()
    """
    done = run_ranks(tmp_path, BEGIN.replace("two_layers", "_"), body)
    torch.manual_seed(0)
    nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3))  # of the prologue
    layer = nn.Linear(6, 13)
    x = torch.cat([batch(0, 20, 6), batch(1, 20, 6)])[:25]
    rows = (x.double() @ layer.weight.double().T + layer.bias.double()).detach().numpy()
    assert_one_row(done, {"Columns-0": rows})


def test_parts_cut_by_hand_are_left_out_and_copies_count_once(tmp_path):
    body = """
        mesh = init_device_mesh("cpu", (1, 2), mesh_dim_names=("dp", "tp"))
        whole = two_layers()
        half = nn.Linear(6, 6)
        half.weight.data = whole[0].weight.data[6 * rank : 6 * rank + 6].clone()
        model = nn.ModuleDict({"part": half, "same": whole[0]})
        with tracked(model, mesh=mesh) as tracker:
            for _ in range(2):
                for layer in model.values():
                    layer(batch(0, 20, 6))
                tracker.add_saturations()
    """
    done = run_ranks(tmp_path, BEGIN, body)
    same = outputs(batch(0, 20, 6).double().numpy())["0"]
    first, second = rows_of(done)
    assert first == second == pytest.approx(expected({"same": same}), rel=1e-5)
    assert done.stderr.count("these layers are left out") == 2  # by its weights, and its outputs
    assert done.stderr.count("part (ranks 0 and 1)") == 2


def test_an_output_between_columns_and_rows_is_left_out(tmp_path):
    """Its processes hold other features each, and it has no weight that would tell which."""
    body = """
        from delve.capture import samples
        @samples.register
        def _(layer: nn.GELU, output, methods):
            return output
        model = two_layers()
        styles = {"0": ColwiseParallel(), "2": RowwiseParallel()}
        with tracked(parallelize_module(model, init_device_mesh("cpu", (2,)), styles)) as tracker:
            model(batch(0, 20, 6))
            tracker.add_saturations()
    """
    done = run_ranks(tmp_path, BEGIN, body)
    assert_one_row(done, outputs(batch(0, 20, 6).double().numpy()))
    assert "hold different outputs of them" in done.stderr
    assert "1 (ranks 0 and 1)" in done.stderr


def test_stages_of_a_pipeline_report_their_own_layers(tmp_path):
    body = """
        whole = two_layers()
        stage = nn.ModuleDict({"0": whole[0]} if rank == 0 else {"2": whole[2], "3": whole[3]})
        with tracked(stage) as tracker:
            for number in range(2):
                if rank == 0:
                    hidden = nn.functional.gelu(stage["0"](batch(number, 20, 6)))
                    dist.send(hidden.detach(), 1)
                else:
                    dist.recv(hidden := torch.empty(20, 12), 0)
                    stage["3"](stage["2"](hidden))
            tracker.add_saturations()
        if rank == 0:
            from delve.journal.reading import contents_in
            say("LAYERS", *contents_in(folder).layers)
    """
    done = run_ranks(tmp_path, BEGIN, body)
    x = torch.cat([batch(number, 20, 6) for number in range(2)]).double().numpy()
    assert_one_row(done, outputs(x))
    assert lines_of(done, "LAYERS") == ["LAYERS 0 2 3"]
    assert "saw nothing" not in done.stderr


def test_stages_whose_layers_have_the_same_name_are_not_pooled(tmp_path):
    body = """
        torch.manual_seed(rank)
        stage = nn.Sequential(nn.Linear(6, 6))
        with tracked(stage, stats=["n"]) as tracker:
            stage(batch(0, 20, 6))
            tracker.add_scalar("loss", 1)
            tracker.add_saturations()
    """
    done = run_ranks(tmp_path, BEGIN, body)
    assert rows_of(done) == []
    assert "other weights under their name" in done.stderr


def test_groups_that_train_models_of_their_own_record_each(tmp_path):
    body = """
        pairs = [dist.new_group([0, 1]), dist.new_group([2, 3])]
        torch.manual_seed(rank // 2)
        layer = nn.Linear(6, 3)
        folder = folder / str(rank // 2)
        with tracked(layer, stats=["n"], process_group=pairs[rank // 2]) as tracker:
            layer(batch(rank, 10 * (rank + 1), 6))
            tracker.add_saturations()
    """
    done = run_ranks(tmp_path, BEGIN, body, processes=4)
    found = sorted(row["train-samples/Linear-0"] for row in rows_of(done))
    assert found == [30, 70]


MISTAKES = {
    "a mesh of one": ('mesh=init_device_mesh("cpu", (1,), mesh_dim_names=("tp",))', "lacks rank 1"),
    "a mesh without names": ('mesh=init_device_mesh("cpu", (2,))', "have names"),
    "no mesh": ("mesh=(2,)", "must be a torch.distributed.device_mesh.DeviceMesh"),
    "no group": ("process_group='world'", "must be a group that this process"),
}


def test_a_mesh_or_group_that_cannot_be_used_is_named_at_the_call(tmp_path):
    arguments = ", ".join(f"dict({argument})" for argument, _ in MISTAKES.values())
    body = f"""
        for number, argument in enumerate([{arguments}]):
            try:
                tracked(model, **argument)
            except Exception as error:
                say("FOUND", number, type(error).__name__, error)
        assert not folder.exists()
        tracked(model).close()
    """
    done = run_ranks(tmp_path, BEGIN, body)
    assert done.returncode == 0, done.stderr
    found = lines_of(done, "FOUND")
    assert len(found) == 2 * len(MISTAKES)
    for number, (_, message) in enumerate(MISTAKES.values()):
        said = [line for line in found if line.startswith(f"FOUND {number} ArgumentError ")]
        assert len(said) == 2
        assert all(message in line for line in said)
    assert "has waited" not in done.stderr


def test_a_group_that_lacks_this_process_is_named(tmp_path):
    body = """
        group = dist.new_group([0])
        try:
            with tracked(model, process_group=group) as tracker:
                model(batch(0, 20, 6))
                tracker.add_saturations()
        except Exception as error:
            say("FOUND", rank, type(error).__name__, error)
    """
    done = run_ranks(tmp_path, BEGIN, body)
    assert [row["train-samples/0"] for row in rows_of(done)] == [20]
    (found,) = lines_of(done, "FOUND")
    assert found.startswith("FOUND 1 ArgumentError process_group must be a group that this process")
