"""What delve 0.1 documents keeps working, and gives right numbers."""

import ast
import inspect
import io
import re
import subprocess
import sys
from contextlib import redirect_stdout

import numpy as np
import pytest
import torch
from support.models import reference_saturation
from support.writers import Recorder
from torch import nn

import delve
from delve import writers
from delve.base.our_plugins import OUR_PLUGINS
from delve.errors import WriterNotFoundError

# Every public signature that delve 0.1 documents, so that none is lost by accident.
SIGNATURES = {
    "delve.SaturationTracker": "savefile save_to modules layer_filter writer_args log_interval=1 "
    "max_samples=None stats=('lsat',) layerwise_sat=True reset_covariance=True average_sat=False "
    "ignore_layer_names=() include_conv=True conv_method='channelwise' "
    "timeseries_method='last_timestep' sat_threshold=0.99 nosave=False verbose=False device=None "
    "initial_epoch=0 interpolation_strategy=None interpolation_downsampling=32",
    "delve.SaturationTracker.add_saturations": "self save=True",
    "delve.SaturationTracker.add_scalar": "self name value",
    "delve.SaturationTracker.save": "self",
    "delve.SaturationTracker.close": "self error=None",
    "delve.SaturationTracker.is_recording": "self",
    "delve.SaturationTracker.stop": "self",
    "delve.SaturationTracker.resume": "self",
    "delve.SaturationTracker.saturation": "self",
    "delve.SaturationTracker.get_layers_recursive": "self modules",
    "delve.SaturationTracker.get_layer_from_submodule": "self submodule layers name_prefix=''",
    "delve.SaturationTracker.register_forward_hooks": "self layer stats=()",
    "delve.torchcallback.SaturationTracker": "savefile save_to modules",
    "delve.torchcallback.CheckLayerSat": "savefile",
    "delve.CheckLayerSat": "savefile",
    "delve.TorchCovarianceMatrix": "bias=False device=None save_data=False",
    "delve.torch_utils.TorchCovarianceMatrix.update": "self x vae=False",
    "delve.torch_utils.TorchCovarianceMatrix.fix": "self center=True",
    "delve.metrics.compute_intrinsic_dimensionality": "cov thresh=0.99",
    "delve.metrics.compute_saturation": "cov thresh=0.99",
    "delve.metrics.compute_cov_determinant": "cov",
    "delve.metrics.compute_cov_trace": "cov",
    "delve.metrics.compute_diag_trace": "cov",
    "delve.pca_layers.LinearPCALayer": "in_features threshold=0.99 keepdim=True verbose=False "
    "gradient_epoch_start=20 centering=True",
    "delve.pca_layers.Conv2DPCALayer": "in_filters threshold=0.99 verbose=True "
    "gradient_epoch_start=20 centering=False downsampling=None",
    "delve.pca_layers.change_all_pca_layer_thresholds": "threshold network verbose=False",
    "delve.pca_layers.change_all_pca_layer_thresholds_and_inject_random_directions": "threshold "
    "network verbose=False device='cpu' include_names=False",
    "delve.pca_layers.rvs": "dim=3",
    "delve.tools.reconstruct_csv_from_npy_data": "npywriter_out_path savefile=None thresh=None "
    "stats=('lsat', 'idim')",
    "delve.writers.AbstractWriter._check_savestate_ok": "self savepath",
    "delve.writers.AbstractWriter.resume_from_saved_state": "self initial_epoch",
    "delve.writers.AbstractWriter.add_scalar": "self name value **kwargs",
    "delve.writers.AbstractWriter.add_scalars": "self prefix value_dict **kwargs",
    "delve.writers.AbstractWriter.save": "self",
    "delve.writers.AbstractWriter.close": "self",
    "delve.writers.CompositWriter": "writers",
    "delve.writers.PrintWriter": "",
    "delve.writers.PrintWriter.resume_from_saved_state": "self initial_epoch",
    "delve.writers.PrintWriter.save": "self",
    "delve.writers.PrintWriter.close": "self",
}
IN_PLUGINS = {
    "CSVWriter": "savepath",
    "CSVWriter.close": "self",
    "NPYWriter": "savepath zip=False",
    "TensorBoardWriter": "savepath",
    "CSVandPlottingWriter": "savepath fontsize=16 primary_metric=None figsize=(10, 10) "
    "plot_manipulation_func",
    "CSVandPlottingWriter.add_sample_scalar": "self name value",
    "extract_layer_stat": "df epoch=19 primary_metric=None stat='saturation' state_mode='train'",
    "plot_stat": "df stat pm=-1 savepath='run.png' epoch=0 primary_metric=None fontsize=16 "
    "figsize=None line=True scatter=True ylim=(0, 1.0) alpha_line=0.6 alpha_scatter=1.0 "
    "color_line=None color_scatter=None primary_metric_loc=(0.7, 0.8) show_col_label_x=True "
    "show_col_label_y=True show_grid=True save=True samples=False stat_mode='train'",
    "plot_stat_level_from_results": "savepath epoch stat primary_metric=None fontsize=16 "
    "figsize=None line=True scatter=True ylim='auto' alpha_line=0.6 alpha_scatter=1.0 "
    "color_line=None color_scatter=None primary_metric_loc=(0.7, 0.8) show_col_label_x=True "
    "show_col_label_y=True show_grid=True save=True samples=False stat_mode='train'",
    "plot_scatter_from_results": "savepath epoch stat df",
}


