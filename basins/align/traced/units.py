"""The units along an axis: which may be reordered, in runs of which length, and with which others.

The entries of an axis are a `Units`: a set that one permutation reorders, or a row of parts, which
one permutation may reorder as a whole while others reorder within each. Operations of a network
make the axes that they read and write the same (`unify`), take axes apart (`split`, `piece`) and
put them together (`product`, `joined`). What is learnt later of the same units holds everywhere, by
union-find.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence


class Place(str):
    """Why entries keep their order where each is told from the others by its place.

    So it is with inputs, outputs, rows of a table and parts of a packed axis: no units are lost.
    """


class Units:
    """The `size` entries of an axis.

    `fixed` says why they keep their order, None where they need not. With `parts`, they are those
    of the parts one after another, and `order` is what reorders parts, which are then equally long.
    """

    __slots__ = ("size", "fixed", "order", "parts", "same")

    def __init__(self, size: int, fixed: str | None = None):
        self.size, self.fixed = size, fixed
        self.order: Units | None = None
        self.parts: list[Units] = []
        self.same: Units | None = None


def root(units: Units) -> Units:
    """Return what stands for the units that these have been made the same as."""
    last = units
    while last.same is not None:
        last = last.same
    while units.same is not None:
        units.same, units = last, units.same
    return last


def fix(units: Units, why: str) -> None:
    """Leave the units in their order."""
    units = root(units)
    if units.fixed is not None:
        units.fixed = _foremost(units.fixed, why)
        return
    units.fixed = why
    order, parts = units.order, units.parts
    units.order, units.parts = None, []
    if order is not None:
        fix(order, why)
    for part in _distinct(parts):
        fix(part, why)


def product(order: Units, parts: Sequence[Units]) -> Units:
    """Return the units of equally long `parts`, whose order is that of `order`."""
    order, first = root(order), root(parts[0])
    if order.size == 1:
        return first
    if first.size == 1:
        return order
    size = order.size * first.size
    whys = [order.fixed, *(part.fixed for part in _distinct(parts))]
    if None not in whys:
        return Units(size, next((w for w in whys if not isinstance(w, Place)), whys[0]))
    made = Units(size)
    made.order, made.parts = order, list(parts)
    return made


def joined(parts: Sequence[Units], why: str) -> Units:
    """Return the units of parts of any lengths, in this order."""
    parts = [part for part in map(root, parts) if part.size]
    if len(parts) == 1:
        return parts[0]
    size = sum(part.size for part in parts)
    if all(part.fixed is not None for part in parts):
        return Units(size, parts[0].fixed)
    made = Units(size)
    made.order, made.parts = Units(len(parts), Place(why)), parts
    return made


def split(units: Units, outer: int, inner: int) -> tuple[Units, list[Units]]:
    """Return the order of `outer` parts of `inner` units each, and the parts."""
    units = root(units)
    if outer == 1:
        return Units(1), [units]
    if inner == 1:
        return units, [Units(1)] * outer
    if units.fixed is not None:
        return Units(outer, units.fixed), [Units(inner, units.fixed)] * outer
    if not units.parts:
        units.order, units.parts = Units(outer), [Units(inner) for _ in range(outer)]
    assert units.order is not None
    order, parts = root(units.order), units.parts
    lengths = {root(part).size for part in parts}
    if lengths == {inner}:
        return order, parts
    if len(lengths) == 1 and not outer % len(parts):
        found = [split(part, outer // len(parts), inner) for part in parts]
        return product(order, [f[0] for f in found]), [p for _, ps in found for p in ps]
    if len(lengths) == 1 and not len(parts) % outer:
        many = len(parts) // outer
        whole, orders = split(order, outer, many)
        runs = [parts[k * many : (k + 1) * many] for k in range(outer)]
        return whole, [product(o, run) for o, run in zip(orders, runs, strict=True)]
    if order.fixed is not None:
        return Units(outer, order.fixed), [
            piece(units, k * inner, (k + 1) * inner, order.fixed) for k in range(outer)
        ]
    fix(units, f"{units.size} units in parts of {min(lengths)} and of {inner}")
    return split(units, outer, inner)


def piece(units: Units, start: int, stop: int, why: str) -> Units:
    """Return the units from `start` to `stop`, cut out of the others."""
    units = root(units)
    if (start, stop) == (0, units.size):
        return units
    if units.fixed is not None:
        return Units(stop - start, units.fixed)
    if not units.parts:
        bounds = sorted({0, start, stop, units.size})
        units.parts = [Units(b - a) for a, b in zip(bounds, bounds[1:], strict=False)]
        units.order = Units(len(units.parts))
    assert units.order is not None
    fix(units.order, Place(why))
    found, at = [], 0
    for part in units.parts:
        end = at + root(part).size
        low, high = max(start, at), min(stop, end)
        if low < high:
            found.append(piece(part, low - at, high - at, why))
        at = end
    return joined(found, why)


def unify(one: Units, other: Units) -> None:
    """Make two axes of the same units: one permutation moves both."""
    one, other = root(one), root(other)
    if one is other:
        return
    assert one.size == other.size, (one.size, other.size)
    if one.fixed is not None or other.fixed is not None:
        why = _foremost(one.fixed, other.fixed)
        fix(one, why)
        fix(other, why)
        one.same = other
    elif not one.parts:
        one.same = other
    elif not other.parts:
        other.same = one
    else:
        _unify_parts(one, other)
        one, other = root(one), root(other)
        if one is not other:
            one.same = other


def _unify_parts(one: Units, other: Units) -> None:
    lengths = [[root(part).size for part in units.parts] for units in (one, other)]
    if lengths[0] == lengths[1]:
        assert one.order is not None and other.order is not None
        orders, parts = (one.order, other.order), (list(one.parts), list(other.parts))
    elif all(len(set(length)) == 1 for length in lengths) and _nested(*map(len, lengths)):
        many = max(map(len, lengths))
        (a, ones), (b, others) = (split(u, many, u.size // many) for u in (one, other))
        orders, parts = (a, b), (list(ones), list(others))
    else:
        why = "parts of other lengths"
        bounds = sorted({*_bounds(lengths[0]), *_bounds(lengths[1])})
        cuts = list(zip(bounds, bounds[1:], strict=False))
        pieces = [[piece(u, a, b, why) for a, b in cuts] for u in (one, other)]
        for a, b in zip(*pieces, strict=True):
            unify(a, b)
        return
    unify(*orders)
    for a, b in dict.fromkeys(zip(*parts, strict=True)):
        unify(a, b)


def equal(one: Units, other: Units) -> bool:
    """Return whether two axes are of the same units already."""
    one, other = root(one), root(other)
    if one is other or (one.fixed is not None and other.fixed is not None):
        return one.size == other.size
    if len(one.parts) != len(other.parts) or one.order is None or other.order is None:
        return False
    return equal(one.order, other.order) and all(map(equal, one.parts, other.parts))


def leaves(units: Units, at: int = 0, run: int = 1) -> Iterator[tuple[Units, int, int]]:
    """Yield the sets that permutations reorder, outer ones first: each, where it starts, its run.

    One that is fixed is left out.
    """
    units = root(units)
    if units.fixed is not None or units.size == 1:
        return
    if not units.parts:
        yield units, at, run
        return
    assert units.order is not None
    length = root(units.parts[0]).size
    yield from leaves(units.order, at, run * length)
    for part in units.parts:
        yield from leaves(part, at, run)
        at += root(part).size * run


def still(units: Units, at: int = 0) -> Iterator[tuple[int, int, list[str]]]:
    """Yield the entries that no permutation moves, from which to which, and why.

    Of one that is alone, and has none to change places with, there is no reason.
    """
    units = root(units)
    if units.size == 1 or units.fixed is not None:
        yield at, at + units.size, [units.fixed] if units.size > 1 and units.fixed else []
    elif units.parts:
        assert units.order is not None
        starts = _bounds([root(part).size for part in units.parts])
        for first, last, whys in still(units.order):
            for k in range(first, last):
                for start, stop, more in still(units.parts[k], at + starts[k]):
                    yield start, stop, [*whys, *more]


def _foremost(one: str | None, other: str | None) -> str:
    """Return which of two reasons is given: a place, if it is one."""
    return next((why for why in (one, other) if isinstance(why, Place)), one or other or "")


def _distinct(parts: Sequence[Units]) -> list[Units]:
    return list(dict.fromkeys(map(root, parts)))


def _nested(one: int, other: int) -> bool:
    return not max(one, other) % min(one, other)


def _bounds(lengths: Sequence[int]) -> list[int]:
    found = [0]
    for length in lengths:
        found.append(found[-1] + length)
    return found
