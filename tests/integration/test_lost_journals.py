"""Journals that are lost, empty, beheaded or cut off, beside backends that are whole.

Nothing is cut by initial_epoch="auto", a number keeps all below it, and ``delve repair`` brings the
journal back, so that the run goes on as if nothing had happened.
"""

import contextlib
import json
import shutil

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from support.seven_writers import read_points_of
from torch import nn

from delve import HeldEpoch, SaturationTracker
from delve.cli import main
from delve.delivery.repair import repair
from delve.errors import DelveError, JournalError
from delve.journal.reading import read_epochs
from delve.journal.stored_run import read_run
from delve.testing import journal_rows
from delve.testing.rows import differences

for plugin in ("delve_csv", "delve_npy", "delve_tensorboard"):
    pytest.importorskip(plugin)

LOCAL = ["csv", "npy", "tensorboard"]
EPOCHS = 6
HELD = f"hold epochs 0-{EPOCHS - 1}"


def record(folder, epochs, first=0, save_to=LOCAL, seed=0, **options):
    """Record so many epochs; returns the first."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
    options = {"stats": ["lsat", "cov"], "config": {"lr": 0.1}} | options
    with SaturationTracker(folder, save_to, model, initial_epoch=first, **options) as tracker:
        begun = tracker.epoch
        for epoch in range(begun, begun + epochs):
            torch.manual_seed(100 * seed + epoch)
            model.train()(torch.randn(32, 6))
            model.eval()(torch.randn(32, 6))
            tracker.add_scalar("loss", 1 / (epoch + 3 + seed))
            tracker.add_saturations()
    return begun


def journal_of(folder):
    return folder / "journal.jsonl"


def lines_of(folder):
    return journal_of(folder).read_bytes().splitlines(keepends=True)


def rewritten(change):
    def damage(folder):
        journal_of(folder).write_bytes(change(lines_of(folder)))

    return damage


def without_epochs(lines):
    return b"".join(line for line in lines if b'"type": "epoch"' not in line)


FORMS = {
    "missing": lambda folder: journal_of(folder).unlink(),
    "empty": rewritten(lambda lines: b""),
    "a newline": rewritten(lambda lines: b"\n"),
    "a part of the first line": rewritten(lambda lines: lines[0][:90]),
    "one byte": rewritten(lambda lines: b"{"),
    "a damaged header alone": rewritten(lambda lines: b"#" + lines[0][1:]),
    "a damaged header": rewritten(lambda lines: b"#" + b"".join(lines)[1:]),
    "no header": rewritten(lambda lines: b"".join(lines[1:])),
    "zeros": rewritten(lambda lines: bytes(sum(map(len, lines)))),
    "zeros at first": rewritten(lambda lines: bytes(512) + b"".join(lines)[512:]),
    "zeros behind the header": rewritten(lambda lines: lines[0] + bytes(4096)),
    "unfinished": lambda folder: journal_of(folder).rename(folder / ".journal.jsonl.tmp"),
    "a header alone": rewritten(lambda lines: lines[0]),
    "no epoch": rewritten(without_epochs),
}
# Where the journal itself still tells what the epochs were.
WITH_EPOCHS = ("a damaged header", "no header", "zeros at first")
# Where it still tells which run it is.
WITH_RUN_ID = (
    "a part of the first line",
    "a damaged header alone",
    "a damaged header",
    "a header alone",
    "zeros behind the header",
    "no epoch",
)
READABLE = ("a header alone", "zeros behind the header", "no epoch")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded") / "run"
    record(folder, EPOCHS)
    return folder


@pytest.fixture
def run(recorded, tmp_path):
    """A run in its own place: a copy of which the original is away."""
    folder = shutil.copytree(recorded, tmp_path / "run")
    text = journal_of(folder).read_text().replace(str(recorded), str(folder))
    text = text.replace(f'"inode": {recorded.stat().st_ino}', f'"inode": {folder.stat().st_ino}')
    journal_of(folder).write_bytes(b"".join(map(with_checksum, text.splitlines())))
    return folder


def with_checksum(line):
    from delve.journal.lines import encode

    entry = json.loads(line)
    del entry["crc32"]
    return encode(entry)


@pytest.fixture(params=FORMS)
def form(request, run):
    FORMS[request.param](run)
    return request.param


def contents(folder):
    """All files but the lock's, with what is in them."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder): path.read_bytes() for path in files}


