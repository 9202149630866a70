"""What a model is invariant to, and how far two models' invariances differ (MMC, Def. 2 to 4).

The paper calls a model invariant to an intervention on one latent of the data if its expected loss
does not change, and two models mechanistically similar if they are invariant to the same
interventions. No trained model is exactly invariant, so here invariance is measured by the accuracy
that an intervention costs. The data are images with the cue of their class (`c`); interventions
remove the cue (`nc`), or replace the cue (`rc`) or the image (`ri`) by a random one.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
import pandas as pd

from basins.statistics.seeds import average_pairs, ends

INTERVENTIONS = ("nc", "rc", "ri")
JOIN = ["path", "alignment", "batchnorm", "eval_set", "metric"]


def profiles(probes: pd.DataFrame) -> pd.DataFrame:
    """Return each model's profile: the accuracy (a share) that each of the `INTERVENTIONS` costs.

    Of `probes`, the rows of the diagnostic `counterfactual` are used. The result has a row for each
    model, indexed by `recipe/seedK`; 0 means invariance. A model with accuracy a that uses the
    image alone has (0, 0, a - 1 / classes); one that uses a perfect cue alone has 0 for `ri`.
    """
    rows = probes.query("diagnostic == 'counterfactual' and metric == 'accuracy'")
    model = rows["recipe"] + "/seed" + rows["seed"].astype(str)
    accuracy = rows.assign(model=model).pivot(index="model", columns="slice", values="value")
    accuracy = accuracy.reindex(columns=["c", *INTERVENTIONS])
    uncut = accuracy.pop("c")
    return accuracy.rsub(uncut, axis=0)


def pairs(
    barriers: pd.DataFrame, probes: pd.DataFrame, trained_on: Mapping[str, Hashable]
) -> pd.DataFrame:
    """Return the barrier of every pair of models with the distance of their profiles.

    Args:
        barriers: rows of pairs, `recipe/seedK` each.
        probes: rows of models.
        trained_on: for each recipe, what its models were trained on; equal values mean the same
            data. Pairs with a model of another recipe, or of one without a profile, are left out.

    Returns:
        `experiment, model_a, model_b, kind`, `JOIN`, `barrier_linear, distance`. `kind` says
        whether the pair shares its data and its initial weights. `distance` is the largest absolute
        difference between the two profiles, a share.
    """
    profile = profiles(probes)
    rows = barriers.drop(columns="distance").assign(**ends(barriers))
    for side in ("a", "b"):
        known = rows[f"recipe_{side}"].isin(list(trained_on))
        rows = rows.loc[known & rows[f"model_{side}"].isin(profile.index.tolist())]
    a, b = (profile.loc[rows[f"model_{side}"]].to_numpy() for side in ("a", "b"))
    kinds = [
        f"{'same' if trained_on[start] == trained_on[end] else 'different'} data, {init} init"
        for start, end, init in zip(rows["recipe_a"], rows["recipe_b"], rows["init"], strict=True)
    ]
    rows = rows.assign(kind=kinds, distance=np.abs(a - b).max(axis=1))
    return rows.loc[
        :, ["experiment", "model_a", "model_b", "kind", *JOIN, "barrier_linear", "distance"]
    ]


def summarise(rows: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Average barrier and distance over the rows of `pairs`, by kind: column `quantity`."""
    named = rows.rename(columns={"barrier_linear": "barrier"}).assign(**ends(rows))
    groups = ["experiment", "kind", *JOIN]
    return average_pairs(named, groups, ["barrier", "distance"], "quantity", confidence)
