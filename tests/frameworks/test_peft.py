"""LoRA and its relatives: one curve for a layer, whatever adapts it, and before and after."""

import json
import logging

import numpy as np
import pytest
import torch
from support.ranks import lines_of, run_ranks
from support.writers import Recorder
from torch import nn

from delve import SaturationTracker
from delve.capture.layers import find_layers, select_layers

peft = pytest.importorskip("peft")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

X = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Linear(6, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(torch.relu(self.body(x)))


def lora(model, **arguments):
    torch.manual_seed(1)
    config = peft.LoraConfig(target_modules=["body"], init_lora_weights=False, **arguments)
    return peft.get_peft_model(model, config)


def trace(rows):
    return pytest.approx(np.cov(rows, rowvar=False, bias=True).trace(), rel=1e-4)


def tracked(folder, model, **arguments):
    writer = Recorder()
    return writer, SaturationTracker(folder, writer, model, stats=["n", "trc"], **arguments)


def test_the_layer_is_base_plus_delta_before_and_after_a_merge(tmp_path, caplog):
    caplog.set_level(logging.INFO, "delve")
    model = lora(Network(), r=2, lora_alpha=8)
    layer = model.base_model.model.body
    weight = layer.base_layer.weight.detach().double()
    down, up = (
        getattr(layer, name)["default"].weight.detach().double() for name in ("lora_A", "lora_B")
    )
    base = X.double() @ weight.T + layer.base_layer.bias.detach().double()
    delta = 8 / 2 * (X.double() @ down.T @ up.T)
    assert float(delta.abs().mean()) > 0.01
    writer, tracker = tracked(tmp_path, model)
    with tracker:
        model(X)
        tracker.add_saturations()
        model.merge_and_unload()
        tracker.retrack()
        model.base_model.model(X)
        tracker.add_saturations()
    key = "train-covariance-trace/body"
    assert writer.rows[0][key] == trace((base + delta).numpy())
    assert writer.rows[1][key] == trace((base + delta).numpy())
    assert np.cov(base.numpy(), rowvar=False, bias=True).trace() != trace((base + delta).numpy())
    assert writer.rows[0]["train-covariance-trace/body.lora_A.default"] == trace(
        (X.double() @ down.T).numpy()
    )
    assert writer.rows[0]["train-covariance-trace/body.lora_B.default"] == trace(
        (X.double() @ down.T @ up.T).numpy()
    )
    layers = {key.partition("/")[2] for key in writer.rows[1]}
    assert layers == {"body", "head"}
    assert "2 of these are parts of adapters" in caplog.text
    assert "100.0 % of the weights" in caplog.text


def test_an_adapter_that_comes_while_the_model_is_tracked(tmp_path):
    model = Network()
    writer, tracker = tracked(tmp_path, model)
    with tracker:
        model(X)
        tracker.add_saturations()
        adapted = lora(model, r=2)
        tracker.retrack()
        adapted(X)
        tracker.add_saturations()
    caught = {}
    model.body.register_forward_hook(lambda _m, _a, out: caught.update(out=out))
    adapted(X)
    assert writer.rows[1]["train-covariance-trace/body"] == trace(
        caught["out"].detach().double().numpy()
    )
    assert writer.rows[0]["train-samples/body"] == writer.rows[1]["train-samples/body"] == 64


@pytest.mark.parametrize(
    "config",
    [
        peft.IA3Config(target_modules=["body"], feedforward_modules=[]),
        peft.LoHaConfig(target_modules=["body"], r=2),
        peft.VeraConfig(target_modules=["body"], r=2),
        peft.OFTConfig(target_modules=["body"], oft_block_size=3),
    ],
    ids=lambda config: config.peft_type.value,
)
def test_other_adapters_have_the_clean_name_too(tmp_path, config):
    model = peft.get_peft_model(Network(), config)
    assert {"body", "head"} <= find_layers(model).keys()
    writer, tracker = tracked(tmp_path, model)
    caught = {}
    model.base_model.model.body.register_forward_hook(lambda _m, _a, out: caught.update(out=out))
    with tracker:
        model(X)
        tracker.add_saturations()
    assert writer.rows[0]["train-covariance-trace/body"] == trace(
        caught["out"].detach().double().numpy()
    )


def test_a_module_that_is_saved_beside_the_adapter_keeps_its_name(tmp_path, caplog):
    model = lora(Network(), r=2, modules_to_save=["head"])
    writer, tracker = tracked(tmp_path, model)
    with tracker:
        output = model(X)
        tracker.add_saturations()
        merged = model.merge_and_unload()
        tracker.retrack()
        merged(X)
        tracker.add_saturations()
    assert writer.rows[0]["train-covariance-trace/head"] == trace(output.detach().double().numpy())
    assert {key.partition("/")[2] for key in writer.rows[1]} == {"body", "head"}
    assert "saw nothing" not in caplog.text


def test_an_adapted_convolution_is_a_convolution(tmp_path):
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(36, 2))
    config = peft.LoraConfig(target_modules=["0"], r=2, init_lora_weights=False)
    model = peft.get_peft_model(model, config)
    writer, tracker = tracked(tmp_path, model)
    with tracker:
        model(torch.randn(10, 1, 5, 5))
        tracker.add_saturations()
    assert writer.rows[0]["train-samples/0"] == 10 * 9
    assert "0" not in select_layers(model, include_conv=False)


