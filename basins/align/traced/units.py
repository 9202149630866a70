"""The units along an axis: which may be permuted, in which blocks, and together with which others.

The entries of an axis are a `Units`: a set that one permutation reorders, or a sequence of parts,
which one permutation may reorder as wholes while others reorder within each. A network's operations
identify the axes that they read and write (`unify`), take axes apart (`split`, `piece`) and put
them together (`product`, `joined`). By union-find, later constraints apply to all identified units.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence


class Place(str):
    """The reason for a fixed order of entries that are distinguished by their position.

    Examples are inputs, outputs, rows of a table and parts of a packed axis, which are not units.
    """


class Units:
    """The `size` entries of an axis.

    `fixed` says why their order is fixed, or is None. With `parts`, they are the entries of the
    parts in sequence, and `order` is the set that permutes the parts, which must then be equally
    long.
    """

    __slots__ = ("size", "fixed", "order", "parts", "same")

    def __init__(self, size: int, fixed: str | None = None):
        self.size, self.fixed = size, fixed
        self.order: Units | None = None
        self.parts: list[Units] = []
        self.same: Units | None = None


def root(units: Units) -> Units:
    """Return the representative of the units that these have been identified with."""
    last = units
    while last.same is not None:
        last = last.same
    while units.same is not None:
        units.same, units = last, units.same
    return last


def fix(units: Units, why: str) -> None:
    """Fix the order of the units."""
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
    """Return the units of equally long `parts`, which `order` permutes."""
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
    """Return the units of parts of any lengths, in a fixed sequence."""
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
    """Split into `outer` parts of `inner` units; return the order of parts, and the parts."""
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
    """Return the units from `start` to `stop`, separated from the others."""
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
    """Identify the units of two axes, so that one permutation moves both."""
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
    """Return whether two axes are already known to have the same units."""
    one, other = root(one), root(other)
    if one is other or (one.fixed is not None and other.fixed is not None):
        return one.size == other.size
    if len(one.parts) != len(other.parts) or one.order is None or other.order is None:
        return False
    return equal(one.order, other.order) and all(map(equal, one.parts, other.parts))


def leaves(units: Units, at: int = 0, run: int = 1) -> Iterator[tuple[Units, int, int]]:
    """Yield the free sets, outer ones first, each with its start and its block length.

    Fixed sets are left out.
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
    """Yield the ranges of entries that no permutation moves, with the reasons.

    A single entry, which has none to be exchanged with, has no reason.
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
    """Return the reason to report of two: a `Place`, if there is one."""
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
