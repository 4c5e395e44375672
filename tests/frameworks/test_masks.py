"""Masks of padding in models of Transformers: small, random, built from their configurations."""

import numpy as np
import pytest
import torch
from support.writers import Recorder

from delve import SaturationTracker

transformers = pytest.importorskip("transformers")

BATCH, TIME, WORDS = 24, 10, 60
SMALL = {"vocab_size": WORDS, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}

# The compiler looks at inputs that are not leaves, whether or not anything is tracked.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
    torch._dynamo.reset()


@pytest.fixture
def lengths():
    return torch.randint(1, TIME, (BATCH,))


@pytest.fixture
def right(lengths):
    return (torch.arange(TIME) < lengths[:, None]).long()


@pytest.fixture
def ids():
    return torch.randint(1, WORDS, (BATCH, TIME))


def bert(head=transformers.BertForMaskedLM):
    return head(transformers.BertConfig(**SMALL, intermediate_size=32)).eval()


def llama():
    sizes = {"intermediate_size": 32, "num_key_value_heads": 1}
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMALL, **sizes)).eval()


def t5():
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    config = transformers.T5Config(
        vocab_size=WORDS, decoder_start_token_id=0, pad_token_id=0, **sizes
    )
    return transformers.T5ForConditionalGeneration(config).eval()


def row(folder, model, act, method="timestepwise", **arguments):
    writer = Recorder()
    arguments = {"stats": ["n", "trc", "lsat"], "timeseries_method": method} | arguments
    with SaturationTracker(folder, writer, model, **arguments) as tracker, torch.no_grad():
        act()
        tracker.add_saturations()
    return writer.rows[0]


def counts(found):
    prefix = "eval-samples/"
    return {
        name.removeprefix(prefix): number
        for name, number in found.items()
        if name.startswith(prefix)
    }


def saturation(samples):
    covariance = np.cov(np.asarray(samples, dtype=np.float64), rowvar=False, bias=True)
    shares = np.sort(np.linalg.eigvalsh(covariance))[::-1].cumsum() / covariance.trace()
    return (int((shares < 0.99).sum()) + 1) / len(covariance)


