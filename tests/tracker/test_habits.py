"""Calls of people who are used to something else are answered by a sentence."""

import pytest
from torch import nn

from delve import SaturationTracker
from delve.errors import ArgumentError, WriterNotFoundError


def test_a_step_behind_a_scalar_is_told_where_it_goes(tmp_path):
    with SaturationTracker(tmp_path, "print", nn.Linear(2, 2)) as tracker:
        with pytest.raises(
            ArgumentError, match=r"not 3 too: unlike in TensorBoard .*\(step=\.\.\."
        ):
            tracker.add_scalar("a", 1.0, 3)
        tracker.add_scalar("a", 1.0)


@pytest.mark.parametrize(
    ("given", "meant"), [("Print", "print"), ("MLFLOW ", "mlflow"), ("TB", "tb")]
)
def test_a_writer_in_other_letters_is_recognised(tmp_path, given, meant):
    with pytest.raises(WriterNotFoundError, match=f"did you mean '{meant}'"):
        SaturationTracker(tmp_path, given, nn.Linear(2, 2))


@pytest.mark.parametrize("arguments", [{"mlflow": {"run_name": "a"}}, {"tb": 3}])
def test_arguments_for_a_writer_that_is_not_selected_say_so(tmp_path, arguments):
    with pytest.raises(ArgumentError, match="is a writer that save_to does not select"):
        SaturationTracker(tmp_path, "print", nn.Linear(2, 2), writer_args=arguments)
