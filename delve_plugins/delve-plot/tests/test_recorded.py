"""Figures of recorded runs, as ``delve plot`` draws them."""

import re

import pytest
from delve_plot import recorded as recorded_figures
from delve_plot import saturation_figure
from delve_plot.recorded import draw_comparison, draw_run
from plotted_runs import saturations, write_run

from delve.cli import Choice, layer_table, read_recorded
from delve.errors import ArgumentError

SATURATION = Choice("saturation")
TAIL = dict(zip("abcdef", (0.8, 0.9, 0.7, 0.1, 0.05, 0.9), strict=True))
FLAT = dict.fromkeys("abcdef", 0.5)


def run(folder, *rows):
    return read_recorded(write_run(folder, rows))


def size(path):
    """Width and height of a PNG file in pixels, from its header."""
    header = path.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(header[16:20]), int.from_bytes(header[20:24])


def without_digest(path):
    """A file's name without the letters that tell its runs from others of the same name."""
    name, digests = re.subn(r"-[0-9a-f]{6}(?=-)", "", path.name)
    assert digests == 1
    return name


def test_a_run_is_drawn_at_one_epoch_and_over_all(tmp_path):
    recorded = run(tmp_path, saturations(TAIL), {"rare": 1.0}, saturations({"a": 0.5}))
    drawn = list(draw_run(recorded, "a/run", [SATURATION], tmp_path / "new" / "folder", 0))
    assert [without_digest(path) for path in drawn] == [
        "a-run-saturation.png",
        "a-run-train-saturation-heatmap.png",
        "a-run-eval-saturation-heatmap.png",
    ]
    assert all(min(size(path)) > 200 for path in drawn)


def test_runs_of_one_name_have_files_of_their_own_and_a_run_always_the_same(tmp_path):
    runs = [run(tmp_path / name / "r18", saturations(FLAT)) for name in ("a", "b")]
    first, second, again = (
        set(draw_run(one, "r18", [SATURATION], tmp_path / "same")) for one in (*runs, runs[0])
    )
    assert not first & second
    assert first == again
    pairs = [
        draw_comparison([*runs, *more], ["r18"] * (2 + len(more)), SATURATION, tmp_path)
        for more in ([], runs)
    ]
    assert pairs[0] != pairs[1]


@pytest.mark.parametrize("name", ["r18", "a-very-long-name-of-a-run-" * 4])
def test_the_title_names_the_run(tmp_path, name):
    figure = saturation_figure({}, epoch=3)
    lines = len(figure.get_suptitle().split("\n"))
    recorded_figures._named(figure, name)
    begun, _, title = figure.get_suptitle().partition(": ")
    assert title == "Saturation, train, epoch 3"
    assert begun == name or (begun and begun.split("…")[-1] in name)
    assert len(figure.get_suptitle().split("\n")) == lines
    figure.draw_without_rendering()
    extent = next(t for t in figure.texts if t.get_text() == figure.get_suptitle())
    assert extent.get_window_extent().width <= figure.bbox.width


def test_the_eigenvalues_share_a_figure(tmp_path):
    row = {
        f"{mode}-spectrum-{n}/{layer}": 10.0**-n
        for mode in ("train", "eval")
        for layer in "ab"
        for n in range(1, 6)
    }
    recorded = run(tmp_path, row, row)
    choices = [Choice(f"spectrum-{n}") for n in range(1, 6)]
    drawn = [without_digest(path) for path in draw_run(recorded, "a", choices, tmp_path)]
    assert drawn == [
        "a-spectrum.png",
        "a-train-spectrum-heatmap.png",
        "a-eval-spectrum-heatmap.png",
    ]


def test_the_tail_lies_on_a_coloured_ground_and_is_explained(tmp_path):
    table = layer_table(run(tmp_path, saturations(TAIL)), SATURATION)
    figure = saturation_figure(recorded_figures._metrics([table]), table.layers)
    recorded_figures._mark_tail(figure, table)
    for axes in figure.axes:
        (span,) = axes.patches
        low, high = span.get_y(), span.get_y() + span.get_height()  # type: ignore[attr-defined]
        assert [layer for place, layer in enumerate(table.layers) if low < place < high] == [
            "d",
            "e",
        ]
    assert "2006.08679" in figure.get_supxlabel()


BROKEN = dict.fromkeys("abc", 0.8) | {"d": 0.1, "e": float("nan"), "f": 0.05, "g": 0.9}


def test_a_tail_layer_that_is_not_finite_has_no_ground(tmp_path):
    table = layer_table(run(tmp_path, saturations(BROKEN)), SATURATION)
    alone = saturation_figure(recorded_figures._metrics([table]), table.layers)
    recorded_figures._mark_tail(alone, table)
    grounds = [(p.get_y(), p.get_y() + p.get_height()) for p in alone.axes[0].patches]  # type: ignore[attr-defined]
    assert grounds == [(2.5, 3.5), (4.5, 5.5)]


