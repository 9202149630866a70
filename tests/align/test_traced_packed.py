"""Packed projections: the rows of queries, keys, values, gates move wherever a family puts them."""

import numpy as np
import pytest
import torch

from basins.align import weight_matching
from basins.align.permute import permute
from basins.align.traced import trace
from tests.align.traced_nets import GPT2, GROUPED, ROWS, TEXT, Stranger, built, planted, said, text

ONE = {**TEXT, "num_hidden_layers": 1, "num_attention_heads": 6}
PAIRS = {**GROUPED, "num_hidden_layers": 1}
FALCON = {key: ONE[key] for key in ONE if not key.startswith(("inter", "pad", "max"))}
BLOOM = {"vocab_size": 50, "hidden_size": 24, "n_layer": 1, "n_head": 3}
BLOOM |= {"bos_token_id": 1, "eos_token_id": 2}
MPT = {"vocab_size": 50, "d_model": 24, "n_layers": 1, "n_heads": 3, "max_seq_len": 32}
SHARED = {**GPT2, "n_layer": 1, "multi_query": True}
EXPERTS = {**PAIRS, "head_dim": 4, "num_local_experts": 3, "num_experts_per_tok": 2}

# Six heads of four units, or three of eight; grouped, two queries have one key and value.
PACKED = {
    "phi3": text("Phi3ForCausalLM", "Phi3Config", **PAIRS),
    "falcon": text("FalconForCausalLM", "FalconConfig", **FALCON),
    "falcon_new": text(
        "FalconForCausalLM",
        "FalconConfig",
        **{**FALCON, "new_decoder_architecture": True, "num_kv_heads": 3},
    ),
    "gpt_neox": text("GPTNeoXForCausalLM", "GPTNeoXConfig", **ONE, rotary_pct=0.5),
    "bloom": text("BloomForCausalLM", "BloomConfig", **BLOOM),
    "mpt": text("MptForCausalLM", "MptConfig", **MPT),
    "gpt_bigcode": text("GPTBigCodeForCausalLM", "GPTBigCodeConfig", **SHARED),
    "gpt_oss": text("GptOssForCausalLM", "GptOssConfig", **EXPERTS),
}
LAYERS = {
    "phi3": "model.layers.0.self_attn.qkv_proj.weight",
    "falcon": "transformer.h.0.self_attention.query_key_value.weight",
    "falcon_new": "transformer.h.0.self_attention.query_key_value.weight",
    "gpt_neox": "gpt_neox.layers.0.attention.query_key_value.weight",
    "bloom": "transformer.h.0.self_attention.query_key_value.weight",
    "mpt": "transformer.blocks.0.attn.Wqkv.weight",
    "gpt_bigcode": "transformer.h.0.attn.c_attn.weight",
    "gpt_oss": "model.layers.0.mlp.experts.gate_up_proj",
}


def run(start, length, block=1):
    return block, (start, start + length)


# By family, what the groups move of the packed axis: runs of how many rows, and between which.
# A rotary embedding tells all units of a query or key apart (GPT-NeoX: half of them), ALiBi heads.
WINDOWS = {
    "phi3": [
        [run(0, 24, 8), run(24, 12, 4), run(36, 12, 4)],  # keys, values and their two queries
        *([run(8 * k, 8, 4)] for k in range(3)),  # the queries of one key
        *([run(36 + 4 * k, 4)] for k in range(3)),  # the units of a value
    ],
    "falcon": [[run(0, 24, 4)], [run(28, 4)]],  # the queries of the only key, its value's units
    "falcon_new": [
        [(16, None)],
        *([run(16 * k, 8, 4)] for k in range(3)),
        *([run(16 * k + 12, 4)] for k in range(3)),
    ],
    "gpt_neox": [
        [(12, None)],
        *([run(12 * k + 2, 2), run(12 * k + 6, 2)] for k in range(6)),
        *([run(12 * k + 8, 4)] for k in range(6)),
    ],
    "bloom": [
        *([run(24 * k, 8), run(24 * k + 8, 8)] for k in range(3)),
        *([run(24 * k + 16, 8)] for k in range(3)),
    ],
    "mpt": [
        *([run(8 * k, 8), run(24 + 8 * k, 8)] for k in range(3)),
        *([run(48 + 8 * k, 8)] for k in range(3)),
    ],
    "gpt_bigcode": [
        [run(0, 24, 8)],
        [run(8 * k, 8) for k in range(4)],  # the only key is read by all queries
        [run(32, 8)],
    ],
    "gpt_oss": [[(2, None)]],  # gates and what they gate take turns
}


