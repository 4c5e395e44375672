from delve_tensorboard.tags import LayerTags

from delve.records import Metric


def tag(tags, layer):
    return tags.tag(Metric("train", "saturation", layer))


def test_the_number_is_the_layers_place_in_forward_order():
    tags = LayerTags()
    tags.add({"head", "stem"}, ("stem", "unused", "head"))
    assert [tag(tags, "stem"), tag(tags, "head")] == ["saturation/000.stem", "saturation/002.head"]


def test_a_number_stays_when_the_order_becomes_another():
    tags = LayerTags()
    tags.add({"a", "b"}, ("a", "b"))
    tags.add({"a", "b", "c"}, ("c", "b", "a"))
    assert [tags.numbers[layer] for layer in "abc"] == [0, 1, 2]


def test_no_two_layers_have_one_number_after_the_model_changed():
    tags = LayerTags({"a": 0, "gone": 1, "c": 2})
    tags.add({"a", "c", "new", "newer"}, ("a", "c", "new", "newer"))
    assert tags.numbers == {"a": 0, "gone": 1, "c": 2, "new": 3, "newer": 4}


def test_layers_that_are_in_no_order_come_last():
    tags = LayerTags()
    tags.add({"a", "x", "y"}, ("a", "b"))
    assert tags.numbers == {"a": 0, "x": 2, "y": 3}


def test_add_says_whether_there_was_something_new():
    tags = LayerTags()
    assert tags.add({"a"}, ("a",))
    assert not tags.add({"a"}, ("a",))


def test_numbers_can_be_read_back_from_tags():
    tags = LayerTags({"layer1.0.conv1": 7, "a/b": 12})
    written = [tag(tags, "layer1.0.conv1"), tag(tags, "a/b"), "_hparams_/session_start_info"]
    assert LayerTags.read(written).numbers == tags.numbers


def test_layers_sort_in_forward_order_by_their_tags():
    layers = [f"layer{number}" for number in range(120)]
    tags = LayerTags()
    tags.add(set(layers), layers)
    written = [tag(tags, layer) for layer in layers]
    assert sorted(written) == written
    assert tags.in_order() == layers
