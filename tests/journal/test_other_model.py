"""A run that goes on with another model says so, and nothing is compared across that."""

import math

import torch
from torch import nn

from delve import SaturationTracker
from delve.cli.choice import Choice
from delve.cli.report import layer_table
from delve.journal.stored_run import read_run


def record(folder, model, epochs, first):
    with SaturationTracker(folder, "print", model, initial_epoch=first) as tracker:
        for _ in range(epochs):
            model(torch.rand(90, 3))
            tracker.add_saturations()


def said(caplog):
    return [r.getMessage() for r in caplog.records if "another one" in r.getMessage()]


def test_other_features_and_new_layers_are_said_once(tmp_path, caplog):
    record(tmp_path, nn.Sequential(nn.Linear(3, 16)), 2, 0)
    record(tmp_path, nn.Sequential(nn.Linear(3, 32), nn.Linear(32, 4)), 2, 2)
    assert said(caplog) == [
        f"{tmp_path}: from epoch 2 on the model is another one than before: 0 has 32 features and "
        "had 16, 1 is new; its numbers are not to be compared with the earlier ones"
    ]
    run = read_run(tmp_path)
    tables = [layer_table(run, Choice("saturation"), epoch).cells["train"]["0"] for epoch in (1, 2)]
    assert math.isnan(tables[0].change)
    assert tables[1].change == 0, "counted from the first epoch of the model that it is now"


def test_the_same_model_and_a_layer_that_is_called_late_say_nothing(tmp_path, caplog):
    class Late(nn.Module):
        def __init__(self):
            super().__init__()
            self.always, self.late, self.is_late = nn.Linear(3, 5), nn.Linear(5, 2), False

        def forward(self, x):
            x = self.always(x)
            return self.late(x) if self.is_late else x

    model = Late()
    record(tmp_path, model, 1, 0)
    model.is_late = True
    record(tmp_path, model, 1, 1)
    assert said(caplog) == []
