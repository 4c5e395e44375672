"""What a power cut leaves of a folder: what was fsynced, and of the rest what chance will have.

Each file that was not confirmed may be there as it is, in part, with zeros in place of what was
written last, empty, as it was before it was replaced, or not at all, whatever the others are. What
was there at the time of an earlier cut is on the disk. That is more than most file systems do to
their files at once, and less than none of them may.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from support.disk_notes import Confirmed

SECTOR = 512  # bytes that a disk writes at once
JOURNAL = "journal"  # what the names of files begin with that are fsynced


@dataclass(frozen=True)
class _File:
    """One name in the folder, and what may be found there.

    Attributes:
        path: Where.
        now: What it holds; None where it is not there.
        before: What stood there at the last cut.
        standing: What the file there held then, be it under another name.
        earlier: Copies of what has stood there since.
        confirmed: How many of its bytes are on the disk.
        is_named: Whether its name is.
    """

    path: Path
    now: bytes | None
    before: bytes | None
    standing: bytes | None
    earlier: tuple[bytes | None, ...]
    confirmed: int
    is_named: bool

    @property
    def kept(self) -> int:
        """The bytes at its beginning that stand in any case."""
        if self.now is None:
            return 0
        known = [_common(self.now, held) for held in (self.before, self.standing) if held]
        return max(min(self.confirmed, len(self.now)), *known, 0)


@dataclass
class OnDisk:
    """What is on the disk after a cut, and stays there.

    Attributes:
        folder: A copy of the folder.
        contents: By inode of the folder's own files, what they hold.
    """

    folder: Path
    contents: dict[int, bytes] = field(default_factory=dict)

    def take(self, folder: Path) -> None:
        """Note it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(folder, self.folder, symlinks=True)
        self.contents = {path.stat().st_ino: path.read_bytes() for path in _plain(folder)}


@dataclass
class PowerCut:
    """One cut through a folder.

    Args:
        folder: The folder.
        before: What an earlier cut has left.
        confirmed: What the processes since then had confirmed.
        rng: Chooses.

    Attributes:
        done: What became of which file.
    """

    folder: Path
    before: OnDisk
    confirmed: Confirmed
    rng: random.Random
    done: list[str] = field(default_factory=list)

    def apply(self) -> None:
        """Have it happen."""
        share = self.rng.choice((0.1, 0.4, 1.0))  # of the files that meet with something
        for file in list(self._files()):
            is_journal = file.path.name.startswith(JOURNAL)
            if is_journal or self.rng.random() < share:
                self._harm(file, is_journal)
        self._take_new_folders()

    def _files(self) -> Iterator[_File]:
        names = {str(path.relative_to(self.folder)) for path in _plain(self.folder)}
        names |= {str(path.relative_to(self.before.folder)) for path in _plain(self.before.folder)}
        names |= {
            str(Path(path).relative_to(self.folder))
            for path in self.confirmed.earlier
            if Path(path).is_relative_to(self.folder)
        }
        for name in sorted(names):
            path = self.folder / name
            earlier = self.confirmed.earlier.get(str(path), [])
            inode = path.stat().st_ino if path.is_file() else -1
            names_there = self.confirmed.names.get(str(path.parent))
            named = (names_there or {}).get(path.name)
            is_gone_for_good = (
                inode < 0 and names_there is not None and path.name not in names_there
            )
            yield _File(
                path,
                _content(path),
                _content(self.before.folder / name),
                self.before.contents.get(inode),
                tuple(_content(kept) if kept else None for kept in earlier),
                self.confirmed.sizes.get(inode, 0),
                is_named=is_gone_for_good or (inode >= 0 and named == inode),
            )

    def _harm(self, file: _File, is_journal: bool) -> None:
        ways: list[Callable[[_File], bytes | None]] = []
        if file.now is not None and file.kept < len(file.now):
            ways += [_whole, self._cut, self._zeroed, self._with_holes]
            if file.kept == 0 and not is_journal:
                ways.append(_emptied)
        if file.earlier and not file.is_named:
            ways.append(self._earlier)
        if file.before is None and file.now is not None and not file.is_named:
            ways.append(_missing)
        if not ways:
            return
        way = self.rng.choice(ways)
        self._put(file, way(file), way.__name__.strip("_"))

    def _put(self, file: _File, content: bytes | None, how: str) -> None:
        if content == file.now:
            return
        before = "nothing" if file.now is None else f"{len(file.now)} bytes, {file.kept} kept"
        after = "nothing" if content is None else f"{len(content)} bytes"
        self.done.append(f"{file.path.relative_to(self.folder)} {how}: {before} -> {after}")
        if content is None:
            file.path.unlink()
            return
        file.path.parent.mkdir(parents=True, exist_ok=True)
        with file.path.open("r+b" if file.now is not None else "wb") as opened:
            opened.truncate(0)
            opened.write(content)

    def _take_new_folders(self) -> None:
        """Remove what has become empty, and now and then a new folder with all that is in it."""
        for path in sorted(self.folder.iterdir()):
            is_folder = path.is_dir() and not path.is_symlink()
            is_new = not (self.before.folder / path.name).exists()
            if is_folder and is_new and (self.rng.random() < 0.05 or not list(_plain(path))):
                shutil.rmtree(path)
                self.done.append(f"{path.name} is gone")

    def _cut(self, file: _File) -> bytes:
        assert file.now is not None
        return file.now[: self.rng.randint(file.kept, len(file.now))]

    def _zeroed(self, file: _File) -> bytes:
        """As long as it was, with zeros where the end was not written yet, in whole sectors."""
        assert file.now is not None
        sectors = range(-(-file.kept // SECTOR) * SECTOR, len(file.now), SECTOR)
        start = self.rng.choice([file.kept, *sectors])
        return file.now[:start] + bytes(len(file.now) - start)

    def _with_holes(self, file: _File) -> bytes:
        """Some sectors were written and others not, in whatever order."""
        assert file.now is not None
        content = bytearray(file.now)
        for begin in range(file.kept // SECTOR * SECTOR, len(content), SECTOR):
            first, last = max(begin, file.kept), min(begin + SECTOR, len(content))
            if self.rng.random() < 0.5:
                content[first:last] = bytes(last - first)
        return bytes(content)

    def _earlier(self, file: _File) -> bytes | None:
        """What stood there before the last rename, or the one before; the new is still beside."""
        source = self.confirmed.sources.get(str(file.path))
        if source and file.now is not None and self.rng.random() < 0.5:
            Path(source).write_bytes(self._cut(file) if file.kept < len(file.now) else file.now)
        return self.rng.choice([file.before, *file.earlier])


def _whole(file: _File) -> bytes | None:
    return file.now


def _emptied(_file: _File) -> bytes:
    return b""


def _missing(_file: _File) -> None:
    return None


def _common(one: bytes, other: bytes) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() and not path.is_symlink() else None


def _plain(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path