@pytest.mark.parametrize("second", [{"x": 0.5}, FLAT, {"a": float("nan")}])
def test_any_runs_can_be_drawn_together(tmp_path, second):
    recorded = [
        run(tmp_path / "1", saturations(TAIL)),
        run(tmp_path / "2", saturations(second, modes=["train"])),
    ]
    path = draw_comparison(recorded, ["$1", "b" * 90], SATURATION, tmp_path)
    assert path.name.endswith("-saturation.png")
    assert min(size(path)) > 200


def test_a_run_that_lacks_the_statistic_is_named(tmp_path):
    recorded = run(tmp_path, saturations(FLAT))
    with pytest.raises(ArgumentError, match="holds no stable-rank of any epoch"):
        draw_comparison([recorded] * 2, ["a", "b"], Choice("stable-rank"), tmp_path)


def test_the_users_matplotlib_settings_change_no_figure(tmp_path, monkeypatch):
    import matplotlib as mpl

    def drawn(name):
        folder = tmp_path / name
        draw_comparison([recorded] * 2, ["a", "b"], SATURATION, folder)
        list(draw_run(recorded, "a", [SATURATION], folder))
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    recorded = run(tmp_path, saturations(TAIL))
    plain = drawn("plain")
    monkeypatch.setenv("PATH", "")  # without LaTeX, if the machine has it
    theirs = {"text.usetex": True, "figure.facecolor": "black", "font.size": 31.0}
    with mpl.rc_context(theirs):
        assert drawn("changed") == plain
        assert all(mpl.rcParams[key] == value for key, value in theirs.items())
    assert len(plain) == 4


def test_files_of_many_runs_have_short_names_that_tell_what_is_in_them(tmp_path):
    recorded = [run(tmp_path / str(n), saturations(FLAT)) for n in range(3)]
    names = [f"a-name-of-some-length-{n}" for n in range(3)]
    few = draw_comparison(recorded[:2], names[:2], SATURATION, tmp_path)
    many = draw_comparison(recorded, names, SATURATION, tmp_path)
    inside = draw_comparison(recorded, names, Choice("saturation", ("eval",)), tmp_path, within="s")
    assert [without_digest(path) for path in (few, many, inside)] == [
        f"{names[0]}-{names[1]}-saturation.png",
        "3-runs-saturation.png",
        "s-3-runs-eval-saturation.png",
    ]
    assert many.name.split("-")[2] == inside.name.split("-")[3], "the same runs"


def test_a_file_that_delve_did_not_draw_stays(tmp_path):
    recorded = run(tmp_path / "run", saturations(FLAT))
    first = draw_comparison([recorded] * 2, ["a", "b"], SATURATION, tmp_path)
    assert draw_comparison([recorded] * 2, ["a", "b"], SATURATION, tmp_path) == first
    theirs = first.with_name("theirs.png")
    theirs.write_bytes(first.read_bytes().replace(b"Delve's plot writer", b"somebody else's plt"))
    before = theirs.read_bytes()
    first.unlink()
    theirs.rename(first)
    again = draw_comparison([recorded] * 2, ["a", "b"], SATURATION, tmp_path)
    assert again == first.with_stem(f"{first.stem}-delve")
    assert first.read_bytes() == before
    first.unlink()
    first.symlink_to(again)
    assert draw_comparison([recorded] * 2, ["a", "b"], SATURATION, tmp_path) == again
    assert first.is_symlink()


BLOCKS = {f"blocks.{b}.{end}": 0.1 * b for b in range(5) for end in ("q", "k", "v")}


def test_one_run_of_many_layers_that_repeat_is_drawn_by_type_too(tmp_path):
    recorded = run(tmp_path / "run", saturations(BLOCKS))
    shown = {
        by: [without_digest(p) for p in draw_run(recorded, "a", [SATURATION], tmp_path, by=by)]
        for by in (None, "layer", "type")
    }
    heatmaps = ["a-train-saturation-heatmap.png", "a-eval-saturation-heatmap.png"]
    assert shown == {
        None: ["a-saturation.png", "a-saturation-by-type.png", *heatmaps],
        "layer": ["a-saturation.png", *heatmaps],
        "type": ["a-saturation-by-type.png", *heatmaps],
    }
    with pytest.raises(ArgumentError, match="no blocks that repeat"):
        list(
            draw_run(run(tmp_path / "2", saturations(FLAT)), "a", [SATURATION], tmp_path, by="type")
        )
