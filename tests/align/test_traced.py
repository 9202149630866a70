"""Permutation specs traced from networks, against hand-written ones and against the networks."""

import copy

import numpy as np
import pytest
import torch
import transformers as hf
from torch import nn

from basins.align import universe, weight_matching
from basins.align.permute import permute, random_permutations
from basins.align.traced import rules, trace
from basins.errors import UserError

vision = pytest.importorskip("torchvision.models")

IDS = torch.randint(3, 40, (2, 7), generator=torch.Generator().manual_seed(0))
PIXELS = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
TEXT = {
    "vocab_size": 50,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
EMBEDDED = {"embedding_size": 16, **TEXT}
DEBERTA = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8}
MODERN = {"global_attn_every_n_layers": 2, "local_attention": 4}
MODERN |= {"cls_token_id": 1, "sep_token_id": 2}
GPT2 = {"vocab_size": 50, "n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 32}
GPT2 |= {"bos_token_id": 1, "eos_token_id": 2}
GROUPED = {**TEXT, "num_attention_heads": 6, "num_key_value_heads": 3}
EXPERTS = {"num_local_experts": 3, "num_key_value_heads": 3}
IMAGES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3}
IMAGES |= {"intermediate_size": 32, "image_size": 32, "patch_size": 8}


class Flattened(nn.Module):
    """What VGG and AlexNet do: pooled places of channels are read by a linear layer."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, 2), nn.ReLU(), nn.MaxPool2d(2))
        self.pool = nn.AdaptiveAvgPool2d((3, 3))
        self.classifier = nn.Sequential(nn.Linear(54, 8), nn.ReLU(), nn.Linear(8, 4))

    def forward(self, images):
        return self.classifier(torch.flatten(self.pool(self.features(images)), 1))


def efficientnet():
    setting = vision.efficientnet.MBConvConfig
    blocks = [setting(1, 3, 1, 16, 8, 1, 1, 1), setting(4, 3, 2, 8, 16, 2, 1, 1)]
    return vision.EfficientNet(blocks, 0.1, num_classes=4)


def convnext():
    setting = vision.convnext.CNBlockConfig
    return vision.ConvNeXt([setting(8, 12, 1), setting(12, None, 2)], num_classes=4)


def text(kind, config, **options):
    return lambda: getattr(hf, kind)(getattr(hf, config)(**options)), IDS


def image(kind, config, **options):
    return lambda: getattr(hf, kind)(getattr(hf, config)(**options)), PIXELS


ZOO = {
    "flattened": (Flattened, PIXELS),
    "resnet": (lambda: vision.ResNet(vision.resnet.BasicBlock, [1, 1, 1, 1], 4), PIXELS),
    "mobilenet": (lambda: vision.mobilenet_v2(width_mult=0.5, num_classes=4), PIXELS),
    "efficientnet": (efficientnet, PIXELS),
    "convnext": (convnext, PIXELS),
    "densenet": (lambda: vision.DenseNet(4, (2, 2), 8, 2, 0, 4), PIXELS),
    "vit": (lambda: vision.VisionTransformer(32, 8, 2, 3, 24, 32, num_classes=4), PIXELS),
    "swin": (
        lambda: vision.SwinTransformer([4, 4], 12, [2, 2], [3, 6], [4, 4], num_classes=4),
        PIXELS,
    ),
    "bert": text("BertForSequenceClassification", "BertConfig", **TEXT),
    "roberta": text("RobertaForSequenceClassification", "RobertaConfig", **TEXT),
    "longformer": text(
        "LongformerForSequenceClassification", "LongformerConfig", **TEXT, attention_window=4
    ),
    "distilbert": text(
        "DistilBertForSequenceClassification",
        "DistilBertConfig",
        **{"vocab_size": 50, "dim": 24, "n_layers": 2, "n_heads": 3, "hidden_dim": 32},
    ),
    "electra": text("ElectraForSequenceClassification", "ElectraConfig", **EMBEDDED),
    "albert": text("AlbertForSequenceClassification", "AlbertConfig", **EMBEDDED),
    "deberta": text("DebertaV2ForSequenceClassification", "DebertaV2Config", **TEXT, **DEBERTA),
    "modernbert": text("ModernBertForSequenceClassification", "ModernBertConfig", **TEXT, **MODERN),
    "gpt2": text("GPT2LMHeadModel", "GPT2Config", **GPT2),
    "llama": text("LlamaForCausalLM", "LlamaConfig", **GROUPED),
    "mixtral": text("MixtralForCausalLM", "MixtralConfig", **TEXT, **EXPERTS),
    "t5": text(
        "T5EncoderModel",
        "T5Config",
        **{"vocab_size": 50, "d_model": 24, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 3},
    ),
    "hf_vit": image("ViTForImageClassification", "ViTConfig", **IMAGES),
    "hf_resnet": image(
        "ResNetForImageClassification",
        "ResNetConfig",
        **{"embedding_size": 8, "hidden_sizes": [16, 32], "depths": [1, 2]},
    ),
    "hf_convnext": image(
        "ConvNextForImageClassification",
        "ConvNextConfig",
        **{"hidden_sizes": [8, 16], "depths": [1, 2], "num_stages": 2},
    ),
    "clip": image("CLIPVisionModel", "CLIPVisionConfig", **IMAGES),
}

# Of each, how many groups there are. All parameters can move but those of the outputs' order: the
# last bias, where there is one; of an encoder without a head, all that writes its states.
GROUPS = {"flattened": 2, "resnet": 8, "mobilenet": 25, "efficientnet": 9, "convnext": 5}
GROUPS |= {"densenet": 10, "vit": 17, "swin": 46, "bert": 18, "roberta": 18, "distilbert": 18}
GROUPS |= {"electra": 19, "albert": 11, "deberta": 19, "modernbert": 12, "gpt2": 17, "llama": 17}
GROUPS |= {
    "longformer": 14,
    "t5": 15,
    "hf_vit": 17,
    "hf_resnet": 9,
    "hf_convnext": 5,
    "clip": 16,
    "mixtral": 11,
}
HEADLESS = {"t5": 0.85, "clip": 0.59}
ROUTED = {"mixtral": 0.77}  # experts stay, and with them a third of what moves along three axes


def built(name, zoo=ZOO):
    """Return a network whose every tensor is off its initial value, and its input."""
    make, example = zoo[name]
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        net = make().eval()
        for tensor in net.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.1 * torch.rand_like(tensor))
    return net, example


def said(net, example):
    with torch.no_grad():
        output = net(example)
    if isinstance(output, torch.Tensor):
        return output
    return output[0] if output.get("logits") is None else output.logits


def planted(net, spec, seed=0):
    """Return a network's state, and the same with its units in another order."""
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    drawn = random_permutations(state, spec, np.random.default_rng(seed))
    return state, permute(state, spec, drawn)


