import pytest
from delve_plot.names import common_prefix, shared_modules, short_names, with_gap

ENDS = ["attention.attention.query", "attention.output.dense", "output.dense"]


def layers(count, prefix="encoder.layer"):
    return [f"{prefix}.{i}.{end}" for i in range(count) for end in ENDS]


@pytest.mark.parametrize(
    ("names", "prefix"),
    [
        ([], ""),
        (["a.b"], ""),
        (["a.b", "a.c"], "a."),
        (["model.conv1", "model.conv10"], "model."),
        (["ab.x", "ac.y"], ""),
        (["a.b.c", "a.b"], "a."),
    ],
)
def test_the_prefix_ends_at_a_dot(names, prefix):
    assert common_prefix(names) == prefix


def test_long_names_are_short_and_stay_apart():
    names = ["stem", *(f"blocks.{i}." + "deep." * 20 + "conv" for i in range(30))]
    names += ["x" * 99 + end + "y" * 80 for end in "ab"]
    short = short_names(names)
    assert len(set(short)) == len(names)
    assert max(map(len, short_names(names[:31]))) <= 40


def test_a_gap_takes_whole_modules_so_that_numbers_stay_what_they_are():
    names = [*layers(12, "model.backbone_of_the_network.encoder.layer"), "classifier"]
    for name, short in zip(names, short_names(names), strict=True):
        kept = short.replace("… ", "….").replace(" …", ".…").split(".")
        assert set(kept) <= {*name.split("."), "…"}
    assert "… 10.attention.attention.query" in short_names(names)[30]


def test_names_up_to_48_characters_stand_whole():
    names = [*layers(12), "stem" * 12]
    assert short_names(names) == names


def test_one_longer_name_cuts_all_at_the_same_length():
    names = [*layers(12), "stem", "stem." * 10 + "conv"]
    assert max(map(len, names[:-1])) > 40
    assert max(map(len, short_names(names))) <= 40


def test_narrow_pages_have_shorter_names_as_far_as_they_differ():
    names = ["stem", *(f"encoder.transformer_blocks.{i}.mlp.fc" for i in range(3))]
    assert short_names(names, 24)[1:] == [f"encoder … {i}.mlp.fc" for i in range(3)]
    assert short_names(names, 12)[1:] == [f"… {i}.mlp.fc" for i in range(3)]


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("a.bb.cc.dd", "a … cc.dd"),
        ("a.bb.cccccccc", "a … cccccccc"),
        ("a.bbbbbbbbbbbb", "a.bbbbbbbbbbbb"),  # there is nothing to leave out
        ("aaaaaaaaaaaaaaaa.b", "… b"),
        ("a.b.c.d", "a.b.c.d"),
    ],
)
def test_the_end_of_a_name_is_kept(name, short):
    assert with_gap(name, 9) == short


def test_what_all_layers_lie_in_is_said_in_words():
    assert shared_modules(["net.a", "net.b"]) == "layers in net"
    assert shared_modules(["two\nlines.a", "two\nlines.b"]) == "layers in two lines"
    assert shared_modules(["a", "b"]) == ""
