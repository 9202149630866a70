"""Networks to trace: one of every family, small, and one of which a test gives an operation."""

import numpy as np
import pytest
import torch
import transformers as hf
from torch import nn

from basins.align.permute import permute, random_permutations

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


ROWS = torch.randn(4, 5, generator=torch.Generator().manual_seed(1))
