"""Every weight layer of the models that people train with Transformers, tiny and random."""

import logging

import numpy as np
import pytest
import torch
from support.writers import Recorder
from torch import nn

from delve import SaturationTracker
from delve.capture.coverage import coverage_of
from delve.capture.layers import Selection

transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

TEXT = {"input_ids": torch.arange(12).reshape(2, 6) % 32}
WIDTH = {
    "vocab_size": 32,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
HEADS = {"num_key_value_heads": 2}


def gpt2():
    config = transformers.GPT2Config(
        vocab_size=32, n_positions=32, n_embd=32, n_layer=2, n_head=4, bos_token_id=1,
        eos_token_id=2,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config), TEXT


def llama():
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**WIDTH, **HEADS)), TEXT


def mixtral():
    config = transformers.MixtralConfig(**WIDTH, **HEADS, num_local_experts=4)
    return transformers.MixtralForCausalLM(config), TEXT


def qwen3_moe():
    config = transformers.Qwen3MoeConfig(
        **WIDTH, **HEADS, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=24, head_dim=8
    )
    return transformers.Qwen3MoeForCausalLM(config), TEXT


def gpt_oss():
    config = transformers.GptOssConfig(
        **WIDTH, **HEADS, num_local_experts=4, num_experts_per_tok=2, head_dim=8
    )
    return transformers.GptOssForCausalLM(config), TEXT


def bert():
    return transformers.BertForMaskedLM(transformers.BertConfig(**WIDTH)), TEXT


def t5():
    config = transformers.T5Config(
        vocab_size=32, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, pad_token_id=0,
        decoder_start_token_id=0,
    )  # fmt: skip
    inputs = {**TEXT, "decoder_input_ids": TEXT["input_ids"]}
    return transformers.T5ForConditionalGeneration(config), inputs


def vit():
    config = transformers.ViTConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        image_size=16, patch_size=4, num_labels=3,
    )  # fmt: skip
    return transformers.ViTForImageClassification(config), {
        "pixel_values": torch.rand(2, 3, 16, 16)
    }


def whisper():
    config = transformers.WhisperConfig(
        vocab_size=32, num_mel_bins=8, d_model=32, encoder_layers=2, decoder_layers=2,
        encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48,
        decoder_ffn_dim=48, max_source_positions=10, max_target_positions=16, pad_token_id=0,
        bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, suppress_tokens=None,
        begin_suppress_tokens=None,
    )  # fmt: skip
    inputs = {"input_features": torch.rand(2, 8, 20), "decoder_input_ids": TEXT["input_ids"]}
    return transformers.WhisperForConditionalGeneration(config), inputs


def mamba():
    config = transformers.MambaConfig(
        vocab_size=32, hidden_size=256, num_hidden_layers=2, pad_token_id=0, bos_token_id=1,
        eos_token_id=2,
    )  # fmt: skip
    return transformers.MambaForCausalLM(config), TEXT


MODELS = [gpt2, llama, mixtral, qwen3_moe, gpt_oss, bert, t5, vit, whisper, mamba]
NAMED = {mamba: {"MambaMixer"}}  # what holds weights and is no layer: the state's decay


def recorded(folder, model, inputs, **arguments):
    """What a tracker records of one pass."""
    torch.manual_seed(0)
    writer = Recorder()
    with SaturationTracker(
        folder, writer, model.eval(), stats=["n", "trc"], **arguments
    ) as tracker:
        model(**inputs)
        tracker.add_saturations()
    return writer.rows[0]


def seen_share(model, row):
    """Of the weights that are no embeddings, those in modules of which the row holds samples."""
    embeddings = {
        parameter
        for module in model.modules()
        if isinstance(module, nn.Embedding)
        or type(module).__name__.endswith(("Embeddings", "Embedding"))
        for parameter in module.parameters(recurse=False)
    }
    weights = {p for p in model.parameters() if p.dim() > 1} - embeddings
    layers = {key.partition("/")[2] for key in row}
    seen = {p for name in layers for p in model.get_submodule(name).parameters()} & weights
    return sum(p.numel() for p in seen) / sum(p.numel() for p in weights)


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_95_percent_of_the_weights_are_tracked_and_the_rest_is_named(tmp_path, caplog, make):
    caplog.set_level(logging.INFO, "delve")
    model, inputs = make()
    row = recorded(tmp_path, model, inputs)
    share = seen_share(model, row)
    coverage = coverage_of(Selection(model), Selection(model).layers())
    print(f"{make.__name__:10} {share:7.1%} of the weights seen, {coverage.share:7.1%} tracked")
    assert share >= 0.95
    assert {type(module).__name__ for module in coverage.missed.values()} == NAMED.get(make, set())
    warned = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert bool(coverage.missed) == any("not tracked: 2 MambaMixer" in text for text in warned)
    saw_nothing = [text for text in warned if "saw nothing" in text]
    assert bool(saw_nothing) == (share < coverage.share)  # Mamba's mixer takes weights of its parts
    assert sum("tracked: " in r.getMessage() for r in caplog.records if r.levelno == 20) == 1