def sets(spec):
    return {frozenset(axes) for axes in spec.groups.values()}


def test_hand_written_specs_are_recovered(family):
    net = family.trained()
    written, traced = net.permutation_spec(), trace(net, (family.inputs(0),))
    assert sets(written) <= sets(traced.spec)
    assert list(traced.fixed) == ["classifier.bias" if family.shape is None else "head.bias"]
    if family.shape is None:  # beyond these, the query and key units within a head
        assert len(traced.spec.groups) == len(written.groups) + 2 * 4
    else:
        assert traced.spec.groups.keys() == written.groups.keys()


@pytest.mark.parametrize("name", ZOO)
def test_permuting_what_was_traced_keeps_the_function(name):
    net, example = built(name)
    traced = trace(net, (example,))
    assert len(traced.spec.groups) == GROUPS[name]
    assert traced.share > (HEADLESS | ROUTED).get(name, 0.99)
    if name in ROUTED:
        assert {reason.split()[0] for reason in traced.fixed.values()} == {"experts", "topk"}
    else:
        assert all("an output" in reason for reason in traced.fixed.values())
        assert name in HEADLESS or len(traced.fixed) <= 1
    other = example.flip(0, 1)
    before = said(net, other)
    state, moved = planted(net, traced.spec)
    assert any(not torch.equal(moved[key], tensor) for key, tensor in state.items())
    net.load_state_dict(moved)
    torch.testing.assert_close(said(net, other), before, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["flattened", "bert", "gpt2", "llama", "swin", "densenet"])
def test_weight_matching_undoes_a_planted_permutation(name):
    net, example = built(name)
    spec = trace(net, (example,)).spec
    state, moved = planted(net, spec)
    found = weight_matching.align(state, moved, spec, generator=np.random.default_rng(0))
    for key, tensor in permute(moved, spec, found).items():
        torch.testing.assert_close(tensor, state[key])


def test_every_window_of_packed_weights_is_moved_and_matched():
    """Queries and keys share their units; grouped queries share those of one key."""
    net, example = built("llama")
    axes = trace(net, (example,)).spec.groups
    layer = "model.layers.0.self_attn"
    windows = {
        frozenset(axis.window for axis in group if axis.tensor == f"{layer}.o_proj.weight")
        for group in axes.values()
    }
    # Three groups of two heads of four units: all groups, the two heads of each, the units of each.
    assert windows - {frozenset()} == {
        frozenset([None]),
        *(frozenset([(8 * k, 8 * k + 8)]) for k in range(3)),
        *(frozenset([(8 * k, 8 * k + 4), (8 * k + 4, 8 * k + 8)]) for k in range(3)),
    }


