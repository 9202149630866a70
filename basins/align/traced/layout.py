"""The units of every axis of a tensor, and how views and contractions transform them.

Units along one axis may depend on the position on another: those within a head depend on the head.
So a tensor of rank r has, for each axis, an array of `Units` of rank r, with length 1 along the
axes that they do not depend on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from basins.align.traced.units import (
    Place,
    Units,
    equal,
    fix,
    joined,
    piece,
    product,
    root,
    split,
    unify,
)

Shape = tuple[int, ...]
Along = np.ndarray  # of `Units`, by positions on all axes
Layout = list[Along]


def fresh(shape: Sequence[int], fixed: Sequence[str | None] | str | None = None) -> Layout:
    """Return new units for every axis of a tensor; `fixed` says why they keep their order."""
    whys = [fixed] * len(shape) if fixed is None or isinstance(fixed, str) else fixed
    return [_one(Units(n, w), len(shape)) for n, w in zip(shape, whys, strict=True)]


def shape(layout: Layout) -> Shape:
    """Return the lengths of a tensor's axes."""
    return tuple(along.flat[0].size for along in layout)


def hold(layout: Layout, axes: Sequence[int], why: str) -> None:
    """Fix the order of the units of some axes."""
    for axis in axes:
        for units in layout[axis].flat:
            fix(units, why)


def collapse(layout: Layout, axis: int) -> Layout:
    """Return the layout without dependence on the position on an axis, as when it is summed over.

    Units that depended on it become the same at all positions.
    """
    return [_alike(along, axis) for along in layout]


def contract(operands: Sequence[tuple[Layout, str]], out: str) -> Layout:
    """Return the layout of a sum of products, in the notation of `einsum`.

    Axes with the same letter become the same, except those of length 1, which are broadcast.
    Letters missing from `out` are summed over. Pointwise functions and reductions are special
    cases.
    """
    letters = sorted({*out, *(letter for _, names in operands for letter in names)})
    found: dict[str, Along] = {}
    for layout, names in operands:
        places = [letters.index(name) for name in names]
        for name, along in zip(names, layout, strict=True):
            if along.flat[0].size == 1:
                continue
            lengths = [1] * len(letters)
            for place, length in zip(places, along.shape, strict=True):
                lengths[place] = length
            order = np.argsort(places)
            spread = along.transpose(order).reshape(lengths)
            found[name] = _same(found[name], spread) if name in found else spread
    for letter in sorted(set(letters) - set(out)):
        found = {name: _alike(along, letters.index(letter)) for name, along in found.items()}
    axes = [letters.index(name) for name in out]
    rest = [k for k in range(len(letters)) if letters[k] not in out]
    return [
        found[name].transpose([*axes, *rest]).reshape([found[name].shape[a] for a in axes])
        if name in found
        else _one(Units(1), len(out))
        for name in out
    ]


def pointwise(layouts: Sequence[Layout]) -> Layout:
    """Return the layout of an entrywise function of tensors that are broadcast together."""
    rank = max(map(len, layouts), default=0)
    letters = "".join(map(chr, range(97, 97 + rank)))
    return contract([(layout, letters[rank - len(layout) :]) for layout in layouts], letters)


def reduced(layout: Layout, axes: Sequence[int], keep: bool) -> Layout:
    """Return the layout of a reduction over axes that does not depend on their order."""
    for axis in axes:
        layout = collapse(layout, axis)
    if keep:
        one = _one(Units(1), len(layout))
        return [one if axis in axes else along for axis, along in enumerate(layout)]
    return drop(layout, axes)


def drop(layout: Layout, axes: Sequence[int]) -> Layout:
    """Return the layout without axes that nothing depends on."""
    kept = [axis for axis in range(len(layout)) if axis not in axes]
    return [layout[a].reshape([layout[a].shape[k] for k in kept]) for a in kept]


def insert(layout: Layout, axis: int, length: int = 1) -> Layout:
    """Return the layout with a new axis, along which units do not differ."""
    more = [np.expand_dims(along, axis) for along in layout]
    return [*more[:axis], _one(Units(length), len(layout) + 1), *more[axis:]]