def test_bert_s_last_step_is_the_last_real_token(tmp_path, ids, right, lengths):
    model = bert(transformers.BertModel)
    ids = torch.where(right == 1, ids, 0)
    kept = []
    dense = model.encoder.layer[1].output.dense
    handle = dense.register_forward_hook(lambda *call: kept.append(call[2].numpy()))

    def act():
        model(input_ids=ids, attention_mask=right)

    found = row(tmp_path / "auto", model, act, "last_timestep")
    padded = row(tmp_path / "none", model, act, "last_timestep", mask=None)
    handle.remove()
    name = "eval-saturation/encoder.layer.1.output.dense"
    last = kept[0][np.arange(BATCH), lengths.numpy() - 1]
    assert found[name] == pytest.approx(saturation(last))
    assert padded[name] == pytest.approx(saturation(kept[0][:, -1]))
    assert padded[name] < found[name]  # of [PAD], [PAD] and [PAD]
    assert counts(found)["pooler.dense"] == BATCH


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("wrapped", [False, True])
def test_bert_counts_real_tokens_alone(tmp_path, ids, right, compiled, wrapped):
    model = bert()
    called = torch.compile(model, backend="aot_eager", fullgraph=True) if compiled else model
    encoding = transformers.BatchEncoding({"input_ids": ids, "attention_mask": right})

    class OfBatch(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = called

        def forward(self, batch):
            return self.model(**batch)

    top = OfBatch().eval() if wrapped else called
    found = row(tmp_path, top, lambda: top(encoding) if wrapped else top(**encoding))
    assert set(counts(found).values()) == {int(right.sum())}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("given", ["none", "mask", "labels"])
def test_t5_s_encoder_and_decoder_have_masks_of_their_own(tmp_path, ids, right, given, compiled):
    model = t5()
    called = torch.compile(model, backend="aot_eager") if compiled else model
    target = torch.ones_like(right)
    target[3, 4:] = 0
    arguments = {
        "none": {"decoder_input_ids": ids},
        "mask": {"decoder_input_ids": ids, "decoder_attention_mask": target},
        "labels": {"labels": ids},
    }[given]
    found = row(
        tmp_path,
        model,
        lambda: called(input_ids=ids, attention_mask=right, use_cache=False, **arguments),
    )
    written = int(target.sum()) if given == "mask" else BATCH * TIME
    for name, number in counts(found).items():
        # Keys and values of cross-attention are of the encoder's tokens.
        is_read = name.startswith("encoder") or name.endswith(
            ("EncDecAttention.k", "EncDecAttention.v")
        )
        assert number == (int(right.sum()) if is_read else written), name


def test_bart_too(tmp_path, ids, right):
    layers = {"encoder_layers": 1, "decoder_layers": 1, "decoder_attention_heads": 2}
    heads = {"encoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    config = transformers.BartConfig(vocab_size=WORDS, d_model=16, **layers, **heads)
    model = transformers.BartForConditionalGeneration(config).eval()
    target = torch.ones_like(right)
    target[3, 4:] = 0
    found = counts(
        row(
            tmp_path,
            model,
            lambda: model(
                input_ids=ids,
                attention_mask=right,
                decoder_input_ids=ids,
                decoder_attention_mask=target,
            ),
        )
    )
    assert found["model.encoder.layers.0.fc1"] == int(right.sum())
    assert found["model.decoder.layers.0.encoder_attn.k_proj"] == int(right.sum())
    assert found["model.decoder.layers.0.encoder_attn.q_proj"] == int(target.sum())
    assert found["model.decoder.layers.0.fc1"] == found["lm_head"] == int(target.sum())


def test_generation_counts_the_prompt_without_padding_and_each_new_token(tmp_path, ids, right):
    model, left = llama(), right.flip(1)

    def act():
        model.generate(
            input_ids=ids, attention_mask=left, max_new_tokens=4, min_new_tokens=4,
            do_sample=False, pad_token_id=0, eos_token_id=None,
        )  # fmt: skip

    found = counts(row(tmp_path, model, act))
    # The fourth new token is not read again.
    assert found["model.layers.0.self_attn.q_proj"] == int(left.sum()) + 3 * BATCH


def test_a_model_that_gets_embeddings_of_tokens(tmp_path, ids, right):
    model = llama()
    embeddings = model.get_input_embeddings()(ids).detach()
    found = row(tmp_path, model, lambda: model(inputs_embeds=embeddings, attention_mask=right))
    assert set(counts(found).values()) == {int(right.sum())}


@pytest.mark.parametrize("method", ["first", "last_timestep", "mean"])
def test_vit_s_class_token_is_the_first_step_and_its_last_step_the_last_patch(tmp_path, method):
    sizes = {k: v for k, v in SMALL.items() if k != "vocab_size"}
    config = transformers.ViTConfig(
        **sizes, intermediate_size=32, image_size=16, patch_size=4, num_channels=3
    )
    model, images = transformers.ViTModel(config).eval(), torch.randn(BATCH, 3, 16, 16)
    kept = {}
    for name, layer in model.named_modules():
        if isinstance(layer, torch.nn.Linear):
            layer.register_forward_hook(
                lambda _layer, _inputs, output, name=name: kept.__setitem__(name, output.numpy())
            )
    found = row(tmp_path, model, lambda: model(pixel_values=images), method)
    series = {name: output for name, output in kept.items() if output.ndim == 3}
    assert len(series) == 12
    for name, output in series.items():
        assert output.shape == (BATCH, 17, output.shape[-1])
        samples = {
            "first": output[:, 0],
            "last_timestep": output[:, -1],
            "mean": output.astype(np.float64).mean(axis=1),
        }[method]
        trace = np.cov(samples.astype(np.float64), rowvar=False, bias=True).trace()
        assert found[f"eval-covariance-trace/{name}"] == pytest.approx(trace, rel=1e-4)


def test_clip_s_mask_of_texts_is_none_of_its_images(tmp_path):
    text = {**SMALL, "intermediate_size": 32, "max_position_embeddings": 17, "eos_token_id": 2}
    image = {k: v for k, v in text.items() if k.startswith(("hidden", "num", "inter"))}
    image |= {"image_size": 16, "patch_size": 4}  # 17 places, as many as there are tokens
    config = transformers.CLIPConfig(text_config=text, vision_config=image, projection_dim=8)
    model, time = transformers.CLIPModel(config).eval(), 17
    ids = torch.randint(3, WORDS, (BATCH, time))
    mask = (torch.arange(time) < torch.randint(1, time, (BATCH, 1))).long()
    images = torch.randn(BATCH, 3, 16, 16)
    found = counts(
        row(
            tmp_path,
            model,
            lambda: model(input_ids=ids, attention_mask=mask, pixel_values=images),
        )
    )
    assert found["text_model.encoder.layers.0.mlp.fc1"] == int(mask.sum())
    assert found["vision_model.encoder.layers.0.mlp.fc1"] == BATCH * time


def test_whisper_s_frames_are_not_the_positions_of_its_mask(tmp_path):
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "num_mel_bins": 8}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    places = {"max_source_positions": 20, "max_target_positions": 20}
    tokens = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    config = transformers.WhisperConfig(
        vocab_size=WORDS, encoder_ffn_dim=32, decoder_ffn_dim=32, **sizes, **heads, **places,
        **tokens, suppress_tokens=None, begin_suppress_tokens=None,
    )  # fmt: skip
    model = transformers.WhisperForConditionalGeneration(config).eval()
    frames = torch.randn(4, 8, 40)
    target = torch.ones(4, 6, dtype=torch.long)
    target[1, 2:] = 0
    found = counts(
        row(
            tmp_path,
            model,
            lambda: model(
                input_features=frames,
                attention_mask=torch.ones(4, 40, dtype=torch.long),
                decoder_input_ids=torch.randint(3, WORDS, (4, 6)),
                decoder_attention_mask=target,
            ),
        )
    )
    assert found["model.encoder.layers.0.fc1"] == 4 * 20
    assert found["model.decoder.layers.0.fc1"] == int(target.sum())
    assert found["model.decoder.layers.0.encoder_attn.k_proj"] == 4 * 20


def kept_of(layer):
    """What a layer returns, call by call."""
    kept = []
    layer.register_forward_hook(lambda *call: kept.append(call[2].numpy().astype(np.float64)))
    return kept


def trace(samples):
    return pytest.approx(np.cov(samples, rowvar=False, bias=True).trace(), rel=1e-4)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of what peft uses of Transformers
@pytest.mark.parametrize("kind", ["Prompt", "Prefix"])
def test_peft_makes_floats_of_a_mask_for_its_virtual_tokens(tmp_path, ids, right, lengths, kind):
    peft = pytest.importorskip("peft")
    sizes = {"n_positions": 64, "n_embd": 16, "n_layer": 2, "n_head": 2}
    tokens = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    config = transformers.GPT2Config(vocab_size=WORDS, **sizes, **tokens)
    tuning = getattr(peft, f"{kind}TuningConfig")(task_type="CAUSAL_LM", num_virtual_tokens=3)
    model = peft.get_peft_model(transformers.GPT2LMHeadModel(config), tuning).eval()
    kept = kept_of(model.base_model.transformer.h[1].mlp.c_fc)

    def act():
        model(input_ids=ids, attention_mask=right)

    found = row(tmp_path, model, act, "last_timestep")
    virtual = kept[0].shape[1] - TIME
    assert virtual == (3 if kind == "Prompt" else 0)
    last = kept[0][np.arange(BATCH), virtual + lengths.numpy() - 1]
    (name,) = [name for name in found if name.endswith("trace/transformer.h.1.mlp.c_fc")]
    assert found[name] == trace(last)


def test_rows_that_a_model_makes_of_all_positions_are_without_padding(tmp_path, ids, right):
    sizes = {"ffn_dim": 32, "word_embed_proj_dim": 16, "max_position_embeddings": 64}
    model = transformers.OPTForCausalLM(transformers.OPTConfig(**SMALL, **sizes)).eval()
    kept = kept_of(model.model.decoder.layers[0].fc1)

    def act():
        model(input_ids=ids, attention_mask=right)

    found = row(tmp_path, model, act, stats=["n", "trc", "masked"])
    assert set(counts(found).values()) == {int(right.sum())}
    real = kept[0].reshape(BATCH * TIME, -1)[right.flatten().numpy() == 1]
    assert found["eval-covariance-trace/model.decoder.layers.0.fc1"] == trace(real)
    padding = {value for name, value in found.items() if name.startswith("eval-masked")}
    assert padding == {BATCH * TIME - int(right.sum())}


def test_fused_experts_and_their_router_see_real_tokens_alone(tmp_path, ids, right):
    sizes = {"intermediate_size": 32, "num_key_value_heads": 1, "num_local_experts": 4}
    model = transformers.MixtralForCausalLM(transformers.MixtralConfig(**SMALL, **sizes)).eval()
    found = row(tmp_path, model, lambda: model(input_ids=ids, attention_mask=right))
    assert "model.layers.0.mlp.experts" in counts(found)
    assert set(counts(found).values()) == {int(right.sum())}


def test_a_model_whose_series_have_time_first(tmp_path, ids, right, lengths):
    sizes = {"d_model": 16, "n_layer": 1, "n_head": 2, "d_inner": 32}
    config = transformers.XLNetConfig(vocab_size=WORDS, pad_token_id=0, **sizes)
    model = transformers.XLNetModel(config).eval()
    kept = kept_of(model.layer[0].ff.layer_1)

    def act():
        model(input_ids=ids, attention_mask=right)

    found = row(tmp_path / "all", model, act)
    assert kept[0].shape[:2] == (TIME, BATCH)
    series = kept[0].swapaxes(0, 1)
    assert found["eval-covariance-trace/layer.0.ff.layer_1"] == trace(series[right.numpy() == 1])
    found = row(tmp_path / "last", model, act, "last_timestep")
    last = series[np.arange(BATCH), lengths.numpy() - 1]
    assert found["eval-covariance-trace/layer.0.ff.layer_1"] == trace(last)


def test_the_ids_that_a_mask_is_of_are_those_of_its_shape(tmp_path, ids, right):
    class Recommender(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.kinds = torch.nn.Embedding(WORDS, 8), torch.nn.Embedding(9, 8)
            self.text = torch.nn.Linear(8, 6)

        def forward(self, category_ids, token_ids, attention_mask):
            return self.text(self.words(token_ids)).sum() + self.kinds(category_ids).sum()

    model = Recommender().eval()
    kinds = torch.randint(9, (BATCH, 3))
    found = row(tmp_path, model, lambda: model(kinds, ids, right))
    assert counts(found) == {"text": int(right.sum())}
