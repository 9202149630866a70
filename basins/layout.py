"""The project's layout: the folders of models, and the settings that each stage reads."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from basins.settings import Params
from basins.settings.measures import Merge
from basins.settings.models import Classification, Recipe
from basins.store import folder_hash, seal, whole_file, whole_folder

MODELS, LOSSES = Path("models"), Path("losses")
TOGETHER = ("probe", "plane", "merge", "sharpness", "aspect", "toy", "clusters")
"""Sections whose entries share one stage, as each takes only seconds, like a stage's overhead."""
EACH = ("data", "pretrain", "train", "finetune", "classify", "connect", "race")
"""Sections whose entries are separate stages."""
AT_END = {
    "analyze": (),
    "claims": ("claims",),
    "figures": ("figures",),
    "report": ("tables", "figures"),
}
"""The stages that read all rows, and their sections."""


def reports(params: Params) -> Path:
    """Return the folder of a profile's results."""
    return Path("reports") / params.profile


def results(params: Params, kind: str = "") -> Path:
    """Return the folder of a profile's rows, or of rows of one kind."""
    return reports(params) / "results" / kind


def data(name: str) -> Path:
    """Return the folder of a dataset."""
    return Path("data") / name


def stages(params: Params) -> Iterator[tuple[str, str, list[Any] | None]]:
    """Yield the name of every stage, the name of its script, and the settings that it reads.

    The settings are its entry in the params and, recursively, the entries that this names: its
    dataset, the recipes of its models, and their origins. They are None for an empty section.
    """
    for section in EACH:
        for key in getattr(params, section):
            yield f"{section}@{key}", section, _related(params, [(section, key)])
    for script, sections in {**{name: (name,) for name in TOGETHER}, **AT_END}.items():
        entries = [(section, key) for section in sections for key in getattr(params, section)]
        yield script, script, _related(params, entries) if entries or not sections else None


def _related(params: Params, entries: list[tuple[str, str]]) -> list[Any]:
    seen: dict[tuple[str, str], Any] = {}
    waiting = [*entries]
    while waiting:
        section, key = waiting.pop()
        if (section, key) not in seen:
            entry = getattr(params, section)[key]
            plain = entry.model_dump() if isinstance(entry, BaseModel) else entry
            seen[section, key] = plain
            words = {word.partition("/")[0] for word in _words(plain)} | {key}
            waiting += [(of, word) for of in EACH for word in words & getattr(params, of).keys()]
    return [seen[place] for place in sorted(seen)]


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _words(inner)


def lay_out(
    params: Params, name: str, items: Iterable[tuple[Path, str]], lay: Callable[[Path, Path], None]
) -> None:
    """Replace a folder of models as a whole; `lay(item, folder)` copies each item.

    Its hash is stored with the rows: stages that read many recipes depend on the hashes, which
    exist in a clone without models, too.
    """
    with whole_folder(MODELS / name) as folder:
        for item, place in items:
            lay(item, folder / place)
        seal(folder)
    with whole_file(results(params, "models") / f"{name}.json") as file:
        file.write_text(json.dumps({"sha256": folder_hash(MODELS / name)}, indent=1) + "\n")


def recipe(params: Params, name: str) -> Recipe:
    """Return the recipe of that name, or that from which the group of that name starts."""
    return params.train[params.finetune[name].start if name in params.finetune else name]


def classified(params: Params) -> dict[str, Classification]:
    """Return the recipes of text classifiers, by name of models: `<recipe>[/<variant>]`."""
    return {
        "/".join(filter(None, [name, label])): part
        for name, made in params.classify.items()
        for label, part in made.parts().items()
    }


def recipes(params: Params) -> list[str]:
    """Return the names of models in rows: a recipe, or `<recipe>/<part>`."""
    tuned = [f"{name}/{method}" for name, g in params.finetune.items() for method in g.methods]
    texts = classified(params)
    early = [f"{name}/{step}" for name, made in texts.items() for step in made.steps]
    return [*params.train, *tuned, *texts, *early]


