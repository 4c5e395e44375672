"""The checksums of array files, in a file of their own."""

import json
import os

import pytest

from delve.files.checksums import FILE_NAME, Checksums


@pytest.fixture
def checksums(tmp_path):
    return reopened(tmp_path)


def reopened(folder):
    checksums = Checksums(folder)
    checksums.read()
    return checksums


def lines(folder):
    return [json.loads(line) for line in (folder / FILE_NAME).read_text().splitlines() if line]


def test_what_was_noted_is_known_also_to_the_next_process(tmp_path, checksums):
    checksums.add("a/b/epoch00000.npy", "00000001")
    checksums.add("a/b/epoch00001.npy", "00000002")
    checksums.add("a/b/epoch00000.npy", "00000003")
    for held in (checksums, reopened(tmp_path)):
        assert held.of("a/b/epoch00000.npy") == {"00000001", "00000003"}
        assert held.of("a/b/epoch00001.npy") == {"00000002"}
        assert held.of("a/b/epoch00002.npy") == frozenset()
    assert lines(tmp_path)[0] == {"file": "a/b/epoch00000.npy", "crc32": "00000001"}


@pytest.mark.parametrize("keep", range(1, 48))
def test_a_torn_line_costs_no_other(tmp_path, checksums, keep):
    checksums.add("a", "00000001")
    path = tmp_path / FILE_NAME
    whole = path.stat().st_size
    checksums.add("b", "00000002")
    os.truncate(path, min(whole + keep, path.stat().st_size))
    killed = reopened(tmp_path)
    killed.add("c", "00000003")
    held = reopened(tmp_path)
    assert (held.of("a"), held.of("c")) == ({"00000001"}, {"00000003"})
    assert held.of("b") <= {"00000002"}


@pytest.mark.parametrize(
    "left", [b"", bytes(90), b'{"fi', b'{"file": "a", "cr', b'{"file"' + bytes(9)]
)
def test_what_a_power_cut_leaves_of_the_list_is_ours(tmp_path, left):
    (tmp_path / FILE_NAME).write_bytes(left)
    checksums = reopened(tmp_path)
    assert checksums.is_usable
    checksums.add("b", "00000002")
    assert reopened(tmp_path).of("b") == {"00000002"}


@pytest.mark.parametrize("theirs", [b'{"sha": "1"}\n', b"notes", bytes(9) + b"notes"])
def test_what_is_not_ours_stays(tmp_path, theirs):
    (tmp_path / FILE_NAME).write_bytes(theirs)
    checksums = reopened(tmp_path)
    assert not checksums.is_usable
    checksums.add("b", "00000002")
    assert (tmp_path / FILE_NAME).read_bytes() == theirs


def test_what_is_no_longer_there_is_forgotten(tmp_path, checksums):
    for name in "abc":
        checksums.add(name, "00000001")
    checksums.keep(lambda name: name != "b")
    assert [line["file"] for line in lines(tmp_path)] == ["a", "c"]
    checksums.keep(lambda name: False)
    assert not (tmp_path / FILE_NAME).exists()
    checksums.keep(lambda name: False)
    checksums.add("d", "00000001")
    assert [line["file"] for line in lines(tmp_path)] == ["d"]


@pytest.mark.parametrize(
    "content", [b"theirs\n", b'{"sha": "1"}\n', b"[]\n", b"5", b"\xff\n", b"[" * 100_000]
)
def test_a_file_of_another_program_stays(tmp_path, content):
    path = tmp_path / FILE_NAME
    path.write_bytes(content)
    checksums = reopened(tmp_path)
    assert not checksums.is_usable
    checksums.add("a", "00000001")
    checksums.keep(lambda name: False)
    assert path.read_bytes() == content


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("elsewhere")])
def test_what_is_no_file_is_not_waited_for_nor_followed(tmp_path, make):
    make(tmp_path / FILE_NAME)
    checksums = reopened(tmp_path)
    assert not checksums.is_usable
    checksums.add("a", "00000001")
    assert not (tmp_path / "elsewhere").exists()


def test_a_line_that_the_disk_refuses_costs_no_array(tmp_path):
    checksums = reopened(tmp_path / "missing")
    checksums.add("a", "00000001")
    assert checksums.of("a") == {"00000001"}


@pytest.mark.parametrize(
    "line", ['{"file": 1, "crc32": "0"}', '{"file": "a"}', '{"file": "a", "crc32": [1]}', "null"]
)
def test_a_line_of_another_shape_is_passed_over(tmp_path, checksums, line):
    checksums.add("b", "00000001")
    with (tmp_path / FILE_NAME).open("a") as file:
        file.write(line + "\n")
    held = reopened(tmp_path)
    assert held.of("a") == frozenset()
    assert held.of("b") == {"00000001"}
