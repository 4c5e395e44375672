"""Each hook is documented where authors look, its examples run, and a tracker calls it in full."""

import ast
import functools
import inspect
import json
import re
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from support.markdown import code_blocks
from torch import nn

from delve import HeldEpoch, Metric, RunInfo, SaturationTracker
from delve.delivery.checked_writer import check_writer
from delve.hookspecs import HOOKS, WriterSpec, hookspec
from delve.testing import Recording, sample_rows
from delve.writers import PrintWriter

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "delve_plugins" / "README.md"
EXAMPLE = ROOT / "examples" / "custom_writer"

SAMPLES = 40


def offered(hook):
    """The arguments that a hook offers, in order."""
    return list(inspect.signature(getattr(WriterSpec, hook)).parameters)[1:]


def docstring_example(hook):
    """The method in a hook's docstring."""
    _, _, example = inspect.getdoc(getattr(WriterSpec, hook)).partition("Example::\n")
    return textwrap.dedent(example)


def page_examples():
    """The page's Python blocks that are no files of the tutorial: heading and code."""
    blocks = [b for b in code_blocks(PAGE) if b.language == "python" and b.file is None]
    return [pytest.param(block.heading, block.code, id=block.heading) for block in blocks]


def classes_of(code, **names):
    namespace = dict(names)
    exec(code, namespace)
    return [value for name, value in namespace.items() if isinstance(value, type)]


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))


@pytest.mark.parametrize("hook", HOOKS)
def test_each_hook_has_a_docstring_with_an_example(hook):
    (method,) = ast.parse(docstring_example(hook)).body
    assert method.name == hook
    names = [argument.arg for argument in method.args.args]
    assert names[0] == "self"
    assert set(names[1:]) <= set(offered(hook))


def test_the_docstrings_examples_make_a_writer_that_works(tmp_path, model):
    methods = "\n".join(map(docstring_example, HOOKS))
    imports = "import json\nimport numpy as np\nimport delve"
    code = f"{imports}\nclass Example:\n{textwrap.indent(methods, '    ')}"
    example = classes_of(code)[0]
    example.row, example.folder = {}, tmp_path
    with SaturationTracker(tmp_path, example(), model, on_writer_error="raise") as tracker:
        for epoch in range(3):
            model(torch.randn(SAMPLES, 6))
            tracker.add_scalar("accuracy", epoch / 7)
            tracker.add_saturations()
    rows = [json.loads(line) for line in (tmp_path / "metrics.txt").read_text().splitlines()]
    assert [(row["epoch"], row["accuracy"]) for row in rows] == [(0, 0), (1, 1 / 7), (2, 2 / 7)]
    assert all("train-saturation/2" in row for row in rows)

    held = example().held_epochs(RunInfo(tmp_path, run_id="a", created=0))
    assert [(one.epoch, one.values["accuracy"]) for one in held] == [(0, 0), (1, 1 / 7), (2, 2 / 7)]

    example().add_array(Metric("train", "spectrum", "2"), np.arange(3.0), 1)
    assert np.load(tmp_path / "spectrum-00001.npy").tolist() == [0, 1, 2]

    resumed = example()
    resumed.read_back = lambda: rows
    assert resumed.resume_from_saved_state(2) == 2
    assert resumed.rows == rows[:2]


def test_the_page_documents_each_hook_with_all_its_arguments():
    headings = re.findall(r"^### `(\w+)\((.*)\)`$", PAGE.read_text(), re.MULTILINE)
    assert headings == [(hook, ", ".join(offered(hook))) for hook in HOOKS]


@pytest.mark.parametrize("hook", HOOKS)
def test_the_pages_example_of_a_hook_implements_it(hook):
    examples = [param.values for param in page_examples()]
    (code,) = [code for heading, code in examples if heading.startswith(f"`{hook}(")]
    assert [hook in vars(one) for one in classes_of(code)] == [True]


@pytest.mark.parametrize(("heading", "code"), page_examples())
def test_each_example_of_the_page_runs(heading, code, model, tmp_path, monkeypatch, caplog, capsys):
    monkeypatch.chdir(tmp_path)
    if heading == "Write a writer":
        namespace = {"model": model}
        exec(code, namespace)
        model(torch.randn(SAMPLES, 6))
        namespace["tracker"].add_saturations()
        namespace["tracker"].close()
        assert re.search(r"epoch 0: [02] has the highest saturation", capsys.readouterr().out)
    elif heading == "A command of your own":
        with SaturationTracker(tmp_path, PrintWriter(), model) as tracker:
            tracker.save()
        exec(code, namespace := {})
        result = CliRunner().invoke(namespace["layers"], [str(tmp_path)])
        assert (result.exit_code, result.output) == (0, "2 layers\n")
        capsys.readouterr()
    else:
        (writer_class,) = classes_of(code)
        called = spy_on(writer_class, hook := heading.strip("`").partition("(")[0])
        if hook == "held_epochs":
            check_example_of_reading_back(writer_class, tmp_path)
        runs = [{"initial_epoch": first} for first in (0, 2)]
        for run in runs:
            recording = Recording(writer_class(), tmp_path, "the example works", **run)
            recording.open()
            recording.save(*sample_rows(range(run["initial_epoch"], 4), arrays=True))
            recording.close()
        assert called, f"{hook} was never called"
    assert not caplog.messages


