import copy
import json
import pickle

import pytest

from delve.records import Metric, RunInfo


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


def test_the_first_lacking_epoch_is_one_that_the_journal_can_feed(tmp_path):
    run = RunInfo(tmp_path, "id", 0, initial_epoch=6, epochs=(2, 3, 5))
    assert run.first_lacking({2, 5}) == 3
    assert run.first_lacking(range(6)) == 6
    assert run.first_lacking(()) == 2