def permuted(layout: Layout, order: Sequence[int]) -> Layout:
    """Return the layout of a transposed tensor."""
    return [layout[axis].transpose(order) for axis in order]


def expanded(layout: Layout, target: Shape) -> Layout:
    """Return the layout of a tensor expanded along its axes of length 1, or new axes.

    Copies may be permuted, separately for each unit of the axis before: the queries that share a
    key are its copies.
    """
    while len(layout) < len(target):
        layout = insert(layout, 0)
    found = list(layout)
    for axis, length in enumerate(target):
        if length != layout[axis].flat[0].size:
            found[axis] = _one(Units(length), len(target))
            if axis and not all(root(units).fixed for units in found[axis - 1].flat):
                places = [1] * len(target)
                places[axis - 1] = target[axis - 1]
                found[axis] = _each(lambda _, n=length: Units(n), np.empty(places, object))
    return found


def sliced(layout: Layout, axis: int, start: int, stop: int, why: str) -> Layout:
    """Return the layout of the entries from `start` to `stop` on an axis."""
    found = [
        along.take(range(start, stop), axis) if along.shape[axis] > 1 else along for along in layout
    ]
    found[axis] = _each(lambda units: piece(units, start, stop, why), layout[axis])
    return [_compressed(along, axis) for along in found]


def selected(layout: Layout, axis: int, index: int, why: str) -> Layout:
    """Return the layout of one entry of an axis."""
    hold(layout, [axis], Place(why))
    found = [along.take([index if along.shape[axis] > 1 else 0], axis) for along in layout]
    return drop(found, [axis])


def concatenated(layouts: Sequence[Layout], axis: int, why: str) -> Layout:
    """Return the layout of tensors concatenated along an axis; other axes become the same."""
    rank = len(layouts[0])
    letters = "".join(map(chr, range(97, 97 + rank)))
    ends = [along.flat[0].size for along in (layout[axis] for layout in layouts)]
    others = letters.replace(letters[axis], "")
    rows = [collapse(layout, axis) for layout in layouts]
    rest = contract([(drop(row, [axis]), others) for row in rows], others)
    found = insert(rest, axis, sum(ends))
    arrays: Any = np.broadcast_arrays(*(row[axis] for row in rows))
    found[axis] = np.empty(arrays[0].shape, object)
    for place in np.ndindex(arrays[0].shape):
        found[axis][place] = joined([array[place] for array in arrays], why)
    return found


def stacked(layouts: Sequence[Layout], axis: int, why: str) -> Layout:
    """Return the layout of tensors stacked along a new axis, on which units may depend."""
    found = []
    for several in zip(*layouts, strict=True):
        arrays = np.broadcast_arrays(*several)
        found.append(_compressed(np.stack(arrays, axis), axis))
    order = _one(Units(len(layouts), Place(why)), len(layouts[0]) + 1)
    return [*found[:axis], order, *found[axis:]]


def repeated(layout: Layout, axis: int, times: int, *, each: bool) -> Layout:
    """Return the layout of a tensor repeated along an axis, as a whole or `each` entry alone."""
    if times == 1:
        return layout
    layout = insert(layout, axis + 1 if each else axis, times)
    return _merged(layout, axis)


def reshaped(layout: Layout, target: Shape) -> Layout:
    """Return the layout of a tensor viewed in another shape."""
    given = shape(layout)
    for axis in reversed(range(len(given))):
        if given[axis] == 1:
            layout = drop(layout, [axis])
    old, new = [n for n in given if n != 1], [n for n in target if n != 1]
    at = 0
    while old:  # the fewest leading axes with equal products on both sides
        many, most = 1, 1
        while prod(old[:many]) != prod(new[:most]):
            if prod(old[:many]) < prod(new[:most]):
                many += 1
            else:
                most += 1
        for _ in range(many - 1 if (many, most) != (1, 1) else 0):
            layout = _merged(layout, at)
        for length in new[: most - 1]:
            layout = _split(layout, at, length)
            at += 1
        at += 1
        old, new = old[many:], new[most:]
    for axis, length in enumerate(target):
        if length == 1:
            layout = insert(layout, axis)
    return layout


