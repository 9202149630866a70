"""Find a dataset, cue, net, path, probe, claim or figure by the name of its file.

A room is a package of `basins`; each of its files is registered under the file's name. To add one,
create the file and use its name in `params.yaml`.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Collection, Mapping
from functools import partial
from importlib.util import find_spec
from types import ModuleType, NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from basins.errors import UserError


def names(room: str, function: str | tuple[str, ...]) -> list[str]:
    """Return the names in `room` (such as `nets` or `data.cues`) that define `function`."""
    modules = {name: importlib.import_module(f"basins.{room}.{name}") for name in _files(room)}
    offers = _several(function)
    return [name for name, file in modules.items() if any(hasattr(file, f) for f in offers)]


def find(
    room: str, name: str, function: str | tuple[str, ...], where: str = ""
) -> Callable[..., Any]:
    """Return `function` of the file `name` in `room`, or the first of several that it defines.

    Raises `UserError`, listing the existing names, if there is no such file or function.
    """
    file = module(room, name, function, where)
    return next(getattr(file, f) for f in _several(function) if hasattr(file, f))


def module(room: str, name: str, function: str | tuple[str, ...], where: str = "") -> ModuleType:
    """Return the module `name` of `room`, for rooms whose files define several functions.

    Raises `UserError` as `find` does.
    """
    if is_file(room, name):
        file = importlib.import_module(f"basins.{room}.{name}")
        if any(hasattr(file, f) for f in _several(function)):
            return file
    known = ", ".join(names(room, function)) or "none"
    prefix = f"{where}: " if where else ""
    raise UserError(f"{prefix}no {name!r} in basins/{room.replace('.', '/')}/; there are: {known}")


def split_options(choice: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return a choice's name, and its other keys: the options of the file of that name."""
    return choice["name"], {key: value for key, value in choice.items() if key != "name"}


def keywords(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the keyword-only parameters of a function, which are its options, by name."""
    # Other annotations may name what is imported only for type checkers.
    known = inspect.unwrap(function.func if isinstance(function, partial) else function).__globals__
    options = {}
    for name, p in inspect.signature(function).parameters.items():
        if p.kind is p.KEYWORD_ONLY:
            written = p.annotation
            meant = eval(written, known) if isinstance(written, str) else written
            options[name] = p.replace(annotation=meant)
    return options


def option(function: Callable[..., Any], options: Mapping[str, Any], name: str) -> Any:
    """Return the given option or the function's default; 1 if it has no such option."""
    parameter = keywords(function).get(name)
    return options.get(name, 1 if parameter is None else parameter.default)


def check_options(
    function: Callable[..., Any],
    options: Mapping[str, Any],
    where: str,
    given: Collection[str] = (),
) -> None:
    """Check `options` against the keyword-only parameters of `function`, before any work starts.

    Parameters in `given` come from the caller. Raises `UserError` naming the key, its value
    and what is allowed.
    """
    fields: dict[str, Any] = {
        name: (
            Any if p.annotation is p.empty else p.annotation,
            ... if p.default is p.empty else p.default,
        )
        for name, p in keywords(function).items()
        if name not in given
    }
    strict = ConfigDict(extra="forbid", strict=True)
    model = create_model("Options", __config__=strict, **fields)
    try:
        model.model_validate(dict(options))
    except ValidationError as error:
        raise UserError(explain(error, model, where)) from None


def explain(error: ValidationError, model: type[BaseModel], where: str = "") -> str:
    """Turn pydantic's first error into one line: the key, its value, what is allowed."""
    findings = error.errors()
    kind, location, value = findings[0]["type"], findings[0]["loc"], findings[0]["input"]
    if kind not in ("extra_forbidden", "missing"):
        location = _outside_unions(model, location)
    key = ".".join([*([where] if where else []), *map(_printable, location)]) or "the file"
    if kind == "extra_forbidden":
        known = ", ".join(_keys(model, location[:-1])) or "none"
        return f"{key}: unknown key; there are: {known}"
    if kind == "missing":
        return f"{key}: missing"
    shown = repr(value)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    here = [f["msg"] for f in findings if f["loc"][: len(location)] == location]
    allowed = " or ".join(message.removeprefix("Value error, ") for message in here)
    return f"{key}: {shown} is not allowed: {allowed}"


def _printable(step: int | str) -> str:
    """Return a key as it is, or quoted where it would break the line."""
    return str(step) if str(step).isprintable() else repr(step)


def _outside_unions(model: Any, location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Return a value's location in the file, without the branch of a union that rejected it."""
    for depth, step in enumerate(location):
        model = _present(model)
        if get_origin(model) in (Union, UnionType):
            return location[:depth]
        model = _inside(model, step)
    return location


def _present(model: Any) -> Any:
    """Return T for `T | None`, and other types unchanged."""
    others = [part for part in get_args(model) if part is not NoneType]
    optional = get_origin(model) in (Union, UnionType) and len(others) == 1
    return others[0] if optional else model


def _keys(model: Any, location: tuple[int | str, ...]) -> list[str]:
    """Return the keys that `model` has at `location`."""
    for step in location:
        model = _present(_inside(model, step))
    return list(getattr(model, "model_fields", ()))


def _inside(model: Any, step: int | str) -> Any:
    """Return the type of the value at `step` of a section, a mapping or a list."""
    if isinstance(model, type) and issubclass(model, BaseModel):
        field = model.model_fields.get(str(step))
        return field and field.annotation
    return (get_args(model) or (None,))[-1]


def _several(function: str | tuple[str, ...]) -> tuple[str, ...]:
    return (function,) if isinstance(function, str) else function


def is_file(room: str, name: str) -> bool:
    """Return whether `room` has a file `name`; 40 times faster than listing the folder."""
    if not name.isidentifier() or name.startswith("_"):
        return False
    spec = find_spec(f"basins.{room}.{name}")
    return spec is not None and spec.submodule_search_locations is None


def _files(room: str) -> list[str]:
    package = importlib.import_module(f"basins.{room}")
    return sorted(info.name for info in pkgutil.iter_modules(package.__path__) if not info.ispkg)