def resolve(path):
    parts = path.split(".")
    found = delve
    for i, part in enumerate(parts[1:], 2):
        if inspect.ismodule(found):
            __import__(".".join(parts[: i - 1]))
            try:
                found = getattr(found, part)
            except AttributeError:
                found = __import__(".".join(parts[:i]), fromlist=["x"])
        else:
            found = getattr(found, part)
    return found


def assert_signature(found, expected):
    parameters = inspect.signature(found).parameters
    for position, text in enumerate(re.findall(r"\S+?=\(.*?\)|\S+", expected)):
        name, _, default = text.partition("=")
        parameter = list(parameters.values())[position]
        assert parameter.name == name.lstrip("*"), f"{text} is not at place {position}"
        if default:
            assert parameter.default == ast.literal_eval(default)


@pytest.mark.parametrize("path", SIGNATURES)
def test_every_documented_name_keeps_its_signature(path):
    assert_signature(resolve(path), SIGNATURES[path])


@pytest.mark.parametrize("name", IN_PLUGINS)
def test_every_documented_name_in_a_plugin_keeps_its_signature(name):
    pytest.importorskip("delve_plot")
    found = getattr(writers, name.split(".")[0])
    for part in name.split(".")[1:]:
        found = getattr(found, part)
    assert_signature(found, IN_PLUGINS[name])


