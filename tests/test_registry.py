"""A file in a room is all it takes; what is not there, and options that do not fit, are refused."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

import basins.nets
from basins import registry
from basins.errors import UserError


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A second folder of `basins.nets`, as if its files lay in the first."""
    monkeypatch.setattr(basins.nets, "__path__", [*basins.nets.__path__, str(tmp_path)])
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("basins.nets.dropped")]:
        del sys.modules[name]


def test_a_file_is_found_under_its_name(room: Path) -> None:
    (room / "dropped.py").write_text("def build(shape, n, *, width=4):\n    return width\n")
    assert registry.find("nets", "dropped", "build")((1, 1, 1), 2, width=7) == 7
    assert registry.module("nets", "dropped", "build").__name__ == "basins.nets.dropped"
    assert {"dropped", "mlp", "resnet", "vgg"} <= set(registry.names("nets", "build"))


def test_folders_and_files_without_the_function_are_not_offered(room: Path) -> None:
    (room / "dropped_help.py").write_text("")
    (room / "dropped_room").mkdir()
    (room / "dropped_room/__init__.py").write_text("def build(): ...\n")
    for name in ("dropped_help", "dropped_room"):
        with pytest.raises(UserError, match=f"no '{name}' in basins/nets/; there are: "):
            registry.find("nets", name, "build")
    assert not {"dropped_help", "dropped_room"} & set(registry.names("nets", "build"))


@pytest.mark.parametrize("name", ["", ".", "mlp.MLP", "../mlp", "mlp.py", "__init__", "os", "MLP"])
def test_an_unknown_name_lists_what_there_is(name: str) -> None:
    with pytest.raises(UserError) as caught:
        registry.find("data.cues", name, "cue", "data.x.cue")
    known = "there are: box, dominoes"
    assert str(caught.value) == f"data.x.cue: no {name!r} in basins/data/cues/; {known}"


def test_a_name_is_split_from_its_options() -> None:
    assert registry.split_options({"name": "mlp", "width": 3}) == ("mlp", {"width": 3})


def example(
    first: int,
    *,
    given: Path,
    size: Annotated[int, Field(ge=1, le=9)],
    rate: float = 0.5,
    kind: Literal["a", "b"] | Annotated[int, Field(ge=0)] = "a",
) -> None: ...


@pytest.mark.parametrize(
    "options", [{"size": 1}, {"size": 9, "rate": 1, "kind": "b"}, {"size": 2, "kind": 7}]
)
def test_options_that_fit_are_taken(options: dict[str, object]) -> None:
    registry.check_options(example, options, "here", given=("given",))


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({}, "here.size: missing"),
        ({"size": 0}, "here.size: 0 is not allowed: Input should be greater than or equal to 1"),
        ({"size": True}, "here.size: True is not allowed: Input should be a valid integer"),
        ({"size": 1, "rate": "x"}, "here.rate: 'x' is not allowed: Input should be a valid number"),
        (
            {"size": 1, "kind": "c"},
            "here.kind: 'c' is not allowed: "
            "Input should be 'a' or 'b' or Input should be a valid integer",
        ),
        ({"size": 1, "first": 2}, "here.first: unknown key; there are: size, rate, kind"),
        ({"size": 1, "given": "/"}, "here.given: unknown key; there are: size, rate, kind"),
        ({"size": 1, "a\nb": 2}, r"here.'a\nb': unknown key; there are: size, rate, kind"),
        ({"size": "x" * 99}, f"here.size: '{'x' * 56}... is not allowed: "),
    ],
)
def test_options_that_do_not_fit_are_named(options: dict[str, object], line: str) -> None:
    with pytest.raises(UserError) as caught:
        registry.check_options(example, options, "here", given=("given",))
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)