def arrays(folder):
    return {p.relative_to(folder): np.load(p).tolist() for p in (folder / "npy").rglob("epoch*")}


def check_backends(folder, expected, without=None):
    """Each backend holds these rows, once."""
    for backend in LOCAL:
        if backend == without:
            continue
        rows = expected
        if backend == "tensorboard":
            rows = {e: {n: float(np.float32(v)) for n, v in row.items()} for e, row in rows.items()}
        found = differences(read_points_of(backend, folder), rows)
        assert not found, f"{backend}: {found}"


# --- "auto" ---------------------------------------------------------------------------------------


def test_auto_cuts_nothing_and_says_what_is_there_and_the_ways_out(run, form):
    before = contents(run)
    if form in WITH_EPOCHS or form in ("a newline", "a damaged header alone"):
        match = "no readable header"
    else:
        match = "holds no journal|is empty|holds not even a whole|was never begun|holds no epoch"
    with pytest.raises(DelveError, match=match) as raised:
        record(run, 1, "auto")
    assert contents(run) == before
    told = str(raised.value)
    assert HELD in told
    assert f"npy holds arrays of epochs 0-{EPOCHS - 1}" in told
    assert f"`delve repair {run}`" in told
    assert "initial_epoch as a number" in told
    assert "another folder" in told


@pytest.mark.parametrize("save_to", ["print", "csv", "plot"])
def test_auto_asks_also_backends_that_are_not_named_this_time(run, save_to):
    if save_to == "plot":
        pytest.importorskip("delve_plot")
    FORMS["empty"](run)
    before = contents(run)
    with pytest.raises(DelveError, match=HELD):
        record(run, 1, "auto", save_to)
    assert contents(run) == before


def test_auto_cuts_no_pictures(tmp_path):
    pytest.importorskip("delve_plot")
    folder = tmp_path / "run"
    record(folder, 2, save_to="plot", stats=["lsat"], writer_args={"dpi": 40})
    FORMS["empty"](folder)
    before = contents(folder)
    with pytest.raises(DelveError, match="plot holds figures of epoch"):
        record(folder, 1, "auto", "plot")
    assert contents(folder) == before


def test_auto_takes_a_damaged_backend_for_no_reason_to_cut_it(run):
    FORMS["empty"](run)
    for name in ("metrics.csv", "npy/train-covariance-matrix", "npy/eval-covariance-matrix"):
        path = run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.rmtree(run / "tensorboard")
    scalars = run / "npy" / "scalars.npz"
    content = bytearray(scalars.read_bytes())
    content[200] ^= 255
    scalars.write_bytes(content)
    with pytest.raises(DelveError, match="what npy holds cannot be read"):
        record(run, 1, "auto")
    assert scalars.read_bytes() == content


class TextWriter:
    """A writer of somebody else's, which nothing but its hook tells of."""

    def __init__(self, folder):
        self.path = folder / "losses.txt"
        self.loss = None

    def start(self):
        self.path.write_text("")

    def add_scalar(self, name, value):
        self.loss = value

    def save(self, epoch):
        with self.path.open("a") as file:
            file.write(f"{epoch} {self.loss!r}\n")

    def held_epochs(self, run):
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        rows = ((int(epoch), float(loss)) for epoch, loss in map(str.split, lines))
        return [HeldEpoch(epoch, {"loss": loss}) for epoch, loss in rows]


