"""Read every setting of a run once, from `params.yaml`, and check it before any work starts.

An invalid file is rejected in one line that names the key, its value and what is allowed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from basins import layout
from basins.errors import UserError
from basins.registry import check_options, explain, find, module
from basins.settings import Params
from basins.settings.measures import Experiment, Merge, Race, Sharpness
from basins.settings.models import Data
from basins.settings.values import Choice

# What an entry of each section chooses: its field ("" where the entry is itself the choice), the
# package of the file with that name, and the function whose keyword arguments are the options (or
# the functions, of which the file has one).
ALIGNS = ("align", "align_all")
PATHS = [("paths", "paths", ("fit", "coefficients")), ("alignments", "align", ALIGNS)]
CHOICES: dict[str, list[tuple[str, str, str | tuple[str, ...]]]] = {
    "data": [("", "data", "load"), ("cue", "data.cues", "cue")],
    "train": [("net", "nets", "build"), ("method", "training", "train")],
    "finetune": [("methods", "training", ("finetune", "train"))],
    "pretrain": [
        ("net", "nets", "build_text"),
        ("vocabulary", "data", "tokenizer"),
        ("method", "training", ("pretrain", "bring")),
    ],
    "classify": [("method", "training", "tune")],
    "connect": PATHS,
    "race": PATHS,
    "plane": [],
    "merge": [("alignments", "align", ALIGNS), ("techniques", "merges", "merge")],
    "sharpness": [],
    "aspect": [("aspect", "landscape", "measure")],
    "probe": [("diagnostic", "probes", "measures")],
    "clusters": [],
    "toy": [("", "toys", "run")],
    "figures": [("", "figures", "draw")],
    "tables": [("", "tables", "table")],
}
SECTIONS = (*CHOICES, "claims")
LISTED = 16  # at most so many names in an error
# Arguments that the caller gives, not the file.
GIVEN = ("root", "generator", "correlations", "net", "data", "protocol", "sentences")


def read(path: Path = Path("params.yaml"), check: Collection[str] = SECTIONS) -> Params:
    """Read, type and cross-check a params file.

    Checking a section's options imports the packages that it chooses from, which takes seconds; so
    a stage passes as `check` only the sections that it uses. Raises `UserError` at the first error.
    """
    try:
        content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run from the project's folder") from None
    except (OSError, YAMLError, ValueError, LookupError, RecursionError) as error:
        # A value that does not fit its YAML type (a 13th month) is a plain ValueError or KeyError.
        raise UserError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from None
    try:
        return checked(content, check)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def checked(content: Any, check: Collection[str] = SECTIONS) -> Params:
    """Type and cross-check the content of a params file; see `read`."""
    try:
        params = Params.model_validate(content)
    except ValidationError as error:
        raise UserError(explain(error, Params)) from None
    if params.executor == "dask" and not params.scheduler:
        raise UserError("scheduler: missing; executor dask needs its address: tcp://host:8786")
    for section in check:
        if section == "claims":
            _check_claims(params)
        else:
            _check_options(params, section)
    _check_names(params)
    _check_labels(params)
    return params


def pick(section: dict[str, Any], name: str, where: str) -> Any:
    """Return `section[name]`, or raise `UserError` that lists known names, the closest first."""
    known = list(section)
    if name not in known:  # an option's value need not be hashable
        if len(known) > LISTED:
            nearest = get_close_matches(str(name), known, LISTED, cutoff=0)
            known = [*nearest, f"{len(known) - LISTED} others"]
        raise UserError(f"{where}: no {name!r}; there are: {', '.join(known) or 'none'}")
    return section[name]


def _check_names(params: Params) -> None:
    """Check that every dataset, recipe and experiment that the file names is defined in it."""
    for key, recipe in params.train.items():
        pick(params.data, recipe.data, f"train.{key}.data")
    for key, group in params.finetune.items():
        start = pick(params.train, group.start, f"finetune.{key}.start")
        if group.data != start.data:
            trained = f"but {group.start} was trained on {start.data!r}"
            raise UserError(f"finetune.{key}.data: {group.data!r}, {trained}")
    owners = [*params.train, *params.finetune, *params.pretrain, *params.classify]
    if both := sorted(name for name in owners if owners.count(name) > 1):
        raise UserError(f"{both[0]}: two recipes have this name and the folder models/{both[0]}")
    for key, encoder in params.pretrain.items():
        pick(params.data, encoder.data, f"pretrain.{key}.data")
    for key, made in params.classify.items():
        pick(params.data, made.data, f"classify.{key}.data")
        _check_encoder(params, key, made.encoder)
    models = dict.fromkeys([*layout.recipes(params), *params.finetune, *params.classify])
    experiments = {f"connect.{key}": found for key, found in params.connect.items()}
    experiments |= {f"race.{key}": found for key, found in params.race.items()}
    for where, experiment in experiments.items():
        for end in ("start", "end"):
            pick(models, getattr(experiment, end), f"{where}.{end}")
        pick(params.data, experiment.data, f"{where}.data")
        _check_pairs(params, experiment, where)
        _check_protocol(experiment, where)
    folders = dict.fromkeys(
        path.relative_to("models").as_posix()
        for name in models
        for path in layout.models(params, name)
    )
    for key, plane in params.plane.items():
        where = f"plane.{key}"
        pick(params.data, plane.data, f"{where}.data")
        for model in plane.models:
            pick(folders, model, f"{where}.models")
        first, *others = (
            layout.starts_from(params, model.rpartition("/")[0]) for model in plane.models
        )
        if any(other != first for other in others):
            raise UserError(f"{where}.models: different nets; a plane joins models of one net")
        if (len(plane.models) == 3) != (plane.directions == "models"):
            wrong = f"{plane.directions!r} for {len(plane.models)} models; three need 'models'"
            raise UserError(f"{where}.directions: {wrong}, fewer 'random' or 'hessian'")
        if plane.directions != "models" and plane.batchnorm == "repair":
            raise UserError(f"{where}.batchnorm: repair applies only to mixtures of trained models")
        if (plane.calibration is None) != (plane.batchnorm == "interpolate"):
            wrong = "missing" if plane.calibration is None else "unused with interpolate"
            raise UserError(f"{where}.calibration: {wrong}")
    for key, merge in params.merge.items():
        _check_merge(params, key, merge, models, folders)
    for key, sharp in params.sharpness.items():
        pick(params.data, sharp.data, f"sharpness.{key}.data")
        pick(models, sharp.models, f"sharpness.{key}.models")
    for key, aspect in params.aspect.items():
        where = f"aspect.{key}"
        pick(params.data, aspect.data, f"{where}.data")
        pick(models, aspect.models, f"{where}.models")
        for name in aspect.experiments:
            pick(params.connect, name, f"{where}.experiments")
        if (aspect.calibration is None) != (aspect.batchnorm == "interpolate"):
            wrong = "missing" if aspect.calibration is None else "unused with interpolate"
            raise UserError(f"{where}.calibration: {wrong}")
    for key, probe in params.probe.items():
        pick(models, key, "probe")
        pick(params.data, probe.data, f"probe.{key}.data")
    for key, clusters in params.clusters.items():
        pick(params.connect, clusters.experiment, f"clusters.{key}.experiment")
        if clusters.sharpness is not None:
            pick(params.sharpness, clusters.sharpness, f"clusters.{key}.sharpness")
    named = {f"figures.{key}": choice for key, choice in params.figures.items()}
    named |= {f"tables.{key}": choice for key, choice in params.tables.items()}
    for paper, claims in params.claims.items():
        named |= {f"claims.{paper}.{key}": choice for key, choice in claims.items()}
    for where, choice in named.items():
        for option, section in (
            ("experiment", params.connect),
            ("clusters", params.clusters),
            ("dataset", params.data),
            ("group", params.finetune),
            ("toy", params.toy),
            ("sharpness", params.sharpness),
            ("aspect", params.aspect),
            ("merge", params.merge),
        ):
            if option in choice.options:
                pick(section, choice.options[option], f"{where}.{option}")
        merge = params.merge.get(str(choice.options.get("merge")))
        recipes = [each.called for each in merge.techniques] if merge else layout.recipes(params)
        for option, section in (
            ("experiments", params.connect),
            ("groups", params.finetune),
            ("planes", params.plane),
            ("merges", params.merge),
            ("recipes", dict.fromkeys(recipes)),
            ("beside", dict.fromkeys(recipes)),
            ("start", params.train),
        ):
            for name in _leaves(choice.options.get(option)):
                pick(section, name, f"{where}.{option}")
        _check_parts(params, choice, where)


def _check_labels(params: Params) -> None:
    known = layout.keys(params)
    for label in params.labels:
        if not layout.matching(label, known):
            pick(dict.fromkeys(known), label, "labels")


def _check_merge(
    params: Params, key: str, merge: Merge, models: dict[str, None], folders: dict[str, None]
) -> None:
    """Check that all that a merge names exists, and that its models can be merged."""
    where = f"merge.{key}"
    _check_tasks(params, merge, where)
    for name in merge.models:
        pick(models, name, f"{where}.models")
    first, *others = (layout.starts_from(params, name) for name in merge.models)
    if any(other != first for other in others):
        raise UserError(f"{where}.models: different nets; a merge takes models of one net")
    sets = layout.merged(params, merge)
    if not sets:
        raise UserError(f"{where}.sets: {merge.sets!r} leaves no two models in a set")
    if merge.base is not None and merge.base not in {**models, **params.pretrain}:
        pick(folders, merge.base, f"{where}.base")
    for group, base in sets:
        seeds = {model.name for model in group}
        if merge.base in models and (
            len(seeds) > 1 or base not in layout.models(params, merge.base)
        ):
            raise UserError(
                f"{where}.base: {merge.base!r} has a model of each seed, and a set has models of "
                f"{', '.join(sorted(seeds))}; set one model as base, or `sets: seed`"
            )
    if merge.calibration is None and set(merge.batchnorm) - {"interpolate", "repair"}:
        raise UserError(f"{where}.calibration: missing")


def _check_tasks(params: Params, merge: Merge, where: str) -> None:
    """Check that a merge has either one task, or one for each of its recipes."""
    for option in ("data", "eval_sets"):
        if (getattr(merge, option) is None) != bool(merge.tasks):
            wrong = "unused with `tasks`; remove it" if merge.tasks else "missing"
            raise UserError(f"{where}.{option}: {wrong}")
    if not merge.tasks:
        pick(params.data, str(merge.data), f"{where}.data")
        return
    for name, task in merge.tasks.items():
        pick(dict.fromkeys(merge.models), name, f"{where}.tasks")
        pick(params.data, task.data, f"{where}.tasks.{name}.data")
    for name in merge.models:
        pick(merge.tasks, name, f"{where}.tasks")
    alone = [choice.name for choice in merge.alignments] == ["none"]
    if merge.sets != "seed" or not alone or merge.batchnorm != ["interpolate"]:
        raise UserError(
            f"{where}.tasks: tasks need `sets: seed`, `alignments: [{{name: none}}]` and "
            "`batchnorm: [interpolate]`"
        )
    for group, _ in layout.merged(params, merge):
        if len(group) < len(merge.models):
            raise UserError(f"{where}.models: {group[0].name} is not a seed of all of them")


def _check_encoder(params: Params, key: str, encoder: str) -> None:
    """Check that a classifier's encoder is pretrained, or a model of another recipe."""
    recipe, _, seed = encoder.rpartition("/")
    if recipe not in layout.recipes(params) or recipe.partition("/")[0] == key:
        pick(params.pretrain, encoder, f"classify.{key}.encoder")
    elif Path("models") / encoder not in layout.models(params, recipe):
        seeds = dict.fromkeys(model.name for model in layout.models(params, recipe))
        pick(seeds, seed, f"classify.{key}.encoder: {recipe}")


