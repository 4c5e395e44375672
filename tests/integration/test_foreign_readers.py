"""Our files as other programs read them: every snippet of docs/reading-the-files.md, and more."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.markdown import code_blocks
from torch import nn

from delve import SaturationTracker
from delve.testing import journal_rows

PAGE = Path(__file__).parents[2] / "docs" / "reading-the-files.md"
PACKAGES = ("npyjs@1.2.0", "numpy-parser@1.2.3", "d3-dsv@3.0.2", "papaparse@5.7.1")
LATE = 120  # behind what polars looks at by default
LAST = 139
SATURATION = "train-saturation/0"

duckdb = pytest.importorskip("duckdb")
pl = pytest.importorskip("polars")
pd = pytest.importorskip("pandas")
pytest.importorskip("delve_csv")
pytest.importorskip("delve_npy")


def record_run(folder, epochs, first=0, scalars=lambda epoch: {"loss": 1 / (epoch + 3)}):
    torch.manual_seed(first)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    options = {"stats": ["lsat", "cov"], "initial_epoch": first}
    with SaturationTracker(folder, ["csv", "npy"], model, **options) as tracker:
        for epoch in epochs:
            model(torch.randn(40, 6))
            for name, value in scalars(epoch).items():
                tracker.add_scalar(name, value)
            tracker.add_saturations()


def awkward(epoch):
    """What readers stumble over: not finite, rare, late, and never finite."""
    row = {"loss": math.nan if epoch == 2 else 0.1 * 3**epoch / 3**epoch + epoch / 7}
    if epoch in (0, 5):
        row["only infinite"] = -math.inf if epoch else math.inf
    if epoch >= LATE:
        row["late"] = epoch / 7
    return row


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs; the first went back, and ends before what it recorded then."""
    root = tmp_path_factory.mktemp("readers")
    record_run(root / "runs/a", range(150), scalars=lambda epoch: {"loss": -1.0, "void": 1.0})
    record_run(root / "runs/a", range(2, 150), 2, awkward)
    record_run(root / "runs/a", range(LAST, LAST + 1), LAST, awkward)
    record_run(root / "runs/b", range(3))
    return root


@pytest.fixture(scope="module")
def truth(runs):
    rows = journal_rows(runs / "runs/a")
    assert list(rows) == list(range(LAST + 1))
    assert math.isnan(rows[2]["loss"])
    return rows


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    """A folder in which Node finds the readers."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not installed")
    folder = tmp_path_factory.mktemp("node")
    try:
        done = subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "--silent", *PACKAGES],
            cwd=folder,
            capture_output=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip("npm takes more than two minutes to install the readers")
    if done.returncode:
        pytest.skip(f"npm cannot install the readers: {done.stderr.decode()[:200]}")
    return folder


def blocks(language):
    return [
        pytest.param(block, id=f"{number} {block.heading}")
        for number, block in enumerate(code_blocks(PAGE))
        if block.language == language
    ]


def check(held, truth, names=None):
    """Compare a reader's rows, where None is no value, with what was recorded, to the last bit."""
    assert list(held) == list(truth)
    for epoch, row in truth.items():
        for name in names or set().union(*truth.values()):
            value = held[epoch].get(name)
            assert same(value, row.get(name)), (epoch, name, value, row.get(name))


def same(value, recorded):
    if recorded is None or math.isnan(recorded):
        return value is None or math.isnan(value)
    return value == recorded


def rows_of(result):
    """By epoch, of whatever a snippet ends in."""
    if isinstance(result, dict):
        return result
    if isinstance(result, pd.DataFrame):
        return dict(zip(result.index.tolist(), result.to_dict("records"), strict=True))
    if isinstance(result, pl.DataFrame):
        rows = result.to_dicts()
    else:
        rows = [dict(zip(result.columns, row, strict=True)) for row in result.fetchall()]
    return {row.pop("epoch"): row for row in rows}


@pytest.mark.parametrize("block", blocks("python"))
def test_python_snippets_read_what_was_recorded(runs, truth, block, monkeypatch):
    monkeypatch.chdir(runs)
    names: dict[str, Any] = {}
    exec(compile(block.code, block.heading, "exec"), names)
    if "tables" in names:
        rows = [
            dict(zip(names["tables"].columns, row, strict=True))
            for row in names["tables"].fetchall()
        ]
        for run in ("a", "b"):
            held = {
                row["epoch"]: row for row in rows if row["filename"] == f"runs/{run}/metrics.csv"
            }
            check(held, journal_rows(runs / "runs" / run))
    elif "covariance" in names:
        assert names["covariance"].shape == (8, 8)
        assert np.array_equal(names["covariance"], names["covariance"].T)
    elif "damaged" in names:
        assert len(names["checksums"]) == 2 * (LAST + 1)
        assert names["damaged"] == []
    elif "saturation" in block.code:
        recorded = {
            epoch: {"loss": row["loss"], "saturation": row[SATURATION]}
            for epoch, row in truth.items()
        }
        check(rows_of(names["table"]), recorded)
    else:
        check(rows_of(names.get("table", names.get("epochs"))), truth)


