"""Trackers in a real kernel: cells that are run again, errors in them, and what they show."""

import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

SETUP = """
import torch
from torch import nn
import delve
from delve import SaturationTracker
model = nn.Sequential(nn.Linear(3, 2))
"""
MAKE = """
tracker = SaturationTracker("run", "print", model, initial_epoch={first!r})
for epoch in range({epochs}):
    model(torch.rand(20, 3))
    tracker.add_saturations()
"""
LOOK = """
print([(one.name, len(one.epochs)) for one in delve.load_all("run")], len(model[0]._forward_hooks))
"""


@pytest.fixture
def run(tmp_path):
    """Run cells one after the other in one kernel; an error in one does not keep the others."""

    def run(*cells):
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        client = nbclient.NotebookClient(
            book,
            timeout=300,
            kernel_name="python3",
            allow_errors=True,
            resources={"metadata": {"path": str(tmp_path)}},
        )
        client.execute()
        return [cell.outputs for cell in book.cells]

    return run


def text_of(outputs, stream="stdout"):
    return "".join(o.text for o in outputs if o.output_type == "stream" and o.name == stream)


def errors_of(outputs):
    return [o.ename for o in outputs if o.output_type == "error"]


def test_to_import_it_says_nothing(run):
    (outputs,) = run(SETUP)
    assert outputs == []


def test_a_cell_that_is_run_again_ends_the_earlier_tracker(run):
    cell = MAKE.format(first=0, epochs=2)
    *_, first, second, edited, look = run(
        SETUP, cell, cell, "# edited" + MAKE.format(first="auto", epochs=1), LOOK
    )
    assert errors_of(first) + errors_of(second) + errors_of(edited) == []
    assert "the tracker made by an earlier cell ends here, at epoch 2" in text_of(second, "stderr")
    assert text_of(look) == "[('run', 3), ('run/earlier/1', 2)] 1\n".replace(
        "run/earlier", "earlier"
    )


def test_also_after_an_error_in_the_cell(run):
    cell = MAKE.format(first=0, epochs=2)
    bad = f"{cell}\ntracker.add_scalar('loss', 1.0)\nraise ValueError('oh')"
    *_, failed, again, look, status = run(
        SETUP, bad, cell, LOOK, "print(delve.load('run/earlier/1').status)"
    )
    assert errors_of(failed) == ["ValueError"]
    assert errors_of(again) == []
    assert text_of(look) == "[('run', 2), ('earlier/1', 2)] 1\n"
    assert text_of(status) == "failed\n"


def test_two_in_one_cell_stay_a_mistake(run):
    cell = MAKE.format(first=0, epochs=1)
    _, outputs = run(SETUP, f"{cell}\nother = SaturationTracker('run', 'print', model)")
    assert errors_of(outputs) == ["RunFolderInUseError"]


def test_one_output_follows_the_epochs(run):
    shown = (
        "tracker = SaturationTracker('run', 'print', model)\ntracker.display()\n"
        "for epoch in range(3):\n    model(torch.rand(20, 3))\n    tracker.add_saturations()"
    )
    _, outputs, tracker, loaded = run(SETUP, shown, "tracker", "delve.load('run')")
    pages = [o.data["text/html"] for o in outputs if o.output_type == "display_data"]
    assert len(pages) == 1, "one output, not one for each epoch"
    assert "run: after epoch 2" in pages[0]
    for cell in (tracker, loaded):
        assert "train saturation" in cell[0].data["text/html"]
    assert "run: running, 3 epochs" in loaded[0].data["text/html"]


def test_its_output_tells_of_the_end(run):
    shown = (
        "tracker = SaturationTracker('run', 'print', model)\ntracker.display()\n"
        "model(torch.rand(20, 3))\ntracker.add_saturations()\ntracker.close()"
    )
    _, outputs = run(SETUP, shown)
    (page,) = [o.data["text/html"] for o in outputs if o.output_type == "display_data"]
    assert "run: closed, after epoch 0" in page
    assert text_of(outputs, "stderr") == ""


def test_a_figure_that_ends_a_cell_is_shown(run):
    pytest.importorskip("delve_plot")
    one, many = "delve.load('run').plot()", "delve.load_all('run').plot()"
    setup = SETUP + MAKE.format(first=0, epochs=1)
    _, *drawn, _, again = run(setup, one, many, "import matplotlib.pyplot", one)
    for outputs in (*drawn, again):
        assert [set(o.data) for o in outputs] == [{"image/png", "text/plain"}]
