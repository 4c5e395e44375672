"""What has panels, and what colours."""

import itertools
import json

import pytest
from delve_plot.arrangement import Arrangement, arrange, told_value, values_of

from delve.errors import ArgumentError


def grid(**values):
    """The hyperparameters of one run for each combination."""
    told = [[v if isinstance(v, str) else json.dumps(v) for v in held] for held in values.values()]
    return [dict(zip(values, row, strict=True)) for row in itertools.product(*told)]


WIDTH_AND_RATE = grid(width=[16, 64, 256], lr=[0.1, 0.03, 0.01, 0.001], optimizer=["adam"])


def test_up_to_seven_runs_have_a_colour_each():
    assert arrange(WIDTH_AND_RATE[:7]) == Arrangement()


def test_the_hyperparameter_of_fewest_values_has_panels_and_another_colours():
    assert arrange(WIDTH_AND_RATE) == Arrangement("width", "lr")
    assert arrange(grid(model__width=[1, 2, 3], opt=["a", "b"], x=[0, 1, 2, 3])) == Arrangement(
        "opt", "x", unsaid=("model__width",)
    )


def test_what_is_asked_for_has_panels_by_the_last_part_of_its_name():
    configs = [{f"model.{key}": v for key, v in config.items()} for config in WIDTH_AND_RATE]
    assert arrange(configs, "lr") == Arrangement("model.lr", "model.width")
    assert arrange(configs[:2], "lr") == Arrangement("model.lr", None)
    assert arrange(configs, "optimizer").panels == "model.optimizer"


def test_runs_that_differ_in_nothing_but_a_seed_have_a_panel_each():
    assert arrange(grid(seed=range(12))) == Arrangement(by_run=True)
    assert arrange([{}] * 12) == Arrangement(by_run=True)
    assert arrange([{}] * 100) == Arrangement()
    names = [{"out": f"runs/{n}"} for n in range(12)]
    assert arrange(names) == Arrangement(by_run=True)


def test_runs_that_look_alike_are_said_to_differ_in_the_rest():
    configs = grid(opt=["sgd", "adam"], seed=range(5))
    assert arrange(configs) == Arrangement(None, "opt", unsaid=("seed",))


def test_what_varies_together_counts_once():
    configs = [{**config, "hidden": f"{4 * int(config['width'])}"} for config in WIDTH_AND_RATE]
    assert arrange(configs) == Arrangement("width", "lr")


def test_words_stand_for_runs_and_layers_unless_a_hyperparameter_is_called_so():
    assert arrange(WIDTH_AND_RATE, "run", has_types=True) == Arrangement(by_type=True, by_run=True)
    assert arrange(WIDTH_AND_RATE, "type", has_types=True) == Arrangement(
        None, "lr", by_type=True, unsaid=("width",)
    )
    assert arrange(WIDTH_AND_RATE, "layer", has_types=True) == Arrangement("width", "lr")
    assert arrange(WIDTH_AND_RATE, has_types=True) == Arrangement("width", "lr", by_type=True)
    assert arrange(grid(type=["a", "b"]), "type") == Arrangement("type")


def test_what_no_run_has_is_an_error_that_says_what_there_is():
    with pytest.raises(ArgumentError, match=r"by: no run .* 'depth'; .* differ in: width, lr; or"):
        arrange(WIDTH_AND_RATE, "depth")
    with pytest.raises(ArgumentError, match="no blocks that repeat"):
        arrange(WIDTH_AND_RATE, "type")


def test_values_rise_and_those_that_are_no_numbers_come_last():
    configs = [{"x": value} for value in ("256", "16", "1e2", "auto")]
    assert values_of([*configs, {}], "x") == ["16", "1e2", "256", "auto", None]
    assert told_value("model.x", "0.30000000000000004") == "x = 0.3"
    assert told_value("model.x", None) == "no x"