def trace(rows):
    rows = rows.detach().double().reshape(-1, rows.shape[-1]).numpy()
    return np.cov(rows, rowvar=False, bias=True).trace()


def test_a_conv1d_is_tracked_as_a_linear_layer(tmp_path):
    model, inputs = gpt2()
    caught = {}
    layer = model.transformer.h[0].mlp.c_fc
    layer.register_forward_pre_hook(lambda _, args: caught.update(x=args[0]))
    row = recorded(tmp_path, model, inputs, timeseries_method="timestepwise")
    expected = caught["x"].detach() @ layer.weight.detach() + layer.bias.detach()
    assert row["eval-samples/transformer.h.0.mlp.c_fc"] == 12
    assert row["eval-covariance-trace/transformer.h.0.mlp.c_fc"] == pytest.approx(
        trace(expected), rel=1e-5
    )


@pytest.mark.parametrize("make", [mixtral, gpt_oss])
def test_fused_experts_are_tracked_as_a_block(tmp_path, make):
    model, inputs = make()
    experts = model.model.layers[1].mlp.experts
    caught = {}
    experts.register_forward_hook(lambda _m, args, out: caught.update(args=args, out=out))
    row = recorded(tmp_path, model, inputs)
    hidden, index, weights = caught["args"]
    expected = torch.zeros_like(hidden)
    for token in range(len(hidden)):  # each token through each of its experts, one by one
        for expert, share in zip(index[token], weights[token], strict=True):
            expected[token] += share * one_expert(experts, int(expert), hidden[token])
    torch.testing.assert_close(caught["out"].detach(), expected.detach(), rtol=1e-4, atol=1e-6)
    assert row["eval-samples/model.layers.1.mlp.experts"] == 12
    assert row["eval-covariance-trace/model.layers.1.mlp.experts"] == pytest.approx(
        trace(expected), rel=1e-4
    )


def one_expert(experts, number, hidden):
    if hasattr(experts, "gate_up_proj_bias"):
        both = hidden @ experts.gate_up_proj[number] + experts.gate_up_proj_bias[number]
        inner = experts._apply_gate(both)
        return inner @ experts.down_proj[number] + experts.down_proj_bias[number]
    gate, up = (experts.gate_up_proj[number] @ hidden).chunk(2)
    return experts.down_proj[number] @ (nn.functional.silu(gate) * up)


def test_experts_that_are_modules_are_tracked_one_by_one(tmp_path):
    from transformers.models.switch_transformers import modeling_switch_transformers as switch

    config = transformers.SwitchTransformersConfig(
        d_model=32, d_ff=48, num_experts=4, expert_capacity=64
    )
    torch.manual_seed(0)
    block = switch.SwitchTransformersSparseMLP(config)
    caught = {}
    block.router.register_forward_hook(lambda _m, _a, out: caught.update(chosen=out[0]))
    row = recorded(tmp_path, block, {"hidden_states": torch.randn(4, 16, 32)})
    tokens = caught["chosen"].reshape(-1, 4).sum(dim=0).tolist()
    assert sum(tokens) == 64
    assert [row.get(f"eval-samples/experts.expert_{n}.wo", 0) for n in range(4)] == tokens


def test_residual_streams_norms_and_activations_by_argument(tmp_path):
    model, inputs = gpt2()
    block = type(model.transformer.h[0])
    caught = {}
    model.transformer.h[0].register_forward_hook(lambda _m, _a, out: caught.update(out=out))
    row = recorded(
        tmp_path, model, inputs, timeseries_method="timestepwise",
        include=[block, nn.LayerNorm, lambda module: "GELU" in type(module).__name__],
    )  # fmt: skip
    out = caught["out"][0] if isinstance(caught["out"], tuple) else caught["out"]
    assert row["eval-covariance-trace/transformer.h.0"] == pytest.approx(trace(out), rel=1e-5)
    assert row["eval-samples/transformer.h.1.ln_2"] == 12
    assert row["eval-samples/transformer.h.1.mlp.act"] == 12


def test_all_takes_embeddings_too(tmp_path):
    model, inputs = gpt2()
    row = recorded(tmp_path, model, inputs, track="all", timeseries_method="timestepwise")
    expected = model.transformer.wte(inputs["input_ids"])
    assert row["eval-covariance-trace/transformer.wte"] == pytest.approx(trace(expected), rel=1e-5)
