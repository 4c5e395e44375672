"""The table rebuilt from a run's npy folder."""

import copy
import io
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from delve import SaturationTracker
from delve.errors import ArgumentError
from delve.tools import reconstruct_csv_from_npy_data

pd = pytest.importorskip("pandas")
pytest.importorskip("delve_npy")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A run's folder, and each layer's outputs of each epoch."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("run")
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    outputs = {}
    with SaturationTracker(
        folder, ["npy", "csv"], model, stats=["lsat", "idim", "cov", "srank"]
    ) as tracker:
        for epoch in range(3):
            x = torch.randn(200, 5) * torch.logspace(0, -epoch, 5)
            model(x)
            with torch.no_grad():
                outputs[epoch] = {"0": model[0](x).numpy(), "2": model(x).numpy()}
                # That second pass counted too: the same samples twice, the same covariance.
            if epoch:
                tracker.add_scalar("accuracy", epoch / 3)
            tracker.add_saturations()
    return folder, outputs


def test_without_a_threshold_it_is_the_recorded_table(recorded):
    folder, _ = recorded
    table = reconstruct_csv_from_npy_data(str(folder / "npy"))
    expected = pd.read_csv(folder / "metrics.csv").set_index("epoch")
    pd.testing.assert_frame_equal(table.sort_index(axis=1), expected.sort_index(axis=1))


@pytest.mark.parametrize("thresh", [0.5, 0.9, 1.0])
def test_a_threshold_recomputes_from_the_covariances(recorded, thresh):
    folder, outputs = recorded
    table = reconstruct_csv_from_npy_data(folder / "npy", thresh=thresh)
    for epoch, layers in outputs.items():
        for layer, rows in layers.items():
            values = np.linalg.eigvalsh(np.cov(rows.T.astype(float), bias=True))[::-1]
            explained = np.cumsum(np.clip(values, 0, None))
            k = 1 + int((explained < thresh * explained[-1] * (1 - 1e-9)).sum())
            assert table.loc[epoch, f"train-intrinsic-dimensionality/{layer}"] == pytest.approx(
                k, abs=1 if thresh == 1.0 else 0
            )
            assert table.loc[epoch, f"train-saturation/{layer}"] == pytest.approx(
                table.loc[epoch, f"train-intrinsic-dimensionality/{layer}"] / rows.shape[1]
            )
    assert "train-stable-rank/0" in table
    assert table["accuracy"].isna().tolist() == [True, False, False]


def test_stats_choose_and_are_not_changed(recorded):
    folder, _ = recorded
    stats = ["idim"]
    for thresh in (None, 0.9):
        table = reconstruct_csv_from_npy_data(folder / "npy", thresh=thresh, stats=stats)
        assert "train-intrinsic-dimensionality/0" in table
        assert "train-saturation/0" not in table
    assert stats == ["idim"]


def test_the_table_is_written_where_asked(recorded, tmp_path):
    folder, _ = recorded
    table = reconstruct_csv_from_npy_data(folder / "npy", savefile=tmp_path / "table.csv")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "table.csv").set_index("epoch"), table)


def test_mistakes_are_named(recorded, tmp_path):
    folder, _ = recorded
    with pytest.raises(ArgumentError, match="'sat' is not one of lsat, idim"):
        reconstruct_csv_from_npy_data(folder / "npy", stats=["sat"])
    with pytest.raises(ArgumentError, match="npy folder of a run"):
        reconstruct_csv_from_npy_data(tmp_path)


def refused(folder, match):
    tracemalloc.start()
    try:
        with pytest.raises(ArgumentError, match=match):
            reconstruct_csv_from_npy_data(folder)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100 << 20


def test_members_that_say_to_be_far_larger_than_their_file_are_not_read(tmp_path):
    header = encoded(np.zeros(25_000_000))[:128]
    with zipfile.ZipFile(tmp_path / "scalars.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("epoch.npy", "loss.npy"):
            with archive.open(name, "w") as member:
                member.write(header)
                for _ in range(200):
                    member.write(bytes(1_000_000))
    assert (tmp_path / "scalars.npz").stat().st_size < 1_000_000
    refused(tmp_path, "it is compressed")


def test_members_that_share_their_bytes_are_not_read(tmp_path):
    path = tmp_path / "scalars.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("epoch.npy", encoded(np.zeros(1_000_000)))
        (first,) = archive.infolist()
        for number in range(500):
            again = copy.copy(first)
            again.filename = again.orig_filename = f"{number}.npy"
            archive.filelist.append(again)
        vars(archive)["_didModify"] = True
    refused(tmp_path, "its parts overlap")


def test_an_array_that_says_to_be_larger_than_its_member_is_not_read(tmp_path):
    content = encoded(np.zeros(10)).replace(b"(10,), }", b"(1" + b"0" * 11 + b",), }")
    content = content.replace(b" " * 11 + b"\n", b"\n", 1)
    with zipfile.ZipFile(tmp_path / "scalars.npz", "w") as archive:
        archive.writestr("epoch.npy", content)
    refused(tmp_path, "cannot be read")


def test_a_link_to_somebody_elses_scalars_is_not_followed(recorded, tmp_path):
    (tmp_path / "scalars.npz").symlink_to(recorded[0] / "npy" / "scalars.npz")
    refused(tmp_path, "cannot be read")


def encoded(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()