@pytest.mark.parametrize("form", ["missing", "empty", "a header alone"])
def test_auto_asks_the_writers_of_others(tmp_path, form):
    folder = tmp_path / "run"
    folder.mkdir()
    record(folder, 3, save_to=TextWriter(folder))
    FORMS[form](folder)
    before = contents(folder)
    with pytest.raises(DelveError, match="TextWriter holds epochs 0-2"):
        record(folder, 1, "auto", TextWriter(folder))
    assert contents(folder) == before


def test_auto_believes_nothing_that_is_no_epoch(tmp_path):
    class Confused(TextWriter):
        def held_epochs(self, run):
            return [(0, {"loss": 1.0})]

    tmp_path.joinpath("journal.jsonl").touch()
    assert record(tmp_path, 1, "auto", Confused(tmp_path)) == 0


class KilledError(BaseException):
    """Ends a run as if by SIGKILL, for what is looked at afterwards."""


class Killing:
    def start(self):
        raise KilledError


@pytest.mark.parametrize("save_to", [LOCAL, [Killing(), *LOCAL]], ids=["opened", "not opened"])
def test_a_run_that_recorded_no_epoch_begins_at_0(tmp_path, save_to):
    """Its backends were made, and hold none."""
    folder = tmp_path / "run"
    with contextlib.suppress(KilledError):
        record(folder, 0, save_to=save_to)
    assert record(folder, 2, "auto") == 0
    check_backends(folder, journal_rows(folder))


def test_what_an_earlier_run_left_is_no_reason_to_refuse_the_new_one(run):
    """It was killed before its backends were opened; the journal of the old one is kept."""
    with pytest.raises(KilledError):
        record(run, 1, save_to=[Killing(), *LOCAL])
    assert record(run, 2, "auto", seed=5) == 0
    check_backends(run, journal_rows(run))
    assert read_epochs(run) == [0, 1]


def test_what_a_new_run_recorded_over_an_earlier_one_is_not_taken_for_the_latter(run):
    # The same values again: it was given the same seeds.
    record(run, EPOCHS, overwrite=True)
    FORMS["no epoch"](run)
    with pytest.raises(DelveError, match=HELD):
        record(run, 1, "auto")
    check_backends(run, earlier_rows(run))


def earlier_rows(folder):
    kept = folder / "journal.1.jsonl"
    rows = {}
    for entry in map(json.loads, kept.read_text().splitlines()):
        if entry["type"] == "epoch":
            rows[entry["epoch"]] = {**entry["scalars"], **entry["metrics"]}
    return rows


# --- a number -------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [EPOCHS, 3])
def test_a_number_keeps_all_that_is_below_and_says_so(run, recorded, form, first, caplog):
    expected = {e: row for e, row in journal_rows(recorded).items() if e < first}
    kept_arrays = {p: a for p, a in arrays(recorded).items() if int(p.stem[5:]) < first}
    journal = journal_of(run).read_bytes() if journal_of(run).exists() else b""
    record(run, 0, first)
    check_backends(run, expected)
    assert arrays(run) == kept_arrays
    assert "each backend keeps what it holds below" in caplog.text.lower() or (
        f"holds no record of epochs 0-{first - 1}; backends keep what they hold" in caplog.text
    )
    if journal.strip() and form not in (*READABLE, "unfinished"):
        assert (run / "journal.1.jsonl").read_bytes() == journal
        assert "it is kept as journal.1.jsonl" in caplog.text
    assert read_epochs(run) == (list(range(first)) if form in WITH_EPOCHS else [])
    assert (read_run(run).run_id == read_run(recorded).run_id) == (form in WITH_RUN_ID)
    record(run, 2, "auto", seed=1)
    now = {e: row for e, row in journal_rows(run).items() if e >= first}
    assert list(now) == [first, first + 1]
    check_backends(run, expected | now)


