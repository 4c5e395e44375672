"""Nothing that a run folder of somebody else holds rules the terminal, or ends in a traceback."""

import json
import math
import os
import pty
import re
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from support.journals import write_run

from delve.cli import main
from delve.files import file_name
from delve.journal.lines import encode

HOSTILE = [
    "\x1b]0;owned\x07",  # the title
    "\x1b]52;c;b3duZWQ=\x07",  # the clipboard
    "\x1b[2J\x1b[H",  # clears the screen
    "\x9b2J",  # the same in one character
    "a\nError: forged",
    "b\rforged",
    "\u202egnp.exe",
    "\u2028",
    "c\0d",
    "half \ud800",
    "\x7f\b\t",
]
ODD = ["", " ", ".", "..", "../x", "a/b", "$x^2$", "_a", "%s", "{desc}", "a" * 500, "\\n", "é"]

# All that moves a cursor, in the bytes of UTF-8: C0, DEL, C1, separators, marks of direction.
BAD = [
    *(bytes([code]) for code in range(32) if code != 10),
    b"\x7f",
    *(chr(code).encode() for code in (*range(0x80, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F))),
]


def write_hostile_run(folder, names):
    row = {f"loss {name}": 0.5 for name in names}
    row |= {f"{m}-saturation/{name}": 0.5 for m in ("train", "eval") for name in names}
    config = {name: {name: [name]} for name in names} | {"text": "".join(names)}
    run = write_run(
        folder, [row, row], list(dict.fromkeys(names)), config, few_samples={"train": names}
    )
    for name in names:
        place = run / "npy" / "train-covariance-matrix" / file_name(name)
        place.mkdir(parents=True, exist_ok=True)
        np.save(place / "epoch00000.npy", np.eye(2))
    return run


COMMANDS = {
    "show": ["show", "{run}"],
    "narrow show": ["show", "{run}", "{other}", "--stat", "lsat"],
    "json": ["show", "{run}", "--json"],
    "export": ["export", "{run}", "--to", "print"],
    "recompute": ["recompute", "{run}", "--threshold", "0.9"],
    "table": ["recompute", "{run}", "--threshold", "0.9", "--csv", "{out}/t\x1b[2J.csv"],
    "plot": ["plot", "{run}", "--out", "{out}"],
    "comparison": ["plot", "{run}", "{other}", "--out", "{out}/\x1b[2J"],
    "writers": ["writers"],
    "no run": ["show", "{run}/\x1b[2J"],
    "no such writer": ["export", "{run}", "--to", "\x1b[2J"],
    "no such statistic": ["show", "{run}", "--stat", "\x1b[2J"],
    "no such command": ["\x1b[2J"],
    "no number": ["show", "{run}", "--epoch", "\x1b[2J"],
    "no folder": ["plot", "{run}", "--out", "{run}/journal.jsonl"],
    "runs inside": ["show", "{parent}"],
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    parent = tmp_path_factory.mktemp("\x1b]0;parent\x07")
    run = write_hostile_run(parent / "\x1b[31mrun\nforged", HOSTILE)
    with (run / "journal.jsonl").open("ab") as file:
        file.write(b'{"damaged": "\x1b[2J"}\n')
        state = {"run_id": "\x1b[2J", "owned": True, "uri": "\x1b[2J"}
        file.write(encode({"type": "state", "writer": "\x1b[2J", "state": state}))
    other = write_hostile_run(parent / "\u202eother", ODD)
    return {"run": run, "other": other, "parent": parent, "out": parent / "out"}


@pytest.mark.parametrize("name", COMMANDS)
def test_no_control_leaves_the_process(runs, name):
    if name in ("plot", "comparison"):
        pytest.importorskip("delve_plot")
    runs["out"].mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "delve", *(part.format(**runs) for part in COMMANDS[name])],
        capture_output=True,
        check=False,
        env=os.environ | {"COLUMNS": "60" if "narrow" in name else "100", "PYTHONUTF8": "1"},
    )
    assert done.stdout + done.stderr
    assert [bad for bad in BAD if bad in done.stdout + done.stderr] == []
    assert b"Traceback" not in done.stderr
    assert not any(line.startswith(b"Error: forged") for line in done.stdout.splitlines())
    if name == "json":
        (told,) = json.loads(done.stdout)
        assert (told["layers"], list(told["config"])) == (HOSTILE, [*HOSTILE, "text"])
        assert list(told["stats"][0]["layers"]) == HOSTILE


def test_what_is_spelt_out_keeps_its_place_in_the_columns(runs):
    result = CliRunner().invoke(main, ["show", str(runs["run"])], env={"COLUMNS": "100"})
    bars = [line for line in result.output.splitlines() if "50.0%" in line]
    assert len(bars) == len(HOSTILE)
    assert len({line.index("█") for line in bars}) == 1
    assert max(map(len, result.output.splitlines())) <= 100


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    """A run with names that markup, emoji codes and highlighting would change."""
    layers = ["[bold]a[/bold]", ":smile:", "[red", "f'x' 1.5 /tmp/x http://a.b"]
    row = {f"{m}-saturation/{name}": 0.5 for m in ("train", "eval") for name in layers}
    row |= {"[i]loss": 0.25}
    folder = tmp_path_factory.mktemp("marked") / "[link=x]run"
    return write_run(folder, [row], config={"[blue]": "[/]"}, few_samples={"train": layers[:1]})


