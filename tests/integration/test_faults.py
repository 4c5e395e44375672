"""All writers at once: dead servers, every way in which a training ends, disks that refuse."""

import contextlib
import io
import json
import os
import pathlib
import pickle
import random
import re
import shutil
import signal
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from mlflow_server import history
from support.endings import INTERRUPTED, SAVED
from support.seven_writers import mlflow_run, read_all, read_points_of, wandb_run
from wandb_files import recorded_id

from delve.delivery.export import export
from delve.errors import DelveError
from delve.journal.reading import read_epochs
from delve.testing import journal_rows, train
from delve.testing.rows import differences

LOCAL = ("csv", "npy", "tensorboard")
PATIENCE = 600.0  # seconds, against a hang alone


def start(bench, folder, function, environment=None, **arguments):
    folder.mkdir(exist_ok=True)
    return bench.nursery.fork(
        f"support.endings:{function}",
        folder.parent / f"{folder.name}.txt",
        environment,
        folder=str(folder),
        **arguments,
    )


def log_of(folder):
    return (folder.parent / f"{folder.name}.txt").read_text()


def facts_of(folder):
    return json.loads((folder / "facts.json").read_text())


def wait_for_all(bench, trainings):
    """Wait until all have ended well; returns when each did, for the folder of each."""
    ends = {}
    deadline = time.monotonic() + 2 * PATIENCE
    while running := trainings.keys() - ends.keys():
        for folder in running:
            status = bench.nursery.wait(trainings[folder], 0.02)
            assert status in (None, 0), log_of(folder)
            if status == 0:
                ends[folder] = time.time()
        assert time.monotonic() < deadline, running
    return ends


def check_the_end(folder, ends, *harmless):
    """Nothing was left behind, but for such threads, and nothing keeps the process from ending."""
    facts = facts_of(folder)
    # A call to MLflow that was left behind at its deadline waits in a thread that ends by itself.
    assert set(facts["threads"]) - {*harmless, "delve-mlflow"} == {"MainThread"}
    assert ends[folder] - facts["closed at"] < 5


def check_local_backends(folder, epochs):
    """They hold what the journal holds, which is so many epochs."""
    rows = journal_rows(folder)
    assert sorted(rows) == list(range(epochs))
    for backend in LOCAL:
        wanted = rows
        if backend == "tensorboard":
            wanted = {e: {n: float(np.float32(v)) for n, v in r.items()} for e, r in rows.items()}
        assert differences(read_points_of(backend, folder), wanted) == "", backend


# --- the ways in which a training ends -----------------------------------------------------------

# how it ends: exit status, epochs in the end, MLflow's status, W&B's state
ENDS = {
    "normal": (0, SAVED, "FINISHED", "finished"),
    "exit": (0, SAVED, "FINISHED", "finished"),
    "exit in error": (3, SAVED, "FAILED", "failed"),
    "exception": (1, SAVED, "FAILED", "failed"),
    "SIGINT": (-signal.SIGINT, SAVED, "FAILED", "failed"),
    "SIGTERM": (-signal.SIGTERM, SAVED, "RUNNING", "running"),
    "forgotten": (0, SAVED, "FINISHED", "finished"),
    "forgotten exception": (1, SAVED, "FAILED", "failed"),
}


@pytest.mark.parametrize("how", ENDS)
def test_whatever_ends_the_training_nothing_that_was_saved_is_lost(bench, tmp_path, how):
    status, epochs, mlflow_status, wandb_state = ENDS[how]
    folder = tmp_path / "run"
    is_signal = how.startswith("SIG")
    pid = start(bench, folder, "end", how="wait" if is_signal else how)
    if is_signal:
        wait_until((folder / "waiting").exists)
        os.kill(pid, getattr(signal, how))
    assert bench.nursery.wait(pid, PATIENCE) == status, log_of(folder)
    if how != "SIGTERM":  # which leaves npy no time; a resume completes it
        check_local_backends(folder, epochs)
    assert sorted(journal_rows(folder)) == list(range(epochs))
    with bench.reading():
        assert mlflow_run(folder).info.status == mlflow_status
    assert wandb_run(folder, bench.wandb).state == wandb_state
    wait_until(lambda: not bench.nursery.descendants())  # W&B's service is gone too