def test_a_number_keeps_what_a_new_run_in_an_old_folder_recorded(run, recorded):
    """Of its journal the header alone is left, so nothing tells that its backends were opened."""
    record(run, EPOCHS, seed=3)
    expected = journal_rows(run)
    FORMS["a header alone"](run)
    record(run, 0, EPOCHS)
    check_backends(run, expected)


def test_0_begins_anew(run, form):
    assert record(run, 2, 0, seed=1) == 0
    assert read_epochs(run) == [0, 1]
    check_backends(run, journal_rows(run))


def test_what_is_no_journal_stays_where_it_is(run):
    journal_of(run).write_text("notes of somebody else's\n")
    before = contents(run)
    for first in ("auto", EPOCHS):
        with pytest.raises(JournalError, match="no readable header"):
            record(run, 1, first)
    assert contents(run) == before


# --- delve repair ---------------------------------------------------------------------------------


def call(*arguments):
    return CliRunner().invoke(main, ["repair", *map(str, arguments)])


def test_a_repaired_run_goes_on_as_if_nothing_had_happened(run, recorded, form):
    journal = journal_of(run).read_bytes() if journal_of(run).exists() else b""
    expected, times = journal_rows(recorded), times_of(recorded)
    backends = {path: c for path, c in contents(run).items() if "journal" not in path.name}
    result = call(run)
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    print(result.output)
    assert f"written anew: epochs 0-{EPOCHS - 1}" in result.output
    after = contents(run)
    assert {path: after[path] for path in backends} == backends
    if journal and form != "unfinished":
        assert (run / "journal.1.jsonl").read_bytes() == journal
    assert journal_rows(run) == expected
    assert times_of(run) == times  # TensorBoard has them
    repaired, original = read_run(run), read_run(recorded)
    assert repaired.layers == original.layers
    assert (repaired.run_id == original.run_id) == (form in WITH_RUN_ID)
    is_cut = form == "a part of the first line"  # before it comes to that
    assert repaired.config == (original.config if form in WITH_RUN_ID and not is_cut else {})
    assert call(run).output.endswith("is whole and knows all that was found: epochs 0-5\n")

    assert record(run, 2, "auto") == EPOCHS
    rows = journal_rows(run)
    assert list(rows) == list(range(EPOCHS + 2))
    assert {epoch: rows[epoch] for epoch in expected} == expected
    check_backends(run, rows)
    assert {path: a for path, a in arrays(run).items() if int(path.stem[5:]) < EPOCHS} == (
        arrays(recorded)
    )


def times_of(folder):
    return {record.epoch: record.timestamp for record in read_run(folder).records}


@pytest.mark.parametrize("backend", LOCAL)
def test_one_backend_is_enough(run, recorded, backend):
    FORMS["empty"](run)
    result = call(run, "--from", backend)
    assert f"{backend}: holds epochs 0-5; took epochs 0-5" in result.output
    assert ("nothing tells the times" in result.output) == (backend != "tensorboard")
    expected = journal_rows(recorded)
    if backend == "tensorboard":
        assert "in single precision" in result.output
        expected = {
            epoch: {name: float(np.float32(value)) for name, value in row.items()}
            for epoch, row in expected.items()
        }
    assert journal_rows(run) == expected
    assert record(run, 1, "auto") == EPOCHS
    exact = "npy" if backend == "tensorboard" else None  # it keeps what it held
    check_backends(run, journal_rows(run), without=exact)


def test_a_backend_that_has_more_fills_up_what_an_exact_one_lacks(run, recorded):
    FORMS["missing"](run)
    table = run / "metrics.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:4]))
    shutil.rmtree(run / "npy")
    done = repair(run)
    taken = {source.writer: list(source.taken) for source in done.sources}
    assert taken == {"csv": [0, 1, 2], "tensorboard": [3, 4, 5]}
    rows, expected = journal_rows(run), journal_rows(recorded)
    assert {e: rows[e] for e in range(3)} == {e: expected[e] for e in range(3)}
    assert rows[4]["loss"] == float(np.float32(expected[4]["loss"]))