def test_a_name_whose_plugin_is_missing_says_how_to_install_it():
    program = (
        "import sys; sys.modules['delve_csv'] = None\n"
        "import builtins, importlib\n"
        "from delve import writers\n"
        "try: writers.CSVWriter\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "WriterNotFoundError" in done.stdout, done.stderr
    assert "pip install ./delve_plugins/delve-csv" in done.stdout


def test_a_name_that_never_was_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'XMLWriter'"):
        getattr(writers, "XMLWriter")  # noqa: B009
    assert {"CSVWriter", "PrintWriter"} <= set(dir(writers))
    assert set(OUR_PLUGINS) >= {plugin for _, plugin in writers._ELSEWHERE.values()}
    assert issubclass(WriterNotFoundError, ValueError)


# --- the tracker under its first name ------------------------------------------------------------


def read_tensorboard(folder):
    pytest.importorskip("delve_tensorboard")
    from tensorboard_runs import read_points

    return {name: value for _, name, value in read_points(folder)}


def record_by_first_name(folder, *arguments):
    torch.manual_seed(0)
    layer = nn.Linear(4, 6)
    x = torch.randn(80, 4)
    with pytest.warns(DeprecationWarning, match="SaturationTracker\\("):
        tracker = delve.CheckLayerSat(str(folder), [layer], *arguments)
    with tracker:
        outputs = layer(x).detach().numpy()
        tracker.add_saturations()
    return outputs


def test_the_first_form_records_saturation_to_tensorboard(tmp_path):
    pytest.importorskip("delve_tensorboard")
    outputs = record_by_first_name(tmp_path)
    found = read_tensorboard(tmp_path)["train-saturation/Linear-0"]
    assert found == pytest.approx(reference_saturation(outputs))


def test_the_second_form_records_the_five_largest_eigenvalues(tmp_path):
    pytest.importorskip("delve_tensorboard")
    outputs = record_by_first_name(tmp_path, "spectrum")
    found = read_tensorboard(tmp_path)
    expected = np.linalg.eigvalsh(np.cov(outputs.T, bias=True))[::-1]
    for n in range(1, 6):
        value = found[f"train-spectrum-{n}/Linear-0"]
        assert value == pytest.approx(expected[n - 1], abs=1e-5)


def test_further_parameters_of_the_first_forms_are_given_by_name(tmp_path):
    writer, layer = Recorder(), nn.Linear(4, 6)
    with pytest.warns(DeprecationWarning, match="stats=\\['n'\\]\\)"):
        tracker = delve.CheckLayerSat(tmp_path, layer, "n", save_to=writer, log_interval=10)
    with tracker:
        for _ in range(11):
            layer(torch.randn(8, 4))
        tracker.add_saturations()
    assert writer.rows[0] == {"train-samples/Linear-0": 16}


@pytest.mark.parametrize(
    ("arguments", "named", "message"),
    [
        (("lsat", 10), {}, "takes nothing more without a name, but got 10; name each"),
        (("lsat",), {"stats": "idim"}, "multiple values for argument 'stats'"),
    ],
)
def test_a_parameter_of_the_first_forms_that_is_not_clear_is_refused(
    tmp_path, arguments, named, message
):
    with pytest.raises(TypeError, match=message):
        delve.CheckLayerSat(tmp_path / "run", nn.Linear(4, 6), *arguments, **named)
    assert not (tmp_path / "run").exists()


def test_todays_parameters_work_under_the_first_name(tmp_path):
    writer, layer = Recorder(), nn.Linear(4, 6)
    with pytest.warns(DeprecationWarning, match="called SaturationTracker now"):
        tracker = delve.CheckLayerSat(tmp_path, writer, layer, stats=["idim"])
    with tracker:
        layer(torch.randn(80, 4))
        tracker.add_saturations()
    assert set(writer.rows[0]) == {"train-intrinsic-dimensionality/Linear-0"}


# --- import paths of delve 0.1 --------------------------------------------------------------------


def test_the_tracker_of_torchcallback_records(tmp_path):
    from delve.torchcallback import CheckLayerSat, SaturationTracker  # type: ignore[import-not-found]

    assert issubclass(CheckLayerSat, SaturationTracker)
    writer, layer, x = Recorder(), nn.Linear(4, 6), torch.randn(80, 4)
    with SaturationTracker(tmp_path, writer, layer) as tracker:
        outputs = layer(x).detach().numpy()
        tracker.add_saturations()
    assert writer.rows[0] == {"train-saturation/Linear-0": reference_saturation(outputs)}


def test_the_covariance_of_torch_utils_is_numpys():
    from delve.torch_utils import TorchCovarianceMatrix  # type: ignore[import-not-found]

    covariance, x = TorchCovarianceMatrix(), torch.randn(80, 5)
    for batch in x.split(30):
        covariance.update(batch)
    expected = np.cov(x.double().numpy().T, bias=True)
    np.testing.assert_allclose(covariance.fix(), expected, rtol=1e-6, atol=1e-7)


# --- methods -------------------------------------------------------------------------------------


@pytest.fixture
def tracked(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module("linear1", nn.Linear(4, 10))
    model.add_module("linear2", nn.Linear(10, 3))
    writer = Recorder()
    with SaturationTracker(tmp_path, writer, model) as tracker:
        yield tracker, model, writer


SaturationTracker = delve.SaturationTracker


def shown(tracker):
    console = io.StringIO()
    with redirect_stdout(console):
        tracker.saturation()
    return console.getvalue().splitlines()


def test_saturation_draws_a_bar_for_each_layer(tracked):
    tracker, model, writer = tracked
    model(torch.randn(200, 4))
    before = shown(tracker)
    tracker.add_saturations()
    after = shown(tracker)
    value = 100 * writer.rows[0]["train-saturation/linear1"]
    assert before == after
    assert re.fullmatch(rf"linear1: +{value:.0f}%\|#+\d? *\| {value}/100", after[0])
    assert after[1].startswith("linear2:")
    assert all(len(line) <= 80 for line in after)


def test_verbose_shows_each_layers_saturation_each_epoch(tmp_path, capsys):
    model = nn.Linear(4, 10)
    with SaturationTracker(tmp_path, Recorder(), model, verbose=True) as tracker:
        model(torch.randn(200, 4))
        tracker.add_saturations()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "train, epoch 0"
    assert lines[1].startswith("Linear-0:")


def test_layers_are_found_by_the_documented_methods(tracked):
    tracker, model, _ = tracked
    assert tracker.get_layers_recursive(model) == {
        "linear1": model.linear1,
        "linear2": model.linear2,
    }
    found = tracker.get_layer_from_submodule(model.linear1, {}, "mine")
    assert found == {"mine": model.linear1}


def test_one_more_layer_can_be_hooked(tracked):
    tracker, model, writer = tracked
    extra = nn.Linear(3, 7)
    tracker.register_forward_hooks(extra, ["lsat"])
    outputs = extra(model(torch.randn(100, 4))).detach().numpy()
    tracker.add_saturations()
    assert writer.rows[0]["train-saturation/Linear-2"] == reference_saturation(outputs)


def test_a_subclass_closes_a_table_by_its_documented_method(tmp_path):
    pytest.importorskip("delve_csv")
    closed = []

    class Mine(writers.CSVWriter):
        def close(self):
            super().close()
            closed.append((tmp_path / "metrics.csv").read_text().splitlines()[1:])

    with SaturationTracker(tmp_path, Mine(str(tmp_path)), nn.Linear(4, 6)) as tracker:
        tracker.add_scalar("accuracy", 0.5)
        tracker.save()
    assert closed == [["0,0.5"]]


def test_a_composite_is_all_its_writers(tmp_path):
    first, second = Recorder(), Recorder()
    model = nn.Linear(4, 6)
    composite = writers.CompositWriter([first, second])
    with SaturationTracker(tmp_path, composite, model) as tracker:
        model(torch.randn(100, 4))
        tracker.add_scalar("accuracy", 0.5)
        tracker.add_saturations()
    assert first.rows == second.rows
    assert set(first.rows[0]) == {"accuracy", "train-saturation/Linear-0"}
    assert first.hooks == ["start", "add_scalar", "add_scalars", "save", "close"]


def test_a_composite_resumes_each_of_its_writers(tmp_path, caplog):
    class Old(Recorder):
        def resume_from_saved_state(self, initial_epoch):
            raise NotImplementedError

    class Lacking(Recorder):
        def resume_from_saved_state(self, initial_epoch, run):
            return 1

    def train(composite, initial_epoch):
        with SaturationTracker(
            tmp_path, composite, nn.Linear(4, 6), initial_epoch=initial_epoch
        ) as tracker:
            for epoch in range(initial_epoch, initial_epoch + 3):
                tracker.add_scalar("accuracy", epoch)
                tracker.save()

    train(writers.CompositWriter([Recorder(), Recorder()]), 0)
    old, holds_all, lacking = Old(), Recorder(), Lacking()
    train(writers.CompositWriter([old, holds_all, lacking]), 3)
    assert "writer 'Old' cannot resume" in caplog.text
    assert list(old.rows) == list(holds_all.rows) == [3, 4, 5]
    assert list(lacking.rows) == [1, 2, 3, 4, 5]


def test_a_composite_closes_the_writers_behind_one_that_fails(tmp_path, caplog):
    class Fails(Recorder):
        def close(self, error):
            raise RuntimeError("boom")

    last = Recorder()
    composite = writers.CompositWriter([Fails(), last])
    with SaturationTracker(tmp_path, composite, nn.Linear(4, 6)):
        pass
    assert last.hooks[-1] == "close"
    assert "boom" in caplog.text


def test_a_missing_state_is_named(tmp_path, caplog):
    class Mine(writers.AbstractWriter):
        def resume_from_saved_state(self, initial_epoch): ...
        def add_scalar(self, name, value, **kwargs): ...
        def add_scalars(self, prefix, value_dict, **kwargs): ...
        def save(self): ...
        def close(self): ...

    assert Mine()._check_savestate_ok(tmp_path)
    assert not Mine()._check_savestate_ok(tmp_path / "gone")
    assert "gone does not exist, so Mine has nothing to resume from" in caplog.text


def test_a_subclass_with_the_documented_signature_of_the_plotting_writer_works(tmp_path):
    pytest.importorskip("delve_plot")
    seen = []

    class Mine(writers.CSVandPlottingWriter):
        def add_scalars(self, prefix, value_dict, sample_value_dict, **kwargs):
            seen.append((len(value_dict), [value.shape for value in sample_value_dict.values()]))
            super().add_scalars(prefix, value_dict, sample_value_dict, **kwargs)

    model = nn.Linear(4, 6)
    writer = Mine(str(tmp_path), primary_metric="test_accuracy", dpi=40)
    with SaturationTracker(tmp_path, writer, model, stats=["lsat", "embed"]) as tracker:
        model(torch.randn(100, 4))
        tracker.add_scalar("test_accuracy", 0.9)
        tracker.add_saturations()
    assert seen == [(1, [(100, 2)])]
    assert "test_accuracy" in (tmp_path / "metrics.csv").read_text()
    drawn = {path.relative_to(tmp_path / "plots").parts[0] for path in tmp_path.rglob("*.png")}
    assert drawn == {"train-saturation", "train-embedded-sample"}