def test_parameters_of_fused_experts_may_be_adapted(tmp_path, caplog):
    transformers = pytest.importorskip("transformers")
    config = transformers.MixtralConfig(
        vocab_size=32, hidden_size=16, intermediate_size=24, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, num_local_experts=4,
    )  # fmt: skip
    model = transformers.MixtralForCausalLM(config)
    adapters = peft.LoraConfig(
        target_modules=[],
        r=2,
        init_lora_weights=False,
        target_parameters=["experts.gate_up_proj", "experts.down_proj"],
    )
    adapted = peft.get_peft_model(model, adapters)
    writer, tracker = tracked(tmp_path, adapted)
    caught = {}
    experts = model.model.layers[0].mlp.experts
    experts.register_forward_hook(lambda _m, _a, out: caught.update(out=out))
    with tracker:
        adapted(torch.arange(12).reshape(2, 6))
        tracker.add_saturations()
    key = "train-covariance-trace/model.layers.0.mlp.experts"
    assert writer.rows[0][key] == trace(caught["out"].detach().double().numpy())
    assert "saw nothing" not in caplog.text


def test_attention_that_is_adapted_is_one_layer(tmp_path, caplog):
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(6, 2, batch_first=True)

        def forward(self, x):
            return self.attention(x, x, x)[0]

    config = peft.LoraConfig(target_modules=["attention"], r=2, init_lora_weights=False)
    model = peft.get_peft_model(Attention(), config)
    writer, tracker = tracked(tmp_path, model)
    x = X.reshape(16, 4, 6)
    with tracker:
        output = model(x)
        tracker.add_saturations()
    assert writer.rows[0]["train-covariance-trace/attention"] == trace(
        output[:, -1].detach().double().numpy()
    )
    assert {key.partition("/")[2] for key in writer.rows[0]} == {"attention"}
    assert "saw nothing" not in caplog.text


def test_the_parts_of_dora_which_see_more_than_data_are_left_out(tmp_path):
    model = lora(Network(), r=2, use_dora=True)
    writer, tracker = tracked(tmp_path, model)
    with tracker:
        model(X)
        tracker.add_saturations()
    assert {key: n for key, n in writer.rows[0].items() if "samples" in key} == {
        "train-samples/body": 64,
        "train-samples/head": 64,
    }


def test_a_name_of_the_users_own_is_no_wrapper():
    class Base(nn.Module):
        def __init__(self):
            super().__init__()
            self.base_model = nn.ModuleDict({"model": nn.Linear(2, 2)})
            self.base_layer = nn.Linear(2, 2)

    assert list(find_layers(Base())) == ["base_model.model", "base_layer"]


def test_an_embedding_that_is_asked_for_is_tracked_with_its_adapter(tmp_path):
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Embedding(50, 8), nn.Linear(8, 3)

        def forward(self, ids):
            return self.head(self.body(ids))

    model = lora(Words(), r=2)
    ids = torch.arange(40)
    writer, tracker = tracked(tmp_path, model, include=[nn.Embedding])
    with tracker, torch.no_grad():
        model(ids)
        rows = model.base_model.model.body(ids)
        tracker.add_saturations()
    assert writer.rows[0]["train-samples/body"] == 80
    assert writer.rows[0]["train-covariance-trace/body"] == trace(rows.numpy())


def test_an_adapted_layer_in_parts_on_several_processes_is_whole(tmp_path):
    """Tensor parallel under LoRA: the adapter adds local parts, and its base tells the layout."""
    body = """
        import peft
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 12), nn.Tanh())
        model = peft.get_peft_model(model, peft.LoraConfig(target_modules=["0"], r=2))
        mesh = init_device_mesh("cpu", (2,), mesh_dim_names=("tp",))
        parts = ("base_layer", "lora_B.default")
        plan = {f"base_model.model.0.{part}": ColwiseParallel() for part in parts}
        parallelize_module(model, mesh, plan)
        with SaturationTracker(folder, Saying(), model, stats=["n", "trc"]) as tracker:
            model(torch.randn(50, 6, generator=torch.Generator().manual_seed(1)))
            tracker.add_saturations()
    """
    done = run_ranks(tmp_path, "", body)
    assert done.returncode == 0, done.stderr
    (line,) = lines_of(done, "ROW")
    row = json.loads(line.split(" ", 2)[2])
    torch.manual_seed(0)
    outputs = nn.Linear(6, 12)(torch.randn(50, 6, generator=torch.Generator().manual_seed(1)))
    assert row["train-samples/0"] == 50
    assert row["train-covariance-trace/0"] == trace(outputs.detach().double().numpy())