MARKED = [
    "saturation at epoch 0",
    "",
    "                    train                eval",
    "[bold]a[/bold]      ██████░░░░░░ 50.0%!  ██████░░░░░░  50.0%",
    ":smile:             ██████░░░░░░ 50.0%   ██████░░░░░░  50.0%",
    "[red                ██████░░░░░░ 50.0%   ██████░░░░░░  50.0%",
    "…/tmp/x http://a.b  ██████░░░░░░ 50.0%   ██████░░░░░░  50.0%",
    "",
    "! fewer samples than features, so saturation is biased low,",
    "  in: [bold]a[/bold].",
]


def run_delve(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "delve", *map(str, arguments)],
        check=True,
        timeout=120,
        env=os.environ | {"COLUMNS": "60", "TERM": "xterm-256color", "PYTHONUTF8": "1"},
        **options,
    )


def test_what_is_piped_is_plain_and_no_markup_is_read(marked):
    shown = run_delve("show", marked, stdout=subprocess.PIPE).stdout.decode()
    assert "\x1b" not in shown
    assert not any(line.endswith(" ") for line in shown.splitlines())
    assert shown.splitlines()[0].split() == ["[link=x]run"]
    assert "  [blue]" in shown
    assert shown.splitlines()[-len(MARKED) :] == MARKED


@pytest.mark.parametrize("no_color", [False, True])
def test_a_terminal_shows_the_same_text_in_colours(marked, tmp_path, monkeypatch, no_color):
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    plain = run_delve("show", marked, stdout=subprocess.PIPE).stdout.decode()
    parent, child = pty.openpty()
    try:
        run_delve("show", marked, stdout=child)  # which a terminal's buffer holds
        shown = os.read(parent, 2**16).decode()
    finally:
        os.close(parent)
        os.close(child)
    assert ("\x1b[36m█████" in shown) is not no_color
    text = re.sub("\x1b\\[[0-9;]*m", "", shown).replace("\r\n", "\n")
    assert text.split() == plain.split()


def test_json_is_valid_where_a_journal_made_by_hand_is_not(tmp_path):
    run = write_run(tmp_path, [{"loss": math.inf}], config={"lr": 0.1})
    journal = run / "journal.jsonl"
    lines = journal.read_bytes().splitlines()
    header = json.loads(lines[0])
    del header["crc32"]
    header["config"] = {"lr": math.nan, "nested": {"x": [math.inf]}}
    journal.write_bytes(b"\n".join([json.dumps(header).encode(), *lines[1:], b""]))
    result = CliRunner().invoke(main, ["show", str(run), "--json"])

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    (told,) = json.loads(result.stdout, parse_constant=refuse)
    assert told["config"] == {"lr": "NaN", "nested": {"x": ["Infinity"]}}


def test_a_layer_that_prints_is_spelt_out_by_the_print_writer(capsys):
    from delve.records import Metric
    from delve.writers import PrintWriter

    PrintWriter().add_scalar("\x1b[2J", 1.0, epoch=0)
    PrintWriter().add_scalars({Metric("train", "saturation", "\nfc"): 0.5}, global_step=0)
    assert capsys.readouterr().out.splitlines() == [
        r"epoch   0  \x1b[2J = 1",
        r"epoch   0  train-saturation/\nfc = 0.5",
    ]


# What cannot be drawn or read


def table(folder, array, name="fc"):
    run = write_run(folder, [{f"train-saturation/{name}": 0.5}])
    place = run / "npy" / "train-covariance-matrix" / file_name(name)
    place.mkdir(parents=True)
    if array is not None:
        np.save(place / "epoch00000.npy", array)
    return run, place


def recompute(run, *options):
    arguments = ["recompute", str(run), "--threshold", "0.9", *options]
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


@pytest.mark.parametrize("dtype", ["f2", "f4", "<f8", ">f8", ">f4", "longdouble"])
def test_a_matrix_of_any_floats_is_read(tmp_path, dtype):
    run, _ = table(tmp_path, np.diag([8, 1, 1]).astype(dtype))
    result = recompute(run)
    assert result.exit_code == 0
    assert "66.7%" in result.output


@pytest.mark.parametrize("kind", ["pipe", "folder", "circle of links"])
def test_what_is_no_file_is_named(tmp_path, kind):
    run, place = table(tmp_path, None)
    path = place / "epoch00000.npy"
    make = {
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "circle of links": lambda: path.symlink_to(path.name),
    }
    make[kind]()
    result = recompute(run)
    assert (result.exit_code, result.stderr) == (
        1,
        f"Error: {path} is not a plain file; remove it to go on\n",
    )


def test_a_table_holds_names_that_no_encoding_has(tmp_path):
    run, _ = table(tmp_path, np.eye(2), name="half \ud800")
    assert recompute(run, "--csv", str(tmp_path / "t.csv")).exit_code == 0
    assert "half \\ud800" in (tmp_path / "t.csv").read_text()


@pytest.mark.parametrize("several", [False, True])
def test_what_cannot_be_drawn_is_named(tmp_path, several):
    pytest.importorskip("delve_plot")
    row = {"train-saturation/a": 1.7e308, "train-saturation/b": -1.7e308}
    run = str(write_run(tmp_path / "run", [row]))
    arguments = ["plot", *([run] * (1 + several)), "--out", str(tmp_path)]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {run}: saturation cannot be drawn (")
    assert result.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("names", [HOSTILE, ODD], ids=["hostile", "odd"])
def test_any_names_are_drawn(tmp_path, names, recwarn):
    pytest.importorskip("delve_plot")
    run = str(write_hostile_run(tmp_path / "run", names))
    for runs in ([run], [run, run]):
        arguments = ["plot", *runs, "--out", str(tmp_path / "out")]
        result = CliRunner().invoke(main, arguments, catch_exceptions=False)
        assert result.exit_code == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == 4
    assert not recwarn.list