def test_a_backend_counts_up_to_where_it_differs(run):
    """The run went back to epoch 2 while TensorBoard was away; it holds what is void."""
    record(run, 2, 2, ["csv"], seed=7)
    expected = journal_rows(run)
    FORMS["empty"](run)
    shutil.rmtree(run / "npy")
    result = call(run)
    assert "tensorboard: holds epochs 0-5; differs from epoch 2 on" in result.output
    assert journal_rows(run) == expected
    assert record(run, 1, "auto") == 4
    check_backends(run, journal_rows(run))


def test_the_journals_own_epochs_count_most(run):
    lines = lines_of(run)
    journal_of(run).write_bytes(b"#" + b"".join(lines)[1:])
    table = run / "metrics.csv"
    table.write_text(table.read_text().replace("0.2,", "0.25,", 1))  # epoch 2's loss
    expected = journal_rows_behind_header(lines)
    result = call(run, "--from", "csv")
    assert "csv: holds epochs 0-5; differs at epoch 2" in result.output
    assert journal_rows(run) == expected


def journal_rows_behind_header(lines):
    entries = map(json.loads, lines)
    return {e["epoch"]: {**e["scalars"], **e["metrics"]} for e in entries if e["type"] == "epoch"}


def test_lines_that_are_damaged_or_gone_come_back(run, recorded):
    lines = lines_of(run)
    epochs = [n for n, line in enumerate(lines) if b'"type": "epoch"' in line]
    lines[epochs[1]] = lines[epochs[1]].replace(b'"epoch": 1', b'"epoch": 7')
    del lines[epochs[3]]
    journal_of(run).write_bytes(b"".join(lines))
    result = call(run)
    assert "epochs 0, 2, 4-5 of its own" in result.output
    assert "csv: holds epochs 0-5; took epochs 1, 3" in result.output
    assert journal_rows(run) == journal_rows(recorded)
    assert read_run(run).run_id == read_run(recorded).run_id


def test_what_a_resume_by_number_left_out_comes_back(run, recorded):
    FORMS["empty"](run)
    record(run, 2, EPOCHS)
    own, run_id = journal_rows(run), read_run(run).run_id
    assert list(own) == [6, 7]
    call(run)
    assert journal_rows(run) == journal_rows(recorded) | own
    assert read_run(run).run_id == run_id


def test_a_whole_journal_stays_as_it_is(run):
    before = contents(run)
    result = call(run)
    assert (
        result.output == f"{run}/journal.jsonl is whole and knows all that was found: epochs 0-5\n"
    )
    assert contents(run) == before


def test_void_epochs_do_not_come_back_into_a_whole_journal(run):
    record(run, 1, 2, ["csv"], seed=7)  # the others hold epochs 3-5, which are void
    before = journal_of(run).read_bytes()
    assert "is whole and knows all" in call(run).output
    assert journal_of(run).read_bytes() == before


def test_an_earlier_run_is_not_mixed_in(run):
    record(run, 2, 0, ["csv"], seed=7, overwrite=True)
    expected = journal_rows(run)
    journal_of(run).write_bytes(b"#" + b"".join(lines_of(run))[1:])
    result = call(run)
    for backend in ("npy", "tensorboard"):
        assert f"{backend}: holds epochs 0-5, all of an earlier run" in result.output
    assert journal_rows(run) == expected
    assert record(run, 1, "auto") == 2
    check_backends(run, journal_rows(run))


def test_a_new_run_with_the_values_of_an_earlier_one_keeps_its_backends(run):
    kept_arrays = arrays(run)
    record(run, EPOCHS)  # the same seeds again
    journal_of(run).write_bytes(b"#" + b"".join(lines_of(run))[1:])
    call(run)
    record(run, 0, "auto")
    check_backends(run, journal_rows(run))
    assert arrays(run) == kept_arrays


