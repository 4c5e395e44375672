"""Calls of people who are used to something else are answered by a sentence."""

import pytest
import torch
from torch import nn

from delve import SaturationTracker
from delve.errors import ArgumentError, WriterNotFoundError
from delve.journal.stored_run import read_run


def test_a_step_behind_a_scalar_is_told_where_it_goes(tmp_path):
    with SaturationTracker(tmp_path, "print", nn.Linear(2, 2)) as tracker:
        with pytest.raises(
            ArgumentError, match=r"not 3 too: unlike in TensorBoard .*\(step=\.\.\."
        ):
            tracker.add_scalar("a", 1.0, 3)
        with pytest.raises(ArgumentError, match="not global_step=3 too: unlike in TensorBoard"):
            tracker.add_scalar("a", 1.0, global_step=3)
        tracker.add_scalar("a", 1.0)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("Print", "print"),
        ("MLFLOW ", "mlflow"),
        ("TB", "tb"),
        ("tensor_board", "tensorboard"),
        ("W&B", "wandb"),
        ("weights_and_biases", "wandb"),
        ("Matplotlib", "plot"),
        ("console", "print"),
    ],
)
def test_a_writer_in_other_letters_is_recognised(tmp_path, given, meant):
    with pytest.raises(WriterNotFoundError, match=f"did you mean '{meant}'"):
        SaturationTracker(tmp_path, given, nn.Linear(2, 2))


@pytest.mark.parametrize("arguments", [{"mlflow": {"run_name": "a"}}, {"tb": 3}])
def test_arguments_for_a_writer_that_is_not_selected_say_so(tmp_path, arguments):
    with pytest.raises(ArgumentError, match="is a writer that save_to does not select"):
        SaturationTracker(tmp_path, "print", nn.Linear(2, 2), writer_args=arguments)


@pytest.mark.parametrize("typed", ["MLflow", "mlfow", "ml_flow"])
def test_arguments_for_a_writer_that_is_misspelt_are_told_its_name(tmp_path, typed):
    with pytest.raises(ArgumentError, match=f"no writer {typed!r}; did you mean 'mlflow'?"):
        SaturationTracker(
            tmp_path, "print", nn.Linear(2, 2), writer_args={typed: {"run_name": "a"}}
        )


def train(folder, is_late, extra=()):
    model = nn.Linear(2, 2)
    with SaturationTracker(folder, "print", model) as tracker:
        for epoch in range(3):
            model(torch.rand(9, 2))
            if not is_late:
                tracker.add_scalar("loss", epoch)
            tracker.add_saturations()
            if is_late:
                tracker.add_scalar("loss", epoch)
        for name in extra:
            tracker.add_scalar(name, 1.0)


def test_scalars_that_come_after_their_epoch_are_told_of_once(tmp_path, caplog):
    train(tmp_path, is_late=True)
    (told,) = [r.getMessage() for r in caplog.records if "holds no layers" in r.getMessage()]
    assert told.startswith("epoch 3 holds no layers, but loss, logged after the last add_satur")
    assert read_run(tmp_path).epochs == [0, 1, 2, 3], "and nothing of it is lost"


def test_a_number_of_the_whole_run_is_meant_to_come_last(tmp_path, caplog):
    train(tmp_path, is_late=False, extra=["test accuracy"])
    assert "holds no layers" not in caplog.text
