"""Finished items are found again, half-written ones never; damage is noticed; code counts."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from basins.errors import UserError
from basins.store import (
    Store,
    copy_item,
    file_hash,
    folder_hash,
    seal,
    whole_file,
    whole_folder,
)
from tests.processes import first_line

KEY = {"seed": 1, "net": {"name": "mlp"}}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"no mount command: {error}")
    if mounted.returncode:
        pytest.skip(f"mounting a small disk is not allowed here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def make(store: Store, key: dict = KEY, content: str = "weights") -> Path:
    with store.making("train", key) as folder:
        (folder / "a.txt").write_text(content)
        (folder / "b.txt").write_text("log")
    return store.folder("train", key)


def leftovers(store: Store) -> list[Path]:
    return list((store.root / "tmp").iterdir())


def test_an_item_is_found_again_by_its_key(store: Store) -> None:
    assert store.find("train", KEY) is None
    folder = make(store)
    assert store.find("train", KEY) == folder
    assert Store(store.root).find("train", dict(reversed(KEY.items()))) == folder
    assert (folder / "a.txt").read_text() == "weights"
    assert store.find("paths", KEY) is None
    for other in ({}, KEY | {"seed": 2}, KEY | {"seed": "1"}, KEY | {"x": None}):
        assert store.find("train", other) is None
    assert leftovers(store) == []


def test_copies_of_a_project_may_share_a_store(tmp_path, monkeypatch) -> None:
    make(Store(tmp_path / "shared"))
    monkeypatch.chdir(tmp_path)
    assert Store().find("train", KEY) is None
    monkeypatch.setenv("BASINS_STORE", str(tmp_path / "shared"))
    assert Store().find("train", KEY) is not None


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_nothing(store: Store, failure: type[BaseException]) -> None:
    with pytest.raises(failure), store.making("train", KEY) as folder:
        (folder / "a.txt").write_text("half")
        raise failure
    assert store.find("train", KEY) is None
    assert not store.folder("train", KEY).exists()
    assert leftovers(store) == []


def test_what_a_killed_process_left_is_swept_and_what_a_live_one_has_is_not(store: Store) -> None:
    code = (
        "import sys, time; from pathlib import Path; from basins.store import Store\n"
        f"with Store(Path(sys.argv[1])).making('train', {KEY!r}) as folder:\n"
        "    (folder / 'a.txt').write_text('half'); print('ready', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(store.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert first_line(process) == "ready\n"
        finally:
            process.kill()
    assert store.find("train", KEY) is None
    assert [path.name.partition("-")[0] for path in leftovers(store)] == [str(process.pid)]
    mine = store.root / "tmp" / f"{os.getpid()}-mine"
    mine.mkdir()
    make(store)
    assert store.find("train", KEY)
    assert leftovers(store) == [mine]


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


@pytest.mark.parametrize("name", ["a.txt", "b.txt", "item.json"])
@pytest.mark.parametrize("harm", [flip, truncate, Path.unlink, lambda file: file.write_bytes(b"")])
def test_a_damaged_item_is_named_and_deleted(store, name, harm, capsys) -> None:
    folder = make(store)
    kept = make(store, KEY | {"seed": 2})
    harm(folder / name)
    assert store.find("train", KEY) is None
    if (name, harm) != ("item.json", Path.unlink):  # without its manifest it never was an item
        assert capsys.readouterr().err == f"{folder}: damaged, making it again\n"
        assert not folder.exists()
    make(store)
    assert store.find("train", KEY) == folder
    assert store.find("train", KEY | {"seed": 2}) == kept


def test_two_processes_may_make_the_same_items(store: Store, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from basins.store import Store\n"
        "store, go = Store(Path(sys.argv[1])), Path(sys.argv[2])\n"
        "print('ready', flush=True)\n"
        "while not go.exists(): pass\n"
        "for seed in [*range(100)] + [0] * 100:\n"
        "    with store.making('train', {'seed': seed}) as folder:\n"
        "        (folder / 'a.txt').write_text('same')\n"
    )
    command = [sys.executable, "-c", code, str(store.root), str(tmp_path / "go")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=-1) for _ in range(2)]
    try:
        for process in running:
            assert first_line(process) == "ready\n"
        (tmp_path / "go").touch()
        for process in running:
            assert process.communicate(timeout=60)[1] == b""
            assert process.returncode == 0
    finally:
        for process in running:
            process.kill()  # without the other it waits for ever
    for seed in range(100):
        found = store.find("train", {"seed": seed})
        assert found is not None
        assert (found / "a.txt").read_text() == "same"
    assert leftovers(store) == []


def test_a_copy_has_the_files_without_the_manifest(store: Store, tmp_path: Path) -> None:
    copy_item(make(store), tmp_path / "models/seed1")
    copied = {path.name: path.read_text() for path in (tmp_path / "models/seed1").iterdir()}
    assert copied == {"a.txt": "weights", "b.txt": "log"}


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target, scratch = tmp_path / "models/x", tmp_path / "scratch"
    for name in ("old", "new"):
        with whole_folder(target, scratch) as folder:
            (folder / name).mkdir()
            (folder / name / "file").write_text(name)
    assert [path.name for path in target.rglob("*")] == ["new", "file"]
    assert target.stat().st_mode & 0o777 == 0o755
    with pytest.raises(RuntimeError), whole_folder(target, scratch) as folder:
        (folder / "half").write_text("half")
        raise RuntimeError
    assert [path.name for path in target.rglob("*")] == ["new", "file"]
    assert list((scratch / "tmp").iterdir()) == []


def test_interrupted_as_soon_as_it_is_there_a_folder_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = Path.mkdir

    def interrupted(self: Path, *args: Any, **options: Any) -> None:
        there(self, *args, **options)
        if self.parent.name == "tmp":
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, "mkdir", interrupted)
    with pytest.raises(KeyboardInterrupt), whole_folder(tmp_path / "x", tmp_path / "scratch"):
        pytest.fail("it goes on")
    assert list((tmp_path / "scratch" / "tmp").iterdir()) == []


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "results/x.csv"
    for content in ("old", "new"):
        with whole_file(target) as file:
            file.write_text(content)
    with pytest.raises(RuntimeError), whole_file(target) as file:
        file.write_text("half")
        raise RuntimeError
    assert target.read_text() == "new"
    assert list(target.parent.iterdir()) == [target]


def test_a_file_that_a_killed_process_began_is_swept_and_a_live_ones_is_not(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from basins.store import whole_file\n"
        "with whole_file(Path(sys.argv[1])) as file:\n    file.touch(); os._exit(3)"
    )
    target = tmp_path / "rows.csv"
    subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    [begun] = tmp_path.iterdir()
    host = begun.name.partition("-")[2]
    kept = {tmp_path / f".rows.csv.{os.getppid()}-{host}", tmp_path / ".rows.csv.1-elsewhere-"}
    for other in kept:
        other.touch()
    with whole_file(target) as file:
        file.touch()
    assert {*tmp_path.iterdir()} == {target, *kept}


def test_a_sealed_folder_refuses_what_was_not_written(tmp_path: Path) -> None:
    folder = tmp_path / "sealed"
    (folder / "seed0").mkdir(parents=True)
    (folder / "seed0" / "a.txt").write_text("weights")
    before = folder_hash(folder)
    seal(folder)
    assert folder_hash(folder) == before  # the list is no content
    assert file_hash(folder / "seed0" / "a.txt")
    flip(folder / "seed0" / "a.txt")
    for damaged in (lambda: file_hash(folder / "seed0" / "a.txt"), lambda: folder_hash(folder)):
        with pytest.raises(UserError, match="seed0/a.txt: damaged"):
            damaged()


def test_a_full_disk_leaves_the_old_content(small_disk: Path) -> None:
    target, store = small_disk / "x.csv", Store(small_disk / "store")
    target.write_text("old")
    make(store)
    with pytest.raises(OSError) as caught, whole_file(target) as file:
        file.write_bytes(bytes(1 << 20))
    assert caught.value.errno == errno.ENOSPC
    assert target.read_text() == "old"
    assert {path.name for path in small_disk.iterdir()} == {"x.csv", "store"}
    with pytest.raises(OSError) as caught:
        make(store, KEY, "x" * (1 << 20))
    assert caught.value.errno == errno.ENOSPC
    found = store.find("train", KEY)
    assert found is not None
    assert (found / "a.txt").read_text() == "weights"
    assert leftovers(store) == []


def test_a_folder_hash_is_of_names_and_content(tmp_path: Path) -> None:
    def hashed(name: str, files: dict[str, str]) -> str:
        for file, content in files.items():
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_text(content)
        return folder_hash(tmp_path / name)

    base = hashed("a", {"x": "1", "y/z": "2"})
    assert hashed("b", {"y/z": "2", "x": "1"}) == base
    others = [{"x": "1"}, {"x": "1", "y/z": "3"}, {"x": "1", "yz": "2"}, {"x": "2", "y/z": "1"}]
    hashes = {hashed(f"c{i}", files) for i, files in enumerate(others)}
    assert len(hashes | {base}) == 1 + len(others)