def wait_until(condition, seconds=PATIENCE):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# --- servers that are dead -----------------------------------------------------------------------


@contextlib.contextmanager
def refusing():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    yield port


@contextlib.contextmanager
def hanging():
    with socket.create_server(("127.0.0.1", 0), backlog=200) as listening:
        yield listening.getsockname()[1]


@contextlib.contextmanager
def answering_500():
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.do_GET()

        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(500)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture(scope="module")
def dead_servers(bench, tmp_path_factory):
    """A training for each kind of death, all at the same time because they only wait."""
    folder = tmp_path_factory.mktemp("dead")
    with contextlib.ExitStack() as stack:
        trainings = {}
        for kind in (refusing, hanging, answering_500):
            address = f"http://127.0.0.1:{stack.enter_context(kind())}"
            environment = {"WANDB_BASE_URL": address, "MLFLOW_TRACKING_URI": address}
            run = folder / kind.__name__
            trainings[run] = start(bench, run, "train_with_dead_servers", environment, epochs=40)
        return folder, wait_for_all(bench, trainings)


LIMIT = 10.0  # seconds that a failed attempt may take


@pytest.mark.parametrize("kind", ["refusing", "hanging", "answering_500"])
def test_dead_servers_never_hold_the_training_up_for_long(dead_servers, kind):
    folder, ends = dead_servers[0] / kind, dead_servers[1]
    facts = facts_of(folder)
    print(facts)
    assert len(facts["failed attempts"]) >= 3  # MLflow's and W&B's, at the start and at the end
    assert max(facts["failed attempts"]) < LIMIT
    assert facts["opening"] < 2 * LIMIT
    assert facts["closing"] < 2 * LIMIT
    check_the_end(folder, ends)
    check_local_backends(folder, 40)
    log = log_of(folder)
    assert len(re.findall("writer 'mlflow' failed at", log)) == 1
    assert len(re.findall("writer 'wandb' failed at", log)) == 1
    assert "writer 'mlflow' did not get epochs 0-39" in log
    assert "writer 'wandb' did not get epochs 0-39" in log


MORE = {"in save": 30, "in close": 0}  # epochs after MLflow's server has gone away


@pytest.fixture(scope="module", params=["hanging", "stopped"])
def lost_server(bench, tmp_path_factory, request):
    """Trainings that lose MLflow's server in the middle, and get it back after their end."""
    folder = tmp_path_factory.mktemp(request.param)
    trainings = {
        folder / when: start(bench, folder / when, "train_while_mlflow_goes_away", more=more)
        for when, more in MORE.items()
    }
    for run in trainings:
        wait_until((run / "waiting").exists)
    with getattr(bench.mlflow, request.param)():
        for run in trainings:
            (run / "go on").touch()
        ends = wait_for_all(bench, trainings)
    return folder, ends


@pytest.mark.parametrize("when", MORE)
def test_a_server_that_goes_away_is_waited_for_once_a_call_and_gets_all_later(
    bench, lost_server, when
):
    folder, ends = lost_server[0] / when, lost_server[1]
    facts = facts_of(folder)
    print(facts)
    assert max(facts["recording"], default=0) < LIMIT
    assert facts["closing"] < LIMIT
    check_the_end(folder, ends, "tqdm_monitor")  # which tqdm itself ends
    check_local_backends(folder, SAVED + MORE[when])
    log = log_of(folder)
    assert len(re.findall("writer 'mlflow' failed at", log)) == (when == "in save")
    assert len(re.findall("writer 'mlflow' failed to close", log)) == 1
    with bench.reading():
        assert mlflow_run(folder).info.status == "RUNNING"
        assert [outcome.error for outcome in export(folder, "mlflow")] == [None]
        run = mlflow_run(folder)
        assert run.info.status == "FINISHED"
        assert history(run.info.run_id) == journal_rows(folder)


# --- interruptions -------------------------------------------------------------------------------