@pytest.mark.parametrize("name", PACKED)
def test_windows_are_those_of_the_family(name):
    net, example = built(name, PACKED)
    spec = trace(net, (example,)).spec
    packed = [
        frozenset(
            (axis.block, axis.window)
            for axis in group
            if axis.tensor == LAYERS[name] and axis.dim == (2 if name == "gpt_oss" else 0)
        )
        for group in spec.groups.values()
    ]
    assert sorted(filter(None, packed), key=str) == sorted(map(frozenset, WINDOWS[name]), key=str)


def test_rows_of_gates_move_with_those_that_they_gate():
    net, example = built("phi3", PACKED)
    gates = [
        {
            axis.window
            for axis in group
            if axis.tensor.endswith("gate_up_proj.weight") and not axis.dim
        }
        for group in trace(net, (example,)).spec.groups.values()
    ]
    assert [group for group in gates if group] == [{(0, 32), (32, 64)}]


@pytest.mark.parametrize("name", PACKED)
def test_planted_permutations_keep_the_function_and_are_matched(name):
    net, example = built(name, PACKED)
    spec = trace(net, (example,)).spec
    other = example.flip(0, 1)
    before = said(net, other)
    state, moved = planted(net, spec)
    assert not torch.equal(moved[LAYERS[name]], state[LAYERS[name]])
    found = weight_matching.align(state, moved, spec, generator=np.random.default_rng(0))
    for key, tensor in permute(moved, spec, found).items():
        torch.testing.assert_close(tensor, state[key])
    net.load_state_dict(moved)
    torch.testing.assert_close(said(net, other), before, rtol=1e-3, atol=1e-4)


def test_the_share_counts_the_units_that_move():
    """Multi-query attention has one key, of which a rotary embedding tells all four units apart."""
    net, example = built("falcon", PACKED)
    found = trace(net, (example,))
    sizes = [p.numel() for p in net.parameters()]
    assert found.share == pytest.approx(1 - 4 * 24 / 2 / sum(sizes))  # they move as columns alone
    assert found.fixed == {LAYERS["falcon"]: "a constant in transformer.rotary_emb"}


def test_the_share_of_what_moves_in_part():
    """By tensor, entries that move; of the second weight all columns stay, so they count half."""
    found = trace(Stranger(lambda units: units.sort(-1).values), (ROWS,))
    moves = {"second.weight": 36 / 2, "second.bias": 6, "head.weight": 18}
    total = (30 + 6) + (36 + 6) + (18 + 3) + (36 + 6)
    assert found.share == pytest.approx(sum(moves.values()) / total)
    assert found.fixed["second.weight"] == "sort"


@pytest.mark.parametrize(
    ("between", "moves"),
    [
        (lambda u: u[:, [3, 4, 5]], [(1, (0, 3)), (1, (3, 6))]),  # what is not read is free
        (lambda u: u[:, torch.tensor([-2])], [(1, (0, 4))]),  # it and the last are each alone
        (lambda u: u[:, [4, 3, 5]], []),
        (lambda u: u[:, u.sum(0).argmax()[None]], []),  # which one depends on the rows
        (lambda u: u[:, ::2] * u[:, 1::2], [(2, None)]),
        (lambda u: torch.view_as_real(torch.view_as_complex(u.unflatten(1, (3, 2)))), [(2, None)]),
        (lambda u: u - u.max(1, keepdim=True).values, []),  # the largest is told from the others
        (lambda u: torch.cat([u, u[:, 6:] * u[:, :0]], 1), [(1, None)]),  # no entries, no units
    ],
)
def test_what_is_cut_out_moves_by_itself(between, moves):
    """What groups move of the first layer: runs of how many units, and between which."""
    net = Stranger(lambda units: between(units).flatten(1))
    net.second = torch.nn.Linear(net.between(torch.randn(4, 6)).shape[1], 6)
    found = trace(net, (ROWS,))
    before = said(net, ROWS)
    net.load_state_dict(planted(net, found.spec)[1])
    torch.testing.assert_close(said(net, ROWS), before)
    first = [a for axes in found.spec.groups.values() for a in axes if a.tensor == "first.bias"]
    assert [(axis.block, axis.window) for axis in first] == moves