@pytest.mark.parametrize("name", ["gpt2", "densenet"])
def test_relaxed_permutations_act_on_every_window(name):
    """Where mixtures are permutations, mixed weights are permuted ones."""
    net, example = built(name)
    spec = trace(net, (example,)).spec
    state = net.state_dict()
    drawn = random_permutations(state, spec, np.random.default_rng(0))
    problem, moved = universe.Problem([state], spec), permute(state, spec, drawn)
    for key in problem.weights:
        torch.testing.assert_close(
            problem.mixed(key, problem.mixtures([drawn]))[0].float(), moved[key]
        )
    curve = problem.curve(
        *(problem.mixtures([p]) for p in (weight_matching.identity(state, spec), drawn)), 0.0, 0.0
    )
    assert np.isfinite(curve(0.5))


class Stranger(nn.Module):
    """Two hidden layers of six units, between which something is done to the units."""

    def __init__(self, between=lambda units: units, width=6):
        super().__init__()
        self.first, self.second = nn.Linear(5, width), nn.Linear(width, 6)
        self.head = nn.Linear(6, 3)
        self.unused = nn.Linear(6, 6)
        self.between = between

    def forward(self, x):
        return self.head(self.second(self.between(self.first(x).relu())).relu())


THIRDS = [(0, 2), (2, 4), (4, 6)]
ROWS = torch.randn(4, 5, generator=torch.Generator().manual_seed(1))


def test_what_is_not_known_is_left_fixed_and_named():
    found = trace(Stranger(lambda units: units.sort(-1).values), (ROWS,))
    assert list(found.spec.groups) == ["second"]
    assert found.fixed["first.bias"] == "sort"
    assert found.fixed["unused.weight"] == "not used on the example"
    assert found.fixed["first.weight"] == "sort; an input"
    assert found.fixed["second.weight"] == "sort"  # its columns
    assert "first.bias and 1 more (sort)" in str(found)


def put(units, columns):
    made = units.new_zeros(units.shape)
    if columns is None:
        made[[*range(len(units))]] = units
    else:
        made[:, columns] = units
    return made


@pytest.mark.parametrize(
    ("between", "first"),
    [
        (lambda units: put(units, None), True),
        (lambda units: put(units, [3, 4, 0, 1, 5, 2]), False),
        (lambda units: units.as_strided((2, 3, 6), (6, 6, 1)).flatten(0, 1), True),
        (lambda units: units.as_strided((4, 6), (5, 1)), False),
        (lambda units: units.as_strided((2, 6), (6, 1), 3), False),
        (lambda units: units[:, [3, 4, 0, 1, 5, 2]], False),
        (lambda units: units.cumsum(1), False),
        (lambda units: units.roll(1, 1), False),
        (lambda units: units.roll(1), False),
        (lambda units: units * torch.arange(6), False),
        (lambda units: units[:, ::2].repeat_interleave(2, 1), True),
        (lambda units: units[:, :5:2].repeat_interleave(2, 1), True),
        (lambda units: units[:, 1:4:2].repeat_interleave(3, 1), False),
        (lambda units: units - units.mean(1, keepdim=True), True),
        (lambda units: nn.functional.softmax(units, 1) + units.std(1, keepdim=True), True),
        (lambda units: torch.einsum("nu,mu->nm", units, units) @ units, True),
        (lambda units: units.clone().mul_(2).add_(units), True),
        (lambda units: units * torch.ones(6), True),
        (lambda units: nn.functional.mish(nn.functional.hardswish(units + 0, True), True), True),
        (lambda units: torch.ops.aten.gelu_(units + 0).abs_(), True),
        (lambda units: nn.functional.logsigmoid(nn.functional.threshold(units, 0, 1, True)), True),
        (lambda units: nn.functional.prelu(-units, torch.full((6,), 0.2)), True),
    ],
)
def test_operations_keep_units_in_order_only_where_they_must(between, first):
    net = Stranger(between)
    found = trace(net, (ROWS,))
    assert ("first" in found.spec.groups) == first and "second" in found.spec.groups
    before = said(net, ROWS)
    net.load_state_dict(planted(net, found.spec)[1])
    torch.testing.assert_close(said(net, ROWS), before)