CALLS = [f"{name}.{hook}" for name in LOCAL for hook in ("add_scalars", "save")]


def check_interrupted(bench, folder, points, go_on, epochs):
    """After the end, and after a resume, every backend holds what the journal holds."""
    pid = start(bench, folder, "be_interrupted", points=points, go_on=go_on)
    assert bench.nursery.wait(pid, PATIENCE) == 0, log_of(folder)
    check_local_backends(folder, epochs)
    train(folder, LOCAL, range(epochs, epochs + 2))
    check_local_backends(folder, epochs + 2)


@pytest.mark.parametrize("seed", range(3))
def test_interruptions_inside_writers_cost_nothing_when_the_training_goes_on(bench, tmp_path, seed):
    rng = random.Random(seed)
    folder = tmp_path / "run"
    calls = rng.sample(range(1, INTERRUPTED - 2), len(CALLS))
    steps = [int(10 ** rng.uniform(0, 2.5)) for _ in CALLS]
    points = list(zip(CALLS, calls, steps, strict=True))
    check_interrupted(bench, folder, points, go_on=True, epochs=INTERRUPTED)
    assert facts_of(folder)["interrupted"] >= len(CALLS) - 1  # one may hit an attempt to catch up


@pytest.mark.parametrize("call", CALLS)
def test_an_interruption_inside_a_writer_costs_nothing_when_it_ends_the_training(
    bench, tmp_path, call
):
    steps = int(10 ** random.Random(call).uniform(0, 2.5))
    check_interrupted(bench, tmp_path / "run", [(call, 3, steps)], go_on=False, epochs=3)


# --- disks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", [1500, 6000])
def test_a_disk_that_was_full_for_a_while_costs_nothing(bench, tmp_path, room):
    """The small room stops the journal too, the large one only some of the others."""
    pid = start(bench, tmp_path / "run", "fill_the_disk", room=room, relieved=True)
    assert bench.nursery.wait(pid, PATIENCE) == 0, log_of(tmp_path / "run")
    check_local_backends(tmp_path / "run", 33)
    log = log_of(tmp_path / "run")
    assert "File too large" in log
    assert "did not get" not in log


def test_a_disk_that_stays_full_is_named_with_all_that_it_did_not_take(bench, tmp_path):
    folder = tmp_path / "run"
    pid = start(bench, folder, "fill_the_disk", room=2500, relieved=False)
    assert bench.nursery.wait(pid, PATIENCE) == 0
    held = read_epochs(folder)
    assert held == list(range(len(held)))
    assert 2 <= len(held) < 32
    log = log_of(folder)
    assert re.search(
        r"ERROR delve.journal: .* the last \d+ bytes of the journal, which are lost", log
    )
    for backend in LOCAL:
        epochs = sorted({epoch for epoch, *_ in read_points_of(backend, folder)})
        assert epochs == list(range(len(epochs))), backend
        if len(epochs) < 32:
            assert f"writer {backend!r} did not get epochs {len(epochs)}-31" in log


def test_a_folder_that_was_read_only_for_a_while_costs_nothing(bench, tmp_path):
    folder = tmp_path / "run"
    pid = start(bench, folder, "lose_the_right_to_write")
    assert bench.nursery.wait(pid, PATIENCE) == 0, log_of(folder)
    check_local_backends(folder, 7)
    assert "Permission denied" in log_of(folder)
    facts = json.loads((folder / "facts.json").read_text())
    assert f"the folder {folder} cannot be written" in facts["error"]
    assert facts["untouched"]