def keys(params: Params) -> list[str]:
    """Return all keys that a label may name: entries of sections, and models as in rows."""
    return [
        *recipes(params),
        *(key for part in (*EACH, *TOGETHER) for key in getattr(params, part)),
    ]


def matching(label: str, known: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the keys that a label is for, with what its parts in braces stand for in each."""
    pattern = re.sub(r"{(\w+)}", r"(?P<\1>\\w+)", label)
    found = {key: re.fullmatch(pattern, key) for key in known}
    return {key: match.groupdict() for key, match in found.items() if match}


def labels(params: Params) -> dict[str, str]:
    """Return the words of every key that has a label; of two labels for a key, the later counts.

    `cued_{share}: cue-trained, {share} %` is for `cued_60`, whose words are "cue-trained, {60} %".
    """
    known = keys(params)
    return {
        key: re.sub(r"{(\w+)}", lambda part, own=own: f"{{{own.get(part[1], part[1])}}}", words)
        for label, words in params.labels.items()
        for key, own in matching(label, known).items()
    }


def starts_from(params: Params, models: str) -> Any:
    """Return what the models with that name share: a net, or the encoder's name."""
    name = models.partition("/")[0]
    if name in params.classify:
        return starts_from(params, params.classify[name].encoder)
    return name if name in params.pretrain else recipe(params, name).net


def merged(params: Params, merge: Merge) -> list[tuple[tuple[Path, ...], Path | None]]:
    """Return the sets of models of a merge, at least two models each, and each set's base."""
    every = [path for name in merge.models for path in models(params, name)]
    if merge.sets == "seed":
        seeds = dict.fromkeys(path.name for path in every)
        sets = [tuple(path for path in every if path.name == seed) for seed in seeds]
    else:
        sets = list(zip(*[iter(every)] * merge.sets, strict=False))  # without the remainder
    kept = [group for group in sets if len(group) > 1]
    return [(group, _base(params, merge.base, group[0].name)) for group in kept]


def _base(params: Params, name: str | None, seed: str) -> Path | None:
    if name is None:
        return None
    alone = name in params.pretrain or bool(re.fullmatch(r".+/seed\d+", name))
    return MODELS / name / ("" if alone else seed)


def origins(params: Params, name: str, tunes: Callable[[str], bool]) -> list[Path | None]:
    """Return what each of the models with that name was fine-tuned from, or None if from scratch.

    `tunes` says whether a method, given by name, starts from a trained model.
    """
    owner = name.partition("/")[0]
    if owner in params.classify:
        return [MODELS / params.classify[owner].encoder] * len(models(params, name))
    if owner not in params.finetune:
        return [None] * len(models(params, name))
    group, start = params.finetune[owner], MODELS / params.finetune[owner].start
    tuned = {label: tunes(method.name) for label, method in group.methods.items()}
    return [start / path.name if tuned[path.parent.name] else None for path in models(params, name)]


def early(params: Params, name: str) -> dict[int, list[Path]]:
    """Return the folders of early checkpoints of the models with that name, by number of steps."""
    made = classified(params).get(name)
    return {
        int(step.removeprefix("step")): models(params, f"{name}/{step}")
        for step in (made.steps if made else [])
    }


def models(params: Params, name: str) -> list[Path]:
    """Return the folders of the models with that name: of a recipe, a group, or a part of one.

    They are `models/<recipe>/seed<k>`, `models/<group>/<method>/seed<k>`, and for classifiers
    `models/<recipe>[/<variant>][/<step>]/seed<k>`; a group includes all its methods, a recipe all
    its variants.
    """
    owner, _, part = name.partition("/")
    if owner in params.classify:
        seeds = {}
        for label, made in classified(params).items():
            if label == name or (label.startswith(f"{name}/") and not part):
                seeds[label] = made.streams
            elif name.startswith(f"{label}/"):  # an early step
                seeds[name] = made.streams
    elif owner in params.finetune:
        labels = [part] if part else params.finetune[owner].methods
        seeds = {f"{owner}/{label}": recipe(params, owner).seeds for label in labels}
    else:
        seeds = {name: params.train[name].seeds}
    return [MODELS / folder / f"seed{k}" for folder in seeds for k in seeds[folder]]
