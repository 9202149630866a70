"""Rules for operations that only move entries: view, slice, concatenate, repeat and index."""

from __future__ import annotations

import torch
from torch import Tensor

from basins.align.traced import layout as lay
from basins.align.traced.calls import LETTERS, Call, held, rule, unknown
from basins.align.traced.layout import Layout
from basins.align.traced.units import Place


@rule("view", "_unsafe_view", "reshape", "_reshape_alias", "view_copy")
def _view(call: Call) -> list[Layout]:
    if call.result.dtype.itemsize != call["self"].dtype.itemsize:
        return unknown(call)
    return [lay.reshaped(call.layout("self"), tuple(call.result.shape))]


@rule("squeeze", "unsqueeze", "squeeze_", "unsqueeze_")
def _squeeze(call: Call) -> list[Layout]:
    return _view(call)


@rule("view_as_complex")
def _as_complex(call: Call) -> list[Layout]:
    layout = call.layout("self")
    lay.hold(layout, [-1], Place(call.why))
    return [lay.reduced(layout, [len(layout) - 1], keep=False)]


@rule("view_as_real")
def _as_real(call: Call) -> list[Layout]:
    layout = lay.insert(call.layout("self"), call["self"].ndim, 2)
    lay.hold(layout, [-1], Place(call.why))
    return [layout]


@rule("expand")
def _expand(call: Call) -> list[Layout]:
    return [lay.expanded(call.layout("self"), tuple(call.result.shape))]


@rule("permute")
def _permute(call: Call) -> list[Layout]:
    layout = call.layout("self")
    return [lay.permuted(layout, [d % len(layout) for d in call["dims"]])]


@rule("transpose", "t", "transpose_", "t_")
def _transpose(call: Call) -> list[Layout]:
    layout = call.layout("self")
    order = list(range(len(layout)))
    if order:
        a, b = (call.given.get(name, k) for k, name in enumerate(("dim0", "dim1")))
        a, b = (a, b) if len(order) > 1 else (0, 0)
        order[a], order[b] = order[b], order[a]
    return [lay.permuted(layout, order)]