def damaged(content, rng, kinds=("cut", "zeros", "bit")):
    """A file that was cut short, or has a block or one bit changed."""
    content = bytearray(content)
    at = rng.randrange(len(content))
    match rng.choice(kinds):
        case "cut":
            del content[at:]
        case "zeros":
            content[at : at + 40] = bytes(len(content[at : at + 40]))
        case "bit":
            content[at] ^= 1 << rng.randrange(8)
    return bytes(content)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded") / "run"
    train(folder, ["csv", "npy", "tensorboard"], range(6))
    return folder


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_backend_is_whole_again_after_a_resume(recorded, tmp_path, seed):
    """Every file of every local backend at once; the journal is whole."""
    rng = random.Random(seed)
    folder = tmp_path / "run"
    shutil.copytree(recorded, folder)
    for path in (folder / "metrics.csv", *folder.rglob("*.npz"), *folder.rglob("*tfevents*")):
        path.write_bytes(damaged(path.read_bytes(), rng))
    train(folder, ["csv", "npy", "tensorboard"], range(6, 8))
    check_local_backends(folder, 8)


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_journal_is_named_and_takes_nothing_from_the_backends(
    recorded, tmp_path, seed, caplog
):
    rng = random.Random(seed)
    folder = tmp_path / "run"
    shutil.copytree(recorded, folder)
    before = {backend: sorted(read_points_of(backend, folder)) for backend in LOCAL}
    path = folder / "journal.jsonl"
    header, _, lines = path.read_bytes().partition(b"\n")
    changed = damaged(lines, rng)
    path.write_bytes(header + b"\n" + changed)
    train(folder, ["csv", "npy", "tensorboard"], range(6, 8))
    for backend in LOCAL:
        after = [point for point in read_points_of(backend, folder) if point[0] < 6]
        assert sorted(after) == before[backend], backend
    missing = set(range(6)) - set(read_epochs(folder) or ())
    assert not missing or "holds no record of epochs" in caplog.text


# --- folders and names that somebody else has made up --------------------------------------------


class Payload:
    """A pickle that leaves a file behind when it is loaded."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return pathlib.Path.touch, (self.trace,)


def contents_of(folder):
    """Of each path what stands there: of a link where it leads, as W&B's to a log of its own."""

    def content(path):
        if path.is_symlink():
            return path.readlink()
        return path.read_bytes() if path.is_file() else None

    return {str(path.relative_to(folder)): content(path) for path in sorted(folder.rglob("*"))}