def _merged(layout: Layout, axis: int) -> Layout:
    """Return the layout with an axis and the next merged into one."""
    order, inner = _alike(layout[axis], axis + 1), layout[axis + 1]
    outer_size = order.flat[0].size
    order = order.take([0], axis + 1)
    lengths = np.broadcast_shapes(order.shape, [*inner.shape[:axis], 1, *inner.shape[axis + 1 :]])
    both = np.empty(lengths, object)
    orders: Any = np.broadcast_to(order, lengths)
    depends = inner.shape[axis] > 1
    inners = np.broadcast_to(inner, [*lengths[:axis], inner.shape[axis], *lengths[axis + 1 :]])
    for place in np.ndindex(*lengths):
        parts = inners[(*place[:axis], slice(None), *place[axis + 1 :])]
        both[place] = product(orders[place], list(parts) if depends else [parts[0]] * outer_size)
    inner_size = inner.flat[0].size
    found = []
    for k, along in enumerate(layout):
        if k == axis:
            continue
        if k == axis + 1:
            along = both
        elif along.shape[axis : axis + 2] != (1, 1):
            pair = (outer_size, inner_size)
            along = np.broadcast_to(along, [*along.shape[:axis], *pair, *along.shape[axis + 2 :]])
        middle = prod(along.shape[axis : axis + 2])
        found.append(along.reshape([*along.shape[:axis], middle, *along.shape[axis + 2 :]]))
    return found


def _split(layout: Layout, axis: int, outer: int) -> Layout:
    """Return the layout with an axis split into two, the first of length `outer`."""
    whole: Any = layout[axis]
    inner = whole.flat[0].size // outer
    orders = np.empty(whole.shape, object)
    parts = np.empty([*whole.shape[:axis], outer, *whole.shape[axis + 1 :]], object)
    for place in np.ndindex(whole.shape):
        orders[place], found = split(whole[place], outer, inner)
        for k, part in enumerate(found):
            parts[(*place[:axis], k, *place[axis + 1 :])] = part
    more = []
    for along in layout:
        pair = (outer, inner) if along.shape[axis] > 1 else (1, 1)
        along = along.reshape([*along.shape[:axis], *pair, *along.shape[axis + 1 :]])
        more.append(_compressed(_compressed(along, axis), axis + 1))
    more[axis] = np.expand_dims(orders, axis + 1)
    more.insert(axis + 1, np.expand_dims(_compressed(parts, axis), axis + 1))
    return more


def _one(units: Units, rank: int) -> Along:
    found = np.empty([1] * rank, object)
    found[...] = units
    return found


def _each(function: Callable[[Any], Units], along: Along) -> Along:
    found = np.empty(along.shape, object)
    for place in np.ndindex(along.shape):
        found[place] = function(along[place])
    return found


def _alike(along: Along, axis: int) -> Along:
    """Return units made the same along an axis."""
    if along.shape[axis] == 1:
        return along
    lines = np.moveaxis(along, axis, 0).reshape(along.shape[axis], -1)
    for one, other in pairwise(lines):
        _same(one, other)
    return along.take([0], axis)


def _same(one: Along, other: Along) -> Along:
    """Identify arrays of units, broadcast together, and return the smaller."""
    for a, b in dict.fromkeys(zip(*(x.flat for x in np.broadcast_arrays(one, other)), strict=True)):
        unify(a, b)
    return one if one.size <= other.size else other


def _compressed(along: Along, axis: int) -> Along:
    """Reduce an axis to length 1 if units do not depend on it."""
    if along.shape[axis] > 1:
        first = along.take([0], axis)
        if all(equal(a, b) for a, b in np.broadcast(first, along)):
            return first
    return along