@pytest.mark.parametrize(
    ("between", "windows"),
    [
        (lambda u: torch.cat(u.chunk(2, 1)[::-1], 1), [[(0, 3)], [(3, 6)]]),
        (lambda u: u[:, :3] * u[:, 3:], [[(0, 3), (3, 6)]]),
        (lambda u: nn.functional.glu(u), [[(0, 3), (3, 6)]]),
        (lambda u: nn.functional.group_norm(u, 2), [[None], [(0, 3)], [(3, 6)]]),
        (lambda u: torch.stack([u[:, :2], u[:, 2:4], u[:, 4:]]).sum(0), [THIRDS]),
        (lambda u: u.view(-1, 3, 2).amax(2), [[None], *([third] for third in THIRDS)]),
        (lambda u: u.view(-1, 3, 2).softmax(1).flatten(1), [[None], THIRDS]),
    ],
)
def test_windows_are_those_of_the_operation(between, windows):
    """By group, where the first layer's units are that it moves together."""
    net = Stranger(between)
    net.second = nn.Linear(between(torch.randn(2, 6)).shape[1], 6)
    found = trace(net, (ROWS,))
    first = [
        {axis.window for axis in group if axis.tensor == "first.bias"}
        for group in found.spec.groups.values()
    ]
    before = said(net, ROWS)
    net.load_state_dict(planted(net, found.spec)[1])
    torch.testing.assert_close(said(net, ROWS), before)
    assert {frozenset(f) for f in first if f} == {frozenset(w) for w in windows}


@pytest.mark.parametrize(
    ("second", "groups"),
    [
        (nn.Conv2d(6, 6, 3), 2),
        (nn.Conv2d(6, 6, 3, groups=6), 1),
        (nn.Conv2d(6, 12, 3, groups=2), 4),
        (nn.ConvTranspose2d(6, 12, 3, groups=2), 4),
        (nn.ConvTranspose2d(6, 4, 3, stride=2), 2),
    ],
)
def test_convolutions_of_every_kind(second, groups):
    """Of a grouped one: the groups, what one writes, and what all read alike, or the reverse."""
    head = nn.Linear(second.out_channels, 3)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), second, nn.ReLU(), Means(), head)
    found = trace(net, (PIXELS,))
    before = said(net, PIXELS)
    net.load_state_dict(planted(net, found.spec)[1])
    torch.testing.assert_close(said(net, PIXELS), before)
    assert len(found.spec.groups) == groups and list(found.fixed) == ["5.bias"]


class Means(nn.Module):
    def forward(self, images):
        return images.mean((2, 3))


def test_a_wrong_rule_is_caught_and_named(monkeypatch):
    """The proof is independent of the rules: here the order of a sum is taken to be nothing."""
    monkeypatch.setitem(rules.RULES, "cumsum", lambda call: [call.layout("self")])
    net = Stranger(lambda units: units.cumsum(1))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()  # weights that hide it are not those that it is looked at with
    found = trace(net, (ROWS,))
    assert list(found.spec.groups) == ["second"]
    assert found.fixed["first"] == "permuting it changes the outputs"
    assert found.fixed["first.weight"] == "permuting it changes the outputs; an input"


def test_tied_weights_move_under_both_names():
    net, example = built("gpt2")
    state, moved = planted(net, trace(net, (example,)).spec)
    ties = [moved[name] for name in ("lm_head.weight", "transformer.wte.weight")]
    assert torch.equal(*ties) and not torch.equal(ties[0], state["lm_head.weight"])


def test_units_that_a_weight_both_reads_and_writes_stay():
    """Matching them would be a quadratic assignment."""
    net = nn.Sequential(nn.Linear(5, 6), Residual(), nn.Linear(6, 3))
    found = trace(net, (ROWS,))
    assert not found.spec.groups
    assert "the same units on two axes of one tensor" in found.fixed["1.inner.weight"]


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(6, 6)

    def forward(self, x):
        return x + self.inner(x)


def test_the_network_is_left_as_it_was():
    net = Stranger().train()
    net.second.eval()
    before = copy.deepcopy(net.state_dict())
    trace(net, (ROWS,))
    assert net.training and not net.second.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_network_that_does_not_run_is_one_line():
    with pytest.raises(UserError, match="Stranger does not run on the example: .*shapes"):
        trace(Stranger(), (ROWS[:, :3],))


def test_a_spec_with_windows_says_where_a_state_does_not_fit():
    net, example = built("gpt2")
    spec, state = trace(net, (example,)).spec, dict(net.state_dict())
    state["transformer.h.0.mlp.c_fc.bias"] = torch.zeros(7)
    with pytest.raises(UserError, match="c_fc"):
        spec.check(state)