@rule("slice")
def _slice(call: Call) -> list[Layout]:
    layout, size = call.layout("self"), call["self"].shape
    axis = call.given.get("dim", 0) % len(layout)
    start, stop, step = slice(
        call.given.get("start"), call.given.get("end"), call.given.get("step", 1)
    ).indices(size[axis])
    if step != 1 and (size[axis] % step or call.result.shape[axis] * step != size[axis]):
        return [held(call, layout, [axis], call.result)]
    if step != 1:  # one position of each run
        runs = (*size[:axis], size[axis] // step, step, *size[axis + 1 :])
        return [lay.selected(lay.reshaped(layout, runs), axis + 1, start, call.why)]
    return [lay.sliced(layout, axis, start, stop, call.why)]


@rule("split", "split_with_sizes", "chunk", "unsafe_split", "unsafe_split_with_sizes")
def _split(call: Call) -> list[Layout]:
    layout, found, at = call.layout("self"), [], 0
    axis = call.given.get("dim", 0) % len(layout)
    for result in call.result:
        end = at + result.shape[axis]
        found.append(lay.sliced(layout, axis, at, end, call.why))
        at = end
    return found


@rule("select")
def _select(call: Call) -> list[Layout]:
    layout, size = call.layout("self"), call["self"].shape
    axis = call["dim"] % len(layout)
    return [lay.selected(layout, axis, call["index"] % size[axis], call.why)]


@rule("unbind")
def _unbind(call: Call) -> list[Layout]:
    layout = call.layout("self")
    axis = call.given.get("dim", 0) % len(layout)
    return [lay.selected(layout, axis, k, call.why) for k in range(len(call.result))]


@rule("glu")
def _glu(call: Call) -> list[Layout]:
    layout = call.layout("self")
    axis = call["dim"] % len(layout)
    half = call.result.shape[axis]
    halves = [lay.sliced(layout, axis, k * half, (k + 1) * half, call.why) for k in range(2)]
    return [lay.pointwise(halves)]


@rule("cat")
def _cat(call: Call) -> list[Layout]:
    given = [t for t in call["tensors"] if t.numel()]
    if not given:
        return unknown(call)
    axis = call.given.get("dim", 0) % call.result.ndim
    return [lay.concatenated([call.known(t) for t in given], axis, call.why)]


@rule("stack")
def _stack(call: Call) -> list[Layout]:
    axis = call.given.get("dim", 0) % call.result.ndim
    return [lay.stacked([call.known(t) for t in call["tensors"]], axis, call.why)]


@rule("repeat")
def _repeat(call: Call) -> list[Layout]:
    layout, times = call.layout("self"), call["repeats"]
    while len(layout) < len(times):
        layout = lay.insert(layout, 0)
    for axis, many in enumerate(times):
        layout = lay.repeated(layout, axis, many, each=False)
    return [layout]


@rule("embedding")
def _embedding(call: Call) -> list[Layout]:
    weight, places = call.layout("weight"), call.layout("indices")
    lay.hold(weight, [0], Place(f"looked up in {call.where}"))
    letters = LETTERS[: len(places)]
    return [
        lay.contract(
            [(places, letters), (lay.drop(lay.collapse(weight, 0), [0]), "z")], letters + "z"
        )
    ]


@rule("index", "index_select", "_unsafe_index")
def _index(call: Call) -> list[Layout]:
    layout = call.layout("self")
    if call.name == "index_select":
        axes, given = [call["dim"] % len(layout)], [call["index"]]
    else:
        axes = [axis for axis, index in enumerate(call["indices"]) if index is not None]
        given = [index for index in call["indices"] if index is not None]
    if any(index.dtype in (torch.bool, torch.uint8) for index in given):
        return unknown(call)
    if call.weight(call["self"]):
        lay.hold(layout, axes, Place(f"looked up in {call.where}"))
    elif len(given) == 1 and call.constant(given[0]) and _consecutive(given[0]):
        start = int(given[0][0]) % call["self"].shape[axes[0]]
        return [lay.sliced(layout, axes[0], start, start + len(given[0]), call.why)]
    lay.hold(layout, axes, call.why)
    for axis in axes:
        layout = lay.collapse(layout, axis)
    rest = lay.drop(layout, axes)
    at = axes[0] if axes[-1] - axes[0] == len(axes) - 1 else 0
    places = lay.pointwise([call.known(index) for index in given])
    lay.hold(places, range(len(places)), call.why)
    one, other = LETTERS[: len(rest)], LETTERS[::-1][: len(places)]
    return [lay.contract([(rest, one), (places, other)], one[:at] + other + one[at:])]


def _consecutive(index: Tensor) -> bool:
    return index.ndim == 1 and bool((index.diff() == 1).all() & ((index[0] < 0) == (index[-1] < 0)))


@rule("index_put", "index_put_", "_unsafe_index_put")
def _index_put(call: Call) -> list[Layout]:
    [kept] = _index(call)
    lay.pointwise([kept, call.layout("values")])
    layout = call.layout("self")
    for axis, index in enumerate(call["indices"]):
        layout = layout if index is None else lay.collapse(layout, axis)
    return [layout]


@rule("as_strided")
def _as_strided(call: Call) -> list[Layout]:
    """Fix all axes but the last, if that stays whole: sliding windows over the others."""
    layout, given, result = call.layout("self"), call["self"], call.result
    size, offset = given.shape[-1], result.storage_offset() - given.storage_offset()
    whole = result.shape[-1] == size and given.stride()[-1] == result.stride()[-1] == 1
    if not whole or any(n % size for n in (*given.stride()[:-1], *result.stride()[:-1], offset)):
        return unknown(call)
    lay.hold(layout, range(len(layout) - 1), call.why)
    for axis in range(len(layout) - 1):
        layout = lay.collapse(layout, axis)
    last = lay.drop(layout, range(len(layout) - 1))
    places = lay.fresh([*result.shape[:-1], 1], call.why)
    letters = LETTERS[: len(places)]
    return [lay.contract([(places, letters), (last, letters[-1])], letters)]


@rule("index_add", "index_add_", "index_copy", "index_copy_")
def _index_add(call: Call) -> list[Layout]:
    layout, source = call.layout("self"), call.layout("source")
    axis = call["dim"] % len(layout)
    for one in (layout, source):
        lay.hold(one, [axis], call.why)
    rest = lay.pointwise([lay.reduced(one, [axis], keep=True) for one in (layout, source)])
    places = lay.insert(lay.drop(rest, [axis]), axis, call.result.shape[axis])
    lay.hold(places, [axis], call.why)
    return [places]


@rule("gather")
def _gather(call: Call) -> list[Layout]:
    layout, index = call.layout("self"), call.layout("index")
    axis = call["dim"] % len(layout)
    for other, (a, b) in enumerate(zip(call["self"].shape, call["index"].shape, strict=True)):
        if other != axis and a != b:
            return unknown(call)
    lay.hold(layout, [axis], Place(call.why) if call.constant(call["index"]) else call.why)
    rest = lay.reduced(layout, [axis], keep=True)
    return [lay.pointwise([rest, index])]
