"""Items are made by the code in their keys: an edit during a run stores nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from basins import code
from basins.errors import UserError
from basins.item import Item, Step, get, runner
from basins.store import Store
from tests.paths.test_points import nothing

DEVICES = Path(code.__file__).with_name("devices.py")


@dataclass(frozen=True)
class Empty(Item):
    name: str
    kind: ClassVar[str] = "empty"
    device = torch.device("cpu")

    def decides(self) -> dict[str, Any]:
        return {"item": self.name}

    def make(self, folder: Path, step: Step) -> None:
        (folder / "a.txt").touch()


class Edits(Empty):
    """An item during whose making code is edited."""

    def make(self, folder: Path, step: Step) -> None:
        super().make(folder, step)
        code.started[DEVICES] = None


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(code.started, DEVICES, code.started[DEVICES])
    return Store().root / "empty"


@pytest.mark.parametrize("workers", [1, 2])
def test_code_edited_since_the_start_stores_nothing_in_any_process(
    workers: int, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(code.started, DEVICES, None)  # a worker's own stamps are those of now
    with pytest.raises(UserError, match=r"devices.py: edited during the run; start it again"):
        runner(workers)([Empty("a"), Empty("b")], title="make")
    assert not store.exists()


def test_code_edited_while_an_item_is_made_stores_nothing(store: Path) -> None:
    with pytest.raises(UserError, match=r"devices.py: edited during the run"):
        get(Edits("a"), nothing)
    assert not store.exists()


def test_other_edits_do_not_matter(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(code.started, DEVICES.with_name("__main__.py"), None)
    get(Empty("a"), nothing)
    assert len(list(store.iterdir())) == 1
