import copy
import json
import pickle

import numpy as np
import pytest
import torch

from delve.records import (
    Metric,
    RunInfo,
    StagedEpoch,
    counted_epochs,
    enumerate_epochs,
    enumerate_spans,
    forward_order,
    shortened,
)


def test_a_metric_is_its_key_and_knows_its_parts():
    metric = Metric("train", "saturation", "layer1.0.conv1")
    assert metric == "train-saturation/layer1.0.conv1"
    assert (metric.mode, metric.stat, metric.layer) == ("train", "saturation", "layer1.0.conv1")
    assert json.dumps({metric: 1.0}) == '{"train-saturation/layer1.0.conv1": 1.0}'


@pytest.mark.parametrize("layer", ["fc", "a/b", "-", "train-saturation/x", "with\nnewline"])
def test_a_key_parses_back_into_its_parts(layer):
    metric = Metric("eval", "intrinsic-dimensionality", layer)
    parsed = Metric.parse(str(metric))
    assert parsed == metric
    assert (parsed.mode, parsed.stat, parsed.layer) == (metric.mode, metric.stat, metric.layer)


@pytest.mark.parametrize("key", ["accuracy", "train-saturation", "test-saturation/fc", "train-/fc"])
def test_other_names_are_no_metrics(key):
    assert Metric.parse(key) is None


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copied_metric_keeps_its_parts(duplicate):
    metric = duplicate(Metric("eval", "saturation", "fc"))
    assert (metric, metric.mode, metric.layer) == ("eval-saturation/fc", "eval", "fc")


def test_what_a_writer_remembers_is_kept_and_there_at_once(tmp_path):
    kept = []
    run = RunInfo(tmp_path, "id", 0, state={"a": 1}, keep=lambda state: kept.append(dict(state)))
    run.remember(b=2)
    assert run.state == {"a": 1, "b": 2}
    assert kept == [{"a": 1, "b": 2}]


def test_what_is_staged_comes_back_from_a_file_that_holds_no_code(tmp_path):
    array = np.arange(6.0).reshape(2, 3)[:, ::-1]  # not contiguous
    array.setflags(write=False)
    metric, embedding = Metric("train", "saturation", "a/b"), Metric("eval", "embedded-sample", "b")
    torch.save(
        StagedEpoch({"loss": 1.0}, {metric: 0.5}, {embedding: array}).state_dict(), tmp_path / "s"
    )
    found = StagedEpoch.from_state_dict(torch.load(tmp_path / "s", weights_only=True))
    assert found.names == ("loss", metric, embedding)
    assert (found.scalars, found.metrics) == ({"loss": 1.0}, {metric: 0.5})
    assert next(iter(found.metrics)).layer == "a/b"
    np.testing.assert_array_equal(found.arrays[embedding], array)


def test_epochs_are_enumerated_by_spans():
    assert enumerate_epochs([0, 1, 2, 5, 7, 8]) == "0-2, 5, 7-8"
    assert enumerate_epochs([1, 3, 4]) == "1, 3-4"
    assert enumerate_epochs([7, 9]) == "7, 9"
    assert enumerate_epochs([3]) == "3"
    assert enumerate_epochs([]) == ""
    assert enumerate_spans([(0, 2), (5, 5)]) == "0-2, 5"
    assert counted_epochs([0, 1, 2, 5]) == "epochs 0-2, 5"
    assert counted_epochs([3]) == "epoch 3"


def test_layers_whose_place_in_the_forward_order_is_unknown_come_last():
    assert forward_order(("b", "gone", "a"), ["new", "a", "b", "a"]) == ["b", "a", "new"]
    assert forward_order((), ["b", "a"]) == ["b", "a"]
    assert forward_order(iter(("a", "b")), iter(("b",))) == ["b"]


def test_of_many_names_the_first_are_given_and_the_rest_counted():
    assert shortened(["a", "b"]) == "a, b"
    assert shortened(list("abcdef")) == "a, b, c, d, e and 1 more"
    assert shortened(list("abc"), 1) == "a and 2 more"


def test_the_first_lacking_epoch_is_one_that_the_journal_can_feed(tmp_path):
    run = RunInfo(tmp_path, "id", 0, initial_epoch=6, epochs=(2, 3, 5))
    assert run.first_lacking({2, 5}) == 3
    assert run.first_lacking(range(6)) == 6
    assert run.first_lacking(()) == 2