def _check_parts(params: Params, choice: Choice, where: str) -> None:
    """Check the methods, paths, alignments and modes that a choice names in its entries."""
    options = choice.options
    if group := options.get("group"):
        for option in ("method", "other"):
            if option in options:
                pick(params.finetune[group].methods, options[option], f"{where}.{option}")
    if experiment := options.get("experiment"):
        settings = params.connect[experiment]
        parts: dict[str, list[Any]] = {
            "path": [choice.called for choice in settings.paths],
            "alignment": [choice.called for choice in settings.alignments],
            "batchnorm": list(settings.batchnorm or ["moving"]),
        }
        for option, known in parts.items():
            if option in options:
                pick(dict.fromkeys(known), options[option], f"{where}.{option}")


def _leaves(value: Any) -> Iterator[str]:
    """Yield the strings in nested lists and dicts; types of options are checked elsewhere."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _leaves(inner)


def _check_pairs(params: Params, experiment: Experiment, where: str) -> None:
    start, end = layout.models(params, experiment.start), layout.models(params, experiment.end)
    if layout.starts_from(params, experiment.start) != layout.starts_from(params, experiment.end):
        raise UserError(
            f"{where}: {experiment.start} and {experiment.end} have different nets; "
            "a path joins models of one net"
        )
    if experiment.pairs == "seed":
        shared = {model.name for model in start} & {model.name for model in end}
        if experiment.start == experiment.end or not shared:
            raise UserError(f"{where}.pairs: 'seed' joins two recipes that have a seed in common")
    elif experiment.start == experiment.end and len(start) < 2:
        raise UserError(f"{where}: {experiment.start} has one seed; a pair takes two")


def _check_protocol(experiment: Experiment, where: str) -> None:
    published = experiment.protocol == "published"
    for key in ("batchnorm", "calibration"):
        needless = key == "calibration" and experiment.batchnorm == ["interpolate"]
        if (getattr(experiment, key) is None) != published and not needless:
            wrong = "fixed by the published protocol; remove it" if published else "missing"
            raise UserError(f"{where}.{key}: {wrong}")


def _check_options(params: Params, section: str) -> None:
    """Check that every file that a section chooses exists and has the options it is given."""
    for key, entry in getattr(params, section).items():
        for field, room, functions in CHOICES[section]:
            value = getattr(entry, field) if field else entry
            if value is None:
                continue
            place = ".".join(filter(None, [section, key, field]))
            if isinstance(value, list):
                choices = {f"{place}.{i}": choice for i, choice in enumerate(value)}
            elif isinstance(value, dict):
                choices = {f"{place}.{label}": choice for label, choice in value.items()}
            else:
                choices = {place: value}
            for where, choice in choices.items():
                options = dict(choice.options)
                if isinstance(entry, Data):
                    options |= {"source": entry.source, "seed": entry.seed}
                function = find(room, choice.name, functions, where)
                check_options(function, options, where, GIVEN)
        if isinstance(entry, Sharpness):
            ascent = find("landscape", "sharpness", "sharpness")
            check_options(ascent, entry.ascent, f"{section}.{key}.ascent")
        if isinstance(entry, Race):
            race = find("paths", "racing", "race")
            check_options(race, entry.decide, f"{section}.{key}.decide", given=("overhead",))


def _check_claims(params: Params) -> None:
    """Check that every claim is defined in its paper's file and has the options it is given."""
    for paper, claims in params.claims.items():
        known = module("claims", paper, "paper", "claims").paper.claims
        for key, claim in claims.items():
            where = f"claims.{paper}.{key}"
            pick(known, claim.name, where).check(claim.model_dump(), where)
