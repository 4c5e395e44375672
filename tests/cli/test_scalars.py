"""The user's scalars over a whole recorded run."""

import math

from support.journals import write_run

from delve.cli.scalars import summarise_scalars
from delve.journal.stored_run import read_run


def run(folder, *rows, **options):
    return read_run(write_run(folder, rows, **options))


def test_the_best_value_of_a_loss_is_its_lowest_and_of_other_scalars_the_highest(tmp_path):
    rows = [
        {"val_loss": 0.5, "accuracy": 0.7},
        {"val_loss": 0.2, "accuracy": 0.9},
        {"val_loss": 0.3, "accuracy": 0.8},
    ]
    loss, accuracy = summarise_scalars(run(tmp_path, *rows))
    assert (loss.last, loss.best, loss.best_epoch, loss.lowest) == (0.3, 0.2, 1, True)
    assert (accuracy.last, accuracy.best, accuracy.best_epoch) == (0.8, 0.9, 1)


def test_a_best_value_is_finite_and_the_first_of_equals_and_may_come_rarely(tmp_path):
    rows = [{"loss": math.nan, "rare": 2.0}, {"loss": 1.0}, {"loss": 1.0}, {"loss": math.inf}]
    loss, rare = summarise_scalars(run(tmp_path, *rows))
    assert (loss.last, loss.best, loss.best_epoch) == (math.inf, 1.0, 1)
    assert (rare.last, rare.best_epoch) == (2.0, 0)
    (never,) = summarise_scalars(run(tmp_path / "nan", {"loss": math.nan}))
    assert never.best is None
