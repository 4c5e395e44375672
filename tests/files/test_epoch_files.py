import pytest
from hypothesis import given
from hypothesis import strategies as st

from delve.errors import WriterConfigurationError
from delve.files.epoch_files import EpochFiles, epoch_file_name, epoch_of


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def epochs(files):
    return {str(p.relative_to(files.path)): set(files.in_place(p)) for p in files.places()}


def held(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


class TestNames:
    @given(st.integers(0, 10**9))
    def test_the_epoch_is_read_off_the_name(self, epoch):
        assert epoch_of(epoch_file_name(epoch, ".npy"), ".npy") == epoch

    def test_names_stand_in_the_order_of_the_epochs(self):
        names = [epoch_file_name(epoch, ".png") for epoch in (0, 9, 10, 999, 99_999)]
        assert names == sorted(names)
        assert names[0] == "epoch00000.png"

    @pytest.mark.parametrize(
        "name",
        [
            "epoch3.npy",
            "epoch000003.npy",
            "epoch00003",
            "epoch00003.png",
            "epoch00003.npy.npy",
            ".epoch00003.npy",
            "epoch00003.npy.tmp",
            "epoch-0003.npy",
            "epoch\u0660\u0660\u0660\u0660\u0660.npy",  # digits, but not those we write
            "epoch.npy",
        ],
    )
    def test_other_names_are_of_no_epoch(self, name):
        assert epoch_of(name, ".npy") is None


class TestListing:
    @pytest.mark.parametrize("names", [("train-saturation",), ("eval-spectrum", "fc")])
    def test_a_place_lists_its_epochs(self, tmp_path, names):
        files = EpochFiles(tmp_path / "new", ".npy", depth=len(names))
        place = files.make_place(*names)
        touch(place / "epoch00000.npy", place / "epoch123456.npy", place / "notes.npy")
        assert epochs(files) == {"/".join(names): {0, 123456}}
        assert files.in_place(place)[0] == place / "epoch00000.npy"

    def test_a_folder_that_is_not_there_holds_nothing(self, tmp_path):
        files = EpochFiles(tmp_path / "new", ".npy")
        assert files.places() == []
        assert files.in_place(tmp_path / "new" / "train-a") == {}
        files.cut(0)

    def test_folders_of_others_are_not_listed(self, tmp_path):
        touch(tmp_path / "mine" / "epoch00000.npy", tmp_path / "train-a" / "epoch00000.npy")
        assert epochs(EpochFiles(tmp_path, ".npy")) == {"train-a": {0}}

    def test_links_are_not_listed(self, tmp_path):
        folder, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
        touch(elsewhere / "epoch00007.npy", folder / "train-a" / "epoch00000.npy")
        (folder / "train-b").symlink_to(elsewhere)
        (folder / "train-a" / "epoch00001.npy").symlink_to(elsewhere / "epoch00007.npy")
        assert epochs(EpochFiles(folder, ".npy")) == {"train-a": {0}}


class TestMaking:
    @pytest.mark.parametrize("linked", ["train-a", "train-a/fc"])
    def test_a_link_is_not_written_through(self, tmp_path, linked):
        folder, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
        elsewhere.mkdir()
        (folder / linked).parent.mkdir(parents=True)
        (folder / linked).symlink_to(elsewhere)
        with pytest.raises(OSError, match="a link in the place of a folder") as raised:
            EpochFiles(folder, ".npy", depth=2).make_place("train-a", "fc")
        assert raised.value.filename == str(folder / linked)
        assert held(elsewhere) == []


class TestCutting:
    def test_the_epochs_below_stay(self, tmp_path):
        place = tmp_path / "train-a" / "fc"
        touch(*(place / epoch_file_name(epoch, ".npy") for epoch in range(5)))
        files = EpochFiles(tmp_path, ".npy", depth=2)
        files.cut(3)
        assert epochs(files) == {"train-a/fc": {0, 1, 2}}

    def test_folders_that_are_left_empty_go(self, tmp_path):
        for layer in ("conv", "fc"):
            touch(tmp_path / "train-a" / layer / "epoch00002.npy")
        touch(tmp_path / "eval-a" / "fc" / "epoch00002.npy", tmp_path / "eval-a" / "notes")
        EpochFiles(tmp_path, ".npy", depth=2).cut(0)
        assert held(tmp_path) == ["eval-a", "eval-a/notes"]

    def test_what_a_crash_left_half_written_goes(self, tmp_path):
        place = tmp_path / "train-a"
        torn = place / ".epoch00001.png.tmp", place / ".heatmap.png.tmp"
        touch(*torn, place / "epoch00001.png", place / ".notes.tmp", place / ".epoch1.png.tmp")
        EpochFiles(tmp_path, ".png", companions=["heatmap.png"]).cut(5)
        assert held(place) == [".epoch1.png.tmp", ".notes.tmp", "epoch00001.png"]

    def test_companions_go_when_asked(self, tmp_path):
        place = tmp_path / "train-a"
        touch(place / "heatmap.png", place / "epoch00001.png")
        files = EpochFiles(tmp_path, ".png", companions=["heatmap.png"])
        files.cut(1)
        assert held(place) == ["heatmap.png"]
        files.cut(1, companions=True)
        assert held(tmp_path) == []

    def test_what_is_not_delves_stays(self, tmp_path):
        others = [
            tmp_path / "epoch00000.npy",
            tmp_path / "mine" / "epoch00000.npy",
            tmp_path / "train-a" / "notes.txt",
            tmp_path / "train-a" / "epoch1.npy",
            tmp_path / "train-a" / "epoch00000.png",
            tmp_path / "train-a" / "deeper" / "epoch00000.npy",
        ]
        touch(*others)
        before = held(tmp_path)
        EpochFiles(tmp_path, ".npy").cut(0)
        assert held(tmp_path) == before

    def test_only_what_is_known_for_delves_is_removed(self, tmp_path):
        """Another program may use the same names."""
        place = tmp_path / "train-a"
        ours, theirs = place / "epoch00003.png", place / "epoch00004.png"
        touch(ours, theirs, place / "heatmap.png", place / "epoch00001.png", place / "map.png")
        touch(place / ".epoch00005.png.tmp")
        known = {ours, place / "epoch00001.png", place / "map.png"}
        files = EpochFiles(
            tmp_path, ".png", companions=["heatmap.png", "map.png"], is_ours=known.__contains__
        )
        files.cut(2, companions=True)
        assert held(place) == ["epoch00001.png", "epoch00004.png", "heatmap.png"]

    def test_an_empty_folder_of_another_program_stays(self, tmp_path):
        (tmp_path / "train-a" / "fc").mkdir(parents=True)
        EpochFiles(tmp_path, ".npy", depth=2).cut(0)
        assert held(tmp_path) == ["train-a", "train-a/fc"]

    def test_links_are_neither_followed_nor_removed(self, tmp_path):
        folder, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
        touch(elsewhere / "epoch00007.npy", elsewhere / "fc" / "epoch00007.npy")
        (folder / "train-a").mkdir(parents=True)
        (folder / "train-a" / "fc").symlink_to(elsewhere)
        (folder / "train-b").symlink_to(elsewhere)
        before = held(tmp_path)
        EpochFiles(folder, ".npy", depth=2).cut(0)
        assert held(tmp_path) == before

    def test_a_link_in_place_of_the_folder_is_the_users_to_mend(self, tmp_path):
        touch(tmp_path / "elsewhere" / "train-a" / "epoch00000.npy")
        (tmp_path / "plots").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(WriterConfigurationError, match="plots is a link"):
            EpochFiles(tmp_path / "plots", ".npy").cut(0)
        assert (tmp_path / "elsewhere" / "train-a" / "epoch00000.npy").exists()
