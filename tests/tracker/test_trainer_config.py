"""What a trainer's callback is told."""

import argparse
import dataclasses

import pytest

from delve.errors import ArgumentError
from delve.tracker import TrainersTracker, trainers_config


@dataclasses.dataclass
class Optimizer:
    lr: float = 0.1
    betas: tuple = (0.9, 0.99)


class ModelConfig:
    def to_dict(self):
        return {"hidden": 8, "lr": 7}


def test_sources_come_together_and_the_first_to_name_one_wins():
    sources = {"optimizer": Optimizer(), "lr": 0.1}, ModelConfig(), None, argparse.Namespace(seed=1)
    assert trainers_config(*sources) == {
        "optimizer": {"lr": 0.1, "betas": [0.9, 0.99]},
        "lr": 0.1,
        "hidden": 8,
        "seed": 1,
    }


def test_a_tree_of_omegaconf_reads_as_it_resolves():
    omegaconf = pytest.importorskip("omegaconf")
    tree = omegaconf.OmegaConf.create({"width": 4, "twice": {"width": "${width}"}, "odd": "${no}"})
    assert trainers_config(tree) == {"width": 4, "twice": {"width": 4}}


class Unreadable:
    def to_dict(self):
        raise RuntimeError("not today")


@pytest.mark.parametrize(
    ("source", "left"),
    [(Unreadable(), {}), ({"a": 1, "b": Unreadable()}, {"a": 1}), (3, {})],
    ids=["whole", "one value", "no configuration"],
)
def test_what_cannot_be_had_is_left_out_and_named(source, left, caplog):
    assert trainers_config(source) == left
    assert "left out: config" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stat": ["lsat"]}, "is called 'stat'; did you mean 'stats'?"),
        ({"initial_epoch": 3}, "is called 'initial_epoch'"),
        ({"modules": None}, "is called 'modules'"),
        ({"nothing_like_it": 3}, "there are layer_filter, "),
    ],
)
def test_an_argument_that_the_tracker_has_not_is_a_mistake_at_once(arguments, message):
    with pytest.raises(ArgumentError, match=message.replace("?", r"\?")):
        TrainersTracker(arguments=arguments)


def test_a_wrong_class_of_exceptions_is_a_mistake_at_once():
    with pytest.raises(ArgumentError, match="ends_well must be classes"):
        TrainersTracker(arguments={"ends_well": [3]})
