"""What each operation makes of the units of its operands' axes.

A rule takes the operation as it ran and returns the layouts of its results. An operation without
one leaves all that it touches in its order, so a rule that is missing costs symmetries only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from basins.align.traced import layout as lay
from basins.align.traced.calls import RULES, Call, rule, tensors
from basins.align.traced.layout import Layout

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def apply(call: Call) -> list[Layout]:
    """Return the layouts of an operation's results."""
    found = RULES.get(call.name)
    if found is None and (call.pointwise or call.name.rstrip("_") in SAME):
        found = _pointwise
    return (found or unknown)(call)


def unknown(call: Call) -> list[Layout]:
    """Leave all axes of an operation in their order."""
    for layout in call.several():
        lay.hold(layout, range(len(layout)), call.why)
    return [lay.fresh(result.shape, call.why) for result in tensors(call.result)]


# What takes every entry by itself, or looks at none, though torch does not say so.
SAME = frozenset(
    ("_to_copy", "clone", "copy", "detach", "alias", "lift_fresh", "lift_fresh_copy", "contiguous")
    + ("fill", "zero", "masked_fill", "where", "lerp", "dropout", "native_dropout")
    + ("zeros_like", "ones_like", "empty_like", "full_like")
    + ("hardswish", "_prelu_kernel", "log_sigmoid_forward", "mish", "gelu", "relu6", "threshold")
    + ("abs", "eq", "ne", "lt", "le", "gt", "ge", "true_divide", "copysign")  # in place
)


def _pointwise(call: Call) -> list[Layout]:
    layout = lay.pointwise(call.several())
    return [layout] * len(tensors(call.result))


@rule("sum", "mean", "amax", "amin", "var", "std", "var_mean", "std_mean", "logsumexp", "prod")
@rule("linalg_vector_norm", "any", "all", "norm")
def _reduction(call: Call) -> list[Layout]:
    layout = call.layout(next(iter(call.given)))
    dims = call.given.get("dim")
    dims = range(len(layout)) if dims in (None, []) else dims
    axes = [d % len(layout) for d in ([dims] if isinstance(dims, int) else dims)] if layout else []
    found = lay.reduced(layout, axes, bool(call.given.get("keepdim")))
    return [found] * len(tensors(call.result))


@rule("_softmax", "_log_softmax", "_safe_softmax")
def _softmax(call: Call) -> list[Layout]:
    layout = call.layout("self")
    return [lay.collapse(layout, call["dim"] % len(layout))]


@rule("native_layer_norm", "_fused_rms_norm")
def _layer_norm(call: Call) -> list[Layout]:
    layout = call.layout("input")
    for axis in range(len(layout) - len(call["normalized_shape"]), len(layout)):
        layout = lay.collapse(layout, axis)
    more = [found for name in ("weight", "bias") if (found := call.of(name)) is not None]
    return [lay.pointwise([layout, *more])] + [lay.fresh(t.shape) for t in call.result[1:]]


@rule("native_batch_norm", "_native_batch_norm_legit_no_training", "_native_batch_norm_legit")
@rule("_native_batch_norm_legit_functional", "cudnn_batch_norm", "miopen_batch_norm")
@rule("_batch_norm_no_update", "_batch_norm_with_update")
def _batch_norm(call: Call) -> list[Layout]:
    layout = call.layout("input")
    letters = LETTERS[: len(layout)]
    more = [(found, "b") for name in call.given if name != "input" and (found := call.of(name))]
    return [lay.contract([(layout, letters), *more], letters)] + [
        lay.fresh(t.shape, call.why) for t in call.result[1:]
    ]