def run_in_node(modules, folder, code):
    script = modules / "script.mjs"
    script.write_text(code)
    done = subprocess.run(["node", script], cwd=folder, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return json.loads(done.stdout)


AS_JSON = """
const isWild = (value) => typeof value === "number" && !Number.isFinite(value);
const spelt = (_, value) => (isWild(value) ? `${value}` : value);
"""


@pytest.mark.parametrize("block", blocks("js"))
def test_javascript_snippets_read_what_was_recorded(runs, truth, block, modules):
    if "covariance" in block.code:
        shown = "console.log(JSON.stringify([covariance.shape, [...covariance.data]]));"
        shape, values = run_in_node(modules, runs, block.code + shown)
        stored = np.load(runs / "runs/a/npy/train-covariance-matrix/0/epoch00003.npy")
        assert shape == list(stored.shape)
        assert values == stored.ravel().tolist()
        return
    shown = AS_JSON + "console.log(JSON.stringify(table, spelt));"
    held = {}
    for row in run_in_node(modules, runs, block.code + shown):
        assert all(
            type(value) in (int, float) or value in (None, "NaN", "Infinity", "-Infinity")
            for value in row.values()
        )
        held[row.pop("epoch")] = {
            name: None if value is None else float(value) for name, value in row.items()
        }
    check(held, truth)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_readers_that_read_to_the_end_of_an_array_get_the_array(tmp_path, modules, dtype):
    model = nn.Linear(4, 5)
    options = {"stats": ["cov"], "writer_args": {"dtype": dtype}}
    with SaturationTracker(tmp_path, "npy", model, **options) as tracker:
        model(torch.randn(30, 4))
        tracker.add_saturations()
    (path,) = tmp_path.rglob("epoch00000.npy")
    code = f"""
        import {{ load }} from "npyjs";
        import {{ fromArrayBuffer }} from "numpy-parser";
        import {{ readFileSync }} from "node:fs";
        const file = readFileSync({json.dumps(str(path))});
        const content = file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength);
        const [one, other] = [await load(content), fromArrayBuffer(content)];
        console.log(JSON.stringify([one, other].map((a) => [a.shape, [...a.data]])));
    """
    stored = np.load(path)
    assert stored.dtype == dtype
    for shape, values in run_in_node(modules, tmp_path, code):
        assert shape == [5, 5]
        assert values == stored.ravel().tolist()


def test_names_that_differ_in_case_stay_apart_in_duckdb_as_maps(tmp_path):
    record_run(tmp_path, range(3), scalars=lambda epoch: {"loss": epoch / 7, "Loss": -epoch / 7})
    rows = duckdb.sql(f"""
        select scalars['loss'], scalars['Loss']
        from read_json('{tmp_path}/journal.jsonl', format = 'newline_delimited', columns = {{
            type: 'VARCHAR', epoch: 'BIGINT', scalars: 'MAP(VARCHAR, DOUBLE)'}})
        where type = 'epoch' order by epoch
    """).fetchall()
    assert rows == [(epoch / 7, -epoch / 7) for epoch in range(3)]
    table = duckdb.sql(f"from '{tmp_path}/metrics.csv'")
    assert table.columns[:3] == ["epoch", "loss", "Loss_1"]
    assert [row[1:3] for row in table.fetchall()] == rows


def test_a_run_that_has_just_begun_is_no_row_among_others(tmp_path):
    record_run(tmp_path / "runs/a", range(3))
    SaturationTracker(tmp_path / "runs/b", "csv", nn.Linear(2, 2)).close()
    rows = duckdb.sql(f"from '{tmp_path}/runs/*/metrics.csv' order by epoch")
    assert [row[0] for row in rows.fetchall()] == [0, 1, 2]
    assert pl.read_csv(f"{tmp_path}/runs/*/metrics.csv")["epoch"].to_list() == [0, 1, 2]


def test_not_a_number_is_a_number_to_polars_and_duckdb(tmp_path):
    scalars = lambda epoch: {"nan": math.nan, "some": math.nan if epoch else 0.5}  # noqa: E731
    record_run(tmp_path, range(3), scalars=scalars)
    path = tmp_path / "metrics.csv"
    assert pl.read_csv(path).schema["nan"] == pl.read_csv(path).schema["some"] == pl.Float64
    types = dict(
        zip(duckdb.sql(f"from '{path}'").columns, duckdb.sql(f"from '{path}'").types, strict=True)
    )
    assert str(types["nan"]) == str(types["some"]) == "DOUBLE"
