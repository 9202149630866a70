"""oneDNN's products: torch's to rounding, with their gradients, where they are worth their call."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from basins.nets import products

ROWS, WIDTH = 256, 128  # twice as many multiplications as are worth it


@pytest.fixture(autouse=True)
def faster(monkeypatch):
    """OneDNN is taken for the faster, whatever processor tests run on."""
    monkeypatch.setattr(products, "FASTER", True)


@pytest.fixture
def layers() -> tuple[nn.Linear, nn.Linear]:
    """Torch's layer, and the same as oneDNN computes it."""
    torch.manual_seed(0)
    plain, ours = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
    ours.load_state_dict(plain.state_dict())
    products.by_onednn(nn.Sequential(ours))
    return plain, ours


def calls(monkeypatch) -> list[torch.Size]:
    """Return the sizes of the products that `Product` computes from now on."""
    seen: list[torch.Size] = []
    known = products.Product.forward

    def forward(ctx, left, right):
        seen.append(left.shape)
        return known(ctx, left, right)

    monkeypatch.setattr(products.Product, "forward", staticmethod(forward))
    return seen


@pytest.mark.parametrize("rows", [ROWS // 2, ROWS // 2 + 7])
def test_the_product_and_its_gradients_are_torchs(layers, monkeypatch, rows):
    seen, found = calls(monkeypatch), []
    for layer in layers:
        torch.manual_seed(1)
        inputs = torch.randn(2, rows, WIDTH, requires_grad=True)
        outputs = layer(inputs)
        slopes = torch.autograd.grad(outputs.sin().sum(), [inputs, *layer.parameters()])
        found.append([outputs, *slopes])
    assert len(seen) == 3
    assert {size % products.ROWS for size in (seen[0][0], seen[1][0], seen[2][1])} == {0}
    for theirs, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("bias", [True, False])
def test_an_evaluation_adds_the_bias_within_the_product(layers, monkeypatch, bias):
    (plain, ours), seen = layers, calls(monkeypatch)
    if not bias:
        plain.bias = ours.bias = None
    inputs = torch.randn(2, ROWS // 2 + 7, WIDTH)
    expected = plain(inputs)
    monkeypatch.setattr(products.functional, "linear", None)
    outputs = ours(inputs)
    assert not seen  # `Product` is for gradients
    torch.testing.assert_close(outputs, expected, rtol=1e-5, atol=1e-5)


def test_it_can_be_differentiated_twice(layers):
    found = []
    for layer in layers:
        torch.manual_seed(1)
        inputs = torch.randn(ROWS, WIDTH)
        [slope] = torch.autograd.grad(layer(inputs).sin().mean(), layer.weight, create_graph=True)
        found.append(torch.autograd.grad(slope.square().sum(), layer.weight)[0])
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-8)


def test_small_products_and_other_precisions_stay_torchs(layers, monkeypatch):
    (plain, ours), seen = layers, calls(monkeypatch)
    few, many = torch.randn(2, WIDTH), torch.randn(ROWS, WIDTH)
    assert torch.equal(ours(few), plain(few))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ours(many), plain(many))
    assert torch.equal(torch.vmap(ours)(many), torch.vmap(plain)(many))
    double = many.double()
    assert torch.equal(ours.double()(double), plain.double()(double))
    assert not seen


def test_where_mkl_is_faster_products_stay_torchs(layers, monkeypatch):
    (plain, ours), seen = layers, calls(monkeypatch)
    monkeypatch.setattr(products, "FASTER", False)
    many = torch.randn(ROWS, WIDTH)
    assert torch.equal(ours(many), plain(many))
    assert not seen