@rule("native_group_norm")
def _group_norm(call: Call) -> list[Layout]:
    layout, shape = call.layout("input"), call["input"].shape
    letters = LETTERS[: len(layout)]
    more = [(found, "b") for name in ("weight", "bias") if (found := call.of(name)) is not None]
    found = lay.contract([(layout, letters), *more], letters)
    groups = (shape[0], call["group"], shape[1] // call["group"], *shape[2:])
    inner = lay.reshaped(found, groups)
    for axis in range(3, len(groups)):
        inner = lay.collapse(inner, axis)
    return [lay.reshaped(inner, tuple(shape))] + [lay.fresh(t.shape) for t in call.result[1:]]


def _einsum(call: Call, names: Sequence[str], equation: str) -> list[Layout]:
    inputs, out = equation.split("->")
    operands = [(call.layout(n), e) for n, e in zip(names, inputs.split(","), strict=True)]
    found = lay.contract(operands, out)
    bias = call.of("self") if "self" not in names else None
    return [found if bias is None else lay.pointwise([found, bias])]


@rule("_grouped_mm")
def _grouped(call: Call) -> list[Layout]:
    """Multiply each row by the matrix of its expert; a router tells experts apart."""
    experts = call.layout("mat2")
    if len(call.layout("self")) != 2 or len(experts) != 3 or call.of("bias") is not None:
        return unknown(call)
    lay.hold(experts, [0], f"experts in {call.where}")
    return _einsum(call, ("self", "mat2"), "ab,zbc->ac")


PRODUCTS = {
    "mm": (("self", "mat2"), "ab,bc->ac"),
    "bmm": (("self", "mat2"), "zab,zbc->zac"),
    "mv": (("self", "vec"), "ab,b->a"),
    "dot": (("self", "tensor"), "a,a->"),
    "addmm": (("mat1", "mat2"), "ab,bc->ac"),
    "baddbmm": (("batch1", "batch2"), "zab,zbc->zac"),
    "addmv": (("mat", "vec"), "ab,b->a"),
}


@rule(*PRODUCTS)
def _product(call: Call) -> list[Layout]:
    return _einsum(call, *PRODUCTS[call.name])


@rule("linear")
def _linear(call: Call) -> list[Layout]:
    layout = call.layout("input")
    batch = LETTERS[: len(layout) - 1]
    found = lay.contract([(layout, batch + "y"), (call.layout("weight"), "zy")], batch + "z")
    bias = call.of("bias")
    return [found if bias is None else lay.pointwise([found, bias])]


@rule("convolution", "_convolution", "mkldnn_convolution", "cudnn_convolution")
def _convolution(call: Call) -> list[Layout]:
    layout, weight, groups = call.layout("input"), call.layout("weight"), call["groups"]
    given, kernel, out = call["input"].shape, call["weight"].shape, call.result.shape
    why = f"places of a convolution in {call.where}"
    for one in (layout, weight):
        lay.hold(one, range(2, len(one)), why)
    turned = bool(call.given.get("transposed"))
    for axis in range(2, len(layout)):
        layout, weight = (lay.collapse(one, axis) for one in (layout, weight))
    layout = lay.reshaped(layout, (given[0], groups, given[1] // groups, *given[2:]))
    weight = lay.reshaped(weight, (groups, kernel[0] // groups, *kernel[1:]))
    # Kernels slide, so their axes are none of the image's, nor are the image's those of the result.
    weight = lay.drop(weight, range(3, len(weight)))
    layout = lay.drop(layout, range(3, len(layout)))
    equation = ("xgi", "gio" if turned else "goi")
    found = lay.contract([(layout, equation[0]), (weight, equation[1])], "xgo")
    found = lay.reshaped(found, (out[0], out[1]))
    for axis in range(2, len(out)):
        found = lay.insert(found, axis, out[axis])
        lay.hold(found, [axis], why)
    bias = call.of("bias")
    letters = LETTERS[: len(found)]
    return [found if bias is None else lay.contract([(found, letters), (bias, "b")], letters)]


@rule("max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool2d", "avg_pool3d")
@rule("_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_max_pool2d", "max_pool2d")
@rule("upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d", "upsample_nearest1d")
@rule("_upsample_bicubic2d_aa", "_upsample_bilinear2d_aa", "upsample_linear1d")
@rule("constant_pad_nd", "reflection_pad2d", "replication_pad2d", "reflection_pad1d")
@rule("tril", "triu", "roll", "flip", "cumsum")
def _places(call: Call) -> list[Layout]:
    """Leave the order of places on some axes: where they are counts."""
    layout = call.layout(next(iter(call.given)))
    rank = len(layout)
    dims = call.given.get("dims", call.given.get("dim"))
    if dims is not None:
        dims = [dims] if isinstance(dims, int) else dims
        axes = [d % rank for d in dims] or list(range(rank))  # `roll` rolls all entries
    elif call.name == "constant_pad_nd":
        axes = [rank - 1 - k // 2 for k, many in enumerate(call["pad"]) if many]
    elif call.name in ("tril", "triu"):
        axes = [rank - 2, rank - 1]
    else:
        axes = list(range(rank - int(re.findall(r"(\d)d", call.name)[0]), rank))
    return [_held(call, layout, axes, result) for result in tensors(call.result)]


def _held(call: Call, layout: Layout, axes: Sequence[int], result: Tensor) -> Layout:
    lay.hold(layout, axes, call.why)
    for axis in axes:
        layout = lay.collapse(layout, axis)
    new = lay.fresh(result.shape, call.why)
    return [new[a] if a in axes else along for a, along in enumerate(layout)]


@rule("view", "_unsafe_view", "reshape", "_reshape_alias", "view_copy")
def _view(call: Call) -> list[Layout]:
    if call.result.dtype.itemsize != call["self"].dtype.itemsize:
        return unknown(call)
    return [lay.reshaped(call.layout("self"), tuple(call.result.shape))]


@rule("squeeze", "unsqueeze", "squeeze_", "unsqueeze_")
def _squeeze(call: Call) -> list[Layout]:
    return _view(call)


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
    if step != 1:
        return [_held(call, layout, [axis], call.result)]
    if not call.result.numel():
        return unknown(call)
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
    lay.hold(weight, [0], f"looked up in {call.where}")
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
    lay.hold(layout, axes, call.why)
    for axis in axes:
        layout = lay.collapse(layout, axis)
    rest = lay.drop(layout, axes)
    at = axes[0] if axes[-1] - axes[0] == len(axes) - 1 else 0
    places = lay.pointwise([call.known(index) for index in given])
    lay.hold(places, range(len(places)), call.why)
    one, other = LETTERS[: len(rest)], LETTERS[::-1][: len(places)]
    return [lay.contract([(rest, one), (places, other)], one[:at] + other + one[at:])]


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
    """Leave all in order but the last axis, where it stays whole: windows slide over others."""
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


@rule("mkldnn_rnn_layer")
def _recurrent(call: Call) -> list[Layout]:
    """Leave recurrent units in their order, which a weight both reads and writes."""
    given, weight = call.layout("input"), call.layout("weight0")
    why = f"recurrent units in {call.where}"
    lay.contract([(given, "tnf"), (weight, "gf")], "tng")  # features are read alike at all times
    for layout in (given, weight):
        lay.hold(layout, range(len(layout) - 1), why)
    others = [call.of(name) for name in call.given if name not in ("input", "weight0")]
    for layout in filter(None, others):
        lay.hold(layout, range(len(layout)), why)
    return [lay.fresh(t.shape, why) for t in tensors(call.result)]


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
    lay.hold(layout, [axis], call.why)
    rest = lay.reduced(layout, [axis], keep=True)
    return [lay.pointwise([rest, index])]