def test_a_pickle_in_the_folder_is_never_loaded(recorded, tmp_path):
    folder, trace = tmp_path / "run", tmp_path / "executed"
    shutil.copytree(recorded, folder)
    payload = pickle.dumps(Payload(trace))
    array = io.BytesIO()
    np.save(array, np.array([Payload(trace)], dtype=object), allow_pickle=True)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "journal.jsonl":
            path.write_bytes(array.getvalue() if path.suffix in (".npy", ".npz") else payload)
    for name in ("state.pkl", "checkpoint.pt", "wandb/state.pkl"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(payload)
    train(folder, ["csv", "npy", "tensorboard", "plot"], range(6, 8))
    check_local_backends(folder, 8)
    pickle.loads(payload)
    assert trace.exists()  # so it would have worked
    trace.unlink()


LINKS = {
    "journal.jsonl": "journal.jsonl",
    ".lock": "other.lock",
    "metrics.csv": "metrics.csv",
    "npy": "npy",
    "npy/scalars.npz": "npy/scalars.npz",
    "plots": "plots",
    "plots/train-saturation": "plots/train-saturation",
    "tensorboard": "tensorboard",
    "tensorboard/train": "tensorboard/train",
    "tensorboard/train/events.out.tfevents.9999999999.a.1.delve": "tensorboard/train/events",
    "wandb": "wandb",
}


@pytest.mark.parametrize("first", [0, 3], ids=["new", "resumed"])
@pytest.mark.parametrize("is_there", [True, False], ids=["", "dangling"])
@pytest.mark.parametrize("place", LINKS)
def test_no_link_is_followed_out_of_the_folder(
    recorded, tmp_path, place, is_there, first, monkeypatch
):
    """Whatever lies behind a link stays as it was, be the link refused or replaced."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder, outside = tmp_path / "run", tmp_path / "outside"
    shutil.copytree(recorded, folder)
    shutil.copytree(recorded, outside)
    (outside / "wandb").mkdir()
    (outside / "other.lock").write_text("not empty")
    (events,) = (outside / "tensorboard" / "train").glob("*tfevents*")
    events.rename(events.with_name("events"))
    planted, target = folder / place, outside / LINKS[place]
    if planted.is_dir():
        shutil.rmtree(planted)
    planted.unlink(missing_ok=True)
    planted.parent.mkdir(exist_ok=True)
    planted.symlink_to(target if is_there else outside / "nothing here")
    before = contents_of(outside)
    with contextlib.suppress(DelveError):
        writers = ["plot"] if place.startswith("plots") else ["csv", "npy", "tensorboard"]
        train(folder, writers, range(first, 8))
        if place == "wandb":
            train(folder, "wandb", range(8, 9))
    assert contents_of(outside) == before


def link_to_segment(folder, outside):
    (segment,) = folder.glob("wandb/offline-run-*")
    segment.rename(outside / "segment")
    segment.symlink_to(outside / "segment")


def link_to_mark(folder, outside):
    (file,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    file.with_name(f"{file.name}.synced").symlink_to(outside / "mark")


def run_id_with_a_path(folder, outside):
    (outside / "x.wandb").write_text("of somebody else")
    (folder / "wandb" / "run-1" / "run-..").mkdir(parents=True)
    journal = folder / "journal.jsonl"
    path = os.path.relpath(outside / "x", folder / "wandb" / "run-1")
    run_id = recorded_id(folder)
    journal.write_text(journal.read_text().replace(f'"{run_id}"', f'"../{path}"'))


@pytest.mark.parametrize("plant", [link_to_segment, link_to_mark, run_id_with_a_path])
def test_wandbs_earlier_files_are_marked_inside_the_folder_only(tmp_path, monkeypatch, plant):
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder, outside = tmp_path / "run", tmp_path / "outside"
    train(folder, "wandb", range(3))
    outside.mkdir()
    plant(folder, outside)
    before = contents_of(outside)
    with contextlib.suppress(DelveError):
        train(folder, "wandb", range(3, 5))
    assert contents_of(outside) == before
    assert sorted(journal_rows(folder)) == list(range(5))


AWKWARD = (
    "../../x",
    "../../../../../../tmp/x",
    "/etc/x",
    "a/b",
    "a_b",
    "a:b",
    "a b",
    "a.b",
    "a\\b",
    "con",
    "CON",
    "nul.txt",
    "x" * 300,
    "x" * 299 + "y",
    "\N{ROCKET}",
    "\N{FIRE}",
    "line\nbreak",
    "line\rbreak",
    "tab\tstop",
    "nul\0byte",
    ".",
    "..",
    ".hidden",
    "-",
    "*",
    "%s{}",
    "$x_1$",
    '"quoted",with=comma',
    "=1+1",
    " ",
)


def test_awkward_names_reach_every_backend_and_nothing_else(bench, tmp_path):
    """By their values, which all differ: no name is lost, and no two meet in one."""
    folder = tmp_path / "runs" / "run"
    for first, last in ((0, 2), (2, 4)):
        folder.mkdir(parents=True, exist_ok=True)
        pid = start(bench, folder, "record_names", names=AWKWARD, first=first, last=last)
        assert bench.nursery.wait(pid, PATIENCE) == 0, log_of(folder)
    log = log_of(folder)
    assert not re.findall("writer .* (failed|did not)", log), log
    wanted = {epoch: sorted(row.values()) for epoch, row in journal_rows(folder).items()}
    assert len(set(wanted[0])) == len(wanted[0]) == 3 * len(AWKWARD)
    with bench.reading():
        contents = read_all(tmp_path / "runs", tmp_path / "runs" / "run.txt", bench.wandb)
    for backend in ("journal", "csv", "npy", "tensorboard", "mlflow", "wandb"):
        held = {epoch: [] for epoch in wanted}
        for epoch, _, value in contents.points[backend]:
            held[epoch].append(value)
        for epoch, values in held.items():
            assert sorted(values) == pytest.approx(wanted[epoch], rel=1e-6), (backend, epoch)
        names = {epoch: {n for e, n, _ in contents.points[backend] if e == epoch} for epoch in held}
        assert names[0] == names[3], f"{backend} calls them otherwise after a resume"
    assert len(contents.arrays) == 4 * len(AWKWARD)
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["run", "run.txt"]