def test_a_folder_with_the_earlier_run_alone_says_how_to_go_on_with_it(run):
    journal_of(run).rename(run / "journal.1.jsonl")
    before = contents(run)
    result = call(run)
    assert result.exit_code == 1
    assert "to go on with that run, call it journal.jsonl" in result.stderr
    assert contents(run) == before


@pytest.mark.parametrize("name", ["nowhere", "others"])
def test_a_folder_that_is_no_run_is_left_alone(tmp_path, name):
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "metrics.csv").write_text("epoch,loss\n0,1.0\n")
    result = call(tmp_path / name)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert [path.name for path in (tmp_path / "others").iterdir()] == ["metrics.csv"]


def test_a_run_that_is_being_recorded_is_refused(tmp_path):
    layer = nn.Linear(3, 2)
    with SaturationTracker(tmp_path, "csv", layer) as tracker:
        layer(torch.randn(9, 3))
        tracker.add_saturations()
        result = call(tmp_path)
        assert result.exit_code == 1
        assert "in use" in result.stderr


def test_links_are_not_followed(run, tmp_path):
    table = (run / "metrics.csv").rename(tmp_path / "elsewhere.csv")
    (run / "metrics.csv").symlink_to(table)
    FORMS["empty"](run)
    result = call(run)
    assert "csv: cannot be read" in result.output
    assert "npy: holds epochs 0-5; took epochs 0-5" in result.output


class Remote:
    """Holds nothing here, and remembers where."""

    def __init__(self):
        self.runs = []

    def start(self, run):
        run.remember(remote=f"remote of {run.run_id}")

    def resume_from_saved_state(self, initial_epoch, run):
        self.runs.append(run)
        return run.first_lacking(())

    def save(self, epoch):
        pass


@pytest.mark.parametrize("form", WITH_EPOCHS[:2])
def test_what_writers_remember_is_kept(tmp_path, form):
    folder = tmp_path / "run"
    record(folder, 3, save_to=["csv", Remote()])
    run_id = read_run(folder).run_id
    FORMS[form](folder)
    assert "what writers remember is kept: csv, Remote" in call(folder).output
    remote = Remote()
    record(folder, 1, "auto", save_to=["csv", remote])
    (known,) = remote.runs
    assert known.state == {"remote": f"remote of {run_id}"}
    assert (known.run_id == run_id) == (form != "no header")


def test_a_copys_origin_is_kept(tmp_path):
    record(tmp_path / "a", 3, save_to=["csv", Remote()])
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    record(tmp_path / "b", 1, "auto", save_to=["csv", Remote()])
    own = read_run(tmp_path / "b").run_id
    journal_of(tmp_path / "b").write_bytes(b"#" + journal_of(tmp_path / "b").read_bytes()[1:])
    call(tmp_path / "b")
    remote = Remote()
    record(tmp_path / "b", 1, "auto", save_to=["csv", remote])
    (known,) = remote.runs
    assert known.run_id == own
    assert known.origin.run_id == read_run(tmp_path / "a").run_id
    assert known.origin.savefile == str(tmp_path / "a")
    assert known.origin.state == {"remote": f"remote of {known.origin.run_id}"}


def test_mlflow_goes_on_in_its_run(tmp_path, monkeypatch):
    pytest.importorskip("delve_mlflow")
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    folder = tmp_path / "run"
    record(folder, 3, save_to=["csv", "mlflow"])
    FORMS["a damaged header"](folder)
    call(folder)
    assert record(folder, 1, "auto", save_to=["csv", "mlflow"]) == 3
    (run,) = MlflowClient().search_runs(["0"])
    points = [
        (point.step, key, point.value)
        for key in run.data.metrics
        for point in MlflowClient().get_metric_history(run.info.run_id, key)
    ]
    assert not differences(points, journal_rows(folder))