def check_example_of_reading_back(writer_class, folder):
    """It reads what another example of the page has written."""
    lines = ({"epoch": epoch, "loss": epoch / 7} for epoch in range(3))
    (folder / "lines.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    writer = check_writer("example", writer_class())
    held = writer.hook.held_epochs(run=RunInfo(folder, run_id="a", created=0))
    assert list(held) == [HeldEpoch(epoch, {"loss": epoch / 7}) for epoch in range(3)]


def spy_on(writer_class, hook):
    """Notes the calls of a writer's method from now on."""
    calls = []
    method = getattr(writer_class, hook)

    @functools.wraps(method)
    def spy(*arguments):
        calls.append(arguments)
        return method(*arguments)

    setattr(writer_class, hook, spy)
    return calls


@pytest.mark.parametrize("page", [PAGE, EXAMPLE / "README.md"], ids=["ours", "example"])
def test_the_pages_install_nothing_by_a_bare_name(page):
    commands = [
        line.partition("#")[0].partition("pip install ")[2]
        for block in code_blocks(page)
        if block.language == "sh"
        for line in block.code.splitlines()
        if "pip install " in line
    ]
    assert commands
    for argument in " ".join(commands).split():
        assert re.match(r'-|"?(\.|git\+)', argument), argument


class OfToday:
    def __init__(self):
        self.epochs = []

    def save(self, epoch):
        self.epochs.append(epoch)


def test_a_writer_of_today_works_where_arguments_and_hooks_are_added(monkeypatch, caplog):
    class Later(WriterSpec):
        @hookspec
        def save(self, epoch, timestamp, run, duration):
            pass

        @hookspec
        def add_text(self, name, value):
            pass

    monkeypatch.setattr("delve.delivery.checked_writer.WriterSpec", Later)
    writer = check_writer("of today", OfToday())
    writer.hook.save(epoch=3, timestamp=0, run=None, duration=0.5)
    writer.hook.add_text(name="note", value="no writer takes it")
    assert vars(writer.writer)["epochs"] == [3]
    assert not caplog.messages


def test_what_is_to_go_warns_at_the_writers_own_line(monkeypatch):
    class Later(WriterSpec):
        @hookspec(warn_on_impl_args={"epoch": DeprecationWarning("save: epoch goes in 2.0")})
        def save(self, epoch, timestamp, run):
            pass

    monkeypatch.setattr("delve.delivery.checked_writer.WriterSpec", Later)
    with pytest.warns(DeprecationWarning, match=r"epoch goes in 2\.0") as warned:
        check_writer("of today", OfToday())
    line = inspect.getsourcelines(OfToday.save)[1]
    assert [(one.filename, one.lineno) for one in warned] == [(__file__, line)]


class TakesEverything:
    """Implements each hook with all that it offers, and keeps what it gets."""

    def __init__(self):
        self.calls = []

    def note(self, hook, arguments):
        self.calls.append((hook, {name: arguments[name] for name in offered(hook)}))

    def start(self, run):
        self.note("start", locals())
        run.remember(place="here")

    def resume_from_saved_state(self, initial_epoch, run):
        self.note("resume_from_saved_state", locals())
        return run.first_lacking({0})

    def add_scalar(self, name, value, epoch, timestamp, run):
        self.note("add_scalar", locals())

    def add_scalars(self, prefix, value_dict, global_step, timestamp, run, sample_value_dict, step):
        self.note("add_scalars", locals())

    def add_array(self, name, value, epoch, timestamp, run, step):
        self.note("add_array", locals())

    def save(self, epoch, timestamp, run, step):
        self.note("save", locals())

    def close(self, error, run):
        self.note("close", locals())

    def held_epochs(self, run):
        self.note("held_epochs", locals())
        return []

    def of(self, hook):
        """The arguments of each call of a hook."""
        return [arguments for name, arguments in self.calls if name == hook]


def record(folder, model, epochs, **options):
    """What a writer gets of a real run."""
    writer = TakesEverything()
    options = {"config": {"lr": 0.1}, "nosave": True, "on_writer_error": "raise"} | options
    with SaturationTracker(folder, writer, model, **options) as tracker:
        for epoch in epochs:
            model(torch.randn(SAMPLES, 6))
            tracker.add_scalar("accuracy", epoch / 7)
            tracker.add_saturations()
    return writer


def test_one_writer_takes_every_argument_of_every_hook():
    writer = check_writer("everything", TakesEverything())
    assert {hook: writer.arguments(hook) for hook in HOOKS} == {
        hook: set(offered(hook)) for hook in HOOKS
    }


def test_a_run_calls_the_hooks_with_all_that_they_offer(tmp_path, model):
    begun = time.time_ns() // 1_000_000
    writer = record(tmp_path, model, range(2))
    epoch = ["add_scalar", "add_scalars", "save"]
    assert [hook for hook, _ in writer.calls] == ["start", *epoch, *epoch, "close"]

    journal = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    run = writer.of("start")[0]["run"]
    assert isinstance(run, RunInfo)
    assert (run.savefile, run.run_id, run.created) == (
        tmp_path,
        journal[0]["run_id"],
        journal[0]["created"],
    )
    assert (run.layers, run.config, run.initial_epoch) == (("0", "2"), {"lr": 0.1}, 0)
    assert (run.images, run.epochs, run.state) == (False, (), {"place": "here"})
    assert all(arguments["run"].run_id == run.run_id for _, arguments in writer.calls)

    lines = [entry for entry in journal if entry["type"] == "epoch"]
    for line, scalar, scalars, save in zip(
        lines, *map(writer.of, ("add_scalar", "add_scalars", "save")), strict=True
    ):
        assert {scalar["name"]: scalar["value"]} == line["scalars"]
        assert begun <= scalar["timestamp"] <= line["time"]
        assert scalars["prefix"] == ""
        assert scalars["value_dict"] == line["metrics"]
        assert all(type(key) is Metric for key in scalars["value_dict"])
        assert {(metric.mode, metric.stat, metric.layer) for metric in scalars["value_dict"]} == {
            ("train", "saturation", "0"),
            ("train", "saturation", "2"),
        }
        assert scalar["epoch"] == scalars["global_step"] == save["epoch"] == line["epoch"]
        assert scalars["timestamp"] == save["timestamp"] == line["time"]
    assert writer.of("close")[0]["error"] is None


def test_a_resumed_run_tells_what_it_knows_and_feeds_what_lacks(tmp_path, model):
    record(tmp_path, model, range(3))
    writer = record(tmp_path, model, range(2, 3), initial_epoch=2, config=None)
    (resumed,) = writer.of("resume_from_saved_state")
    assert resumed["initial_epoch"] == 2
    run = resumed["run"]
    assert (run.initial_epoch, run.epochs, run.state) == (2, (0, 1), {"place": "here"})
    assert (run.config, run.layers) == ({"lr": 0.1}, ("0", "2"))
    assert run.metrics == ("accuracy", "train-saturation/0", "train-saturation/2")
    lines = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    times = {line["epoch"]: line["time"] for line in lines if line["type"] == "epoch"}
    saved = [(arguments["epoch"], arguments["timestamp"]) for arguments in writer.of("save")]
    assert saved == [(1, times[1]), (2, times[2])]


def test_close_is_given_the_error_that_ended_the_run(tmp_path, model):
    writer, error = TakesEverything(), RuntimeError("out of memory")
    with pytest.raises(RuntimeError), SaturationTracker(tmp_path, writer, model):
        raise error
    assert [arguments["error"] for arguments in writer.of("close")] == [error]


def test_a_run_gives_the_arrays_of_each_epoch(tmp_path, model):
    writer = record(tmp_path, model, range(2), stats=["cov", "spectrum", "embed"])
    arrays = writer.of("add_array")
    shapes = {(one["epoch"], *vars_of(one["name"])): one["value"].shape for one in arrays}
    expected: dict[tuple[int, str, str, str], tuple[int, ...]] = {}
    for epoch in range(2):
        for layer, features in (("0", 4), ("2", 3)):
            expected[epoch, "train", "covariance-matrix", layer] = (features, features)
            expected[epoch, "train", "spectrum", layer] = (features,)
            expected[epoch, "train", "embedded-sample", layer] = (SAMPLES, 2)
    assert shapes == expected
    assert not any(one["value"].flags.writeable for one in arrays)
    times = [arguments["timestamp"] for arguments in writer.of("save")]
    assert sorted({one["timestamp"] for one in arrays}) == times
    assert {one["run"].run_id for one in arrays} == {writer.of("start")[0]["run"].run_id}


def test_the_embedded_samples_come_beside_the_layer_metrics(tmp_path, model):
    writer = record(tmp_path, model, range(2), stats=["lsat", "embed"])
    arrays = writer.of("add_array")
    embedded = {one["name"]: one["value"] for one in arrays if one["epoch"] == 1}
    samples = writer.of("add_scalars")[1]["sample_value_dict"]
    assert {name.stat for name in samples} == {"embedded-sample"}
    assert all(np.array_equal(value, embedded[name]) for name, value in samples.items())


def vars_of(metric):
    return metric.mode, metric.stat, metric.layer
