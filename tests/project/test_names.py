"""Names that users and authors of plugins were told about, each at the path that they know."""

import importlib
import subprocess
import sys

import pytest

TOLD = {
    # README.md and the examples
    "delve": "SaturationTracker CheckLayerSat TorchCovarianceMatrix DelveError Metric RunInfo "
    "HeldEpoch hookimpl __version__",
    "delve.pca_layers": "LinearPCALayer Conv2DPCALayer change_all_pca_layer_thresholds rvs "
    "change_all_pca_layer_thresholds_and_inject_random_directions",
    # delve_plugins/README.md
    "delve.errors": "BackendLostError RejectedError WriterConfigurationError DelveError",
    "delve.files": "file_name replacing read_array",
    "delve.hookspecs": "WriterSpec hookimpl",
    "delve.testing": "WriterContract Recording Fault sample_rows",
    # CHANGELOG.md and the pages of the plugins
    "delve.activations": "samples",
    "delve.array_file": "read_array",
    "delve.capture": "samples",
    "delve_plot": "plot_stat plot_stat_level_from_results plot_scatter_from_results "
    "extract_layer_stat PlotWriter CSVandPlottingWriter",
    "delve_plot.figures": "saturation_figure",
    # delve 0.1
    "delve.metrics": "compute_saturation compute_intrinsic_dimensionality compute_cov_determinant "
    "compute_cov_trace compute_diag_trace Stat",
    "delve.tools": "reconstruct_csv_from_npy_data",
    "delve.torch_utils": "TorchCovarianceMatrix",
    "delve.torchcallback": "SaturationTracker CheckLayerSat",
    "delve.tracker": "SaturationTracker",
    "delve.writers": "AbstractWriter CompositWriter PrintWriter CSVWriter NPYWriter MLflowWriter "
    "TensorBoardWriter WandbWriter PlotWriter CSVandPlottingWriter extract_layer_stat plot_stat",
}


@pytest.mark.parametrize("module", TOLD)
def test_what_was_told_is_there(module):
    if module.startswith("delve_"):
        pytest.importorskip(module)
    elif module == "delve.writers":
        pytest.importorskip("delve_plot")
    found = importlib.import_module(module)
    assert [name for name in TOLD[module].split() if not hasattr(found, name)] == []


def test_an_old_path_is_found_first_thing():
    program = (
        "from delve.torch_utils import TorchCovarianceMatrix; import delve.metrics as m; m.Stat"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_name_by_an_old_path_is_the_same_object():
    from delve import capture, files, torchcallback, tracker
    from delve.old_paths import activations, array_file

    assert torchcallback.SaturationTracker is tracker.SaturationTracker
    assert activations.samples is capture.samples
    assert array_file.read_array is files.read_array
