"""Rules for how each operation transforms the units of its operands' axes.

A rule takes a call and returns the layouts of its results. An operation without a rule fixes the
order of everything that it uses, so a missing rule can only hide symmetries. This module has the
rules of operations that compute; `movement` has the others.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from basins.align.traced import layout as lay
from basins.align.traced import movement  # noqa: F401  it registers its rules
from basins.align.traced.calls import LETTERS, RULES, Call, held, rule, tensors, unknown
from basins.align.traced.layout import Layout
from basins.align.traced.units import Place


def apply(call: Call) -> list[Layout]:
    """Return the layouts of an operation's results."""
    found = RULES.get(call.name)
    if found is None and (call.pointwise or call.name.rstrip("_") in SAME):
        found = _pointwise
    return (found or unknown)(call)


# Operations that are entrywise, or do not use entries, but are not tagged as such by torch.
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


@rule("max", "min")
def _extreme(call: Call) -> list[Layout]:
    """Reduce; along a given dimension, the index of the extreme entry fixes the order."""
    if "dim" in call.given:
        lay.hold(call.layout("self"), [call["dim"]], call.why)
    return _reduction(call)


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
    """Multiply each row by the matrix of its expert; the router fixes the experts' order."""
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
    why = Place(f"places of a convolution in {call.where}")
    for one in (layout, weight):
        lay.hold(one, range(2, len(one)), why)
    turned = bool(call.given.get("transposed"))
    for axis in range(2, len(layout)):
        layout, weight = (lay.collapse(one, axis) for one in (layout, weight))
    layout = lay.reshaped(layout, (given[0], groups, given[1] // groups, *given[2:]))
    weight = lay.reshaped(weight, (groups, kernel[0] // groups, *kernel[1:]))
    # Kernels slide, so spatial axes of kernel, image and result are unrelated.
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
    """Fix the order of positions on some axes, on which the operation depends."""
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
    return [held(call, layout, axes, result) for result in tensors(call.result)]
