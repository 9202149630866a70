"""Classifiers of images by their folders: which class is which, and how pixels are prepared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as library
from datasets import ClassLabel, Dataset, DatasetDict
from PIL import Image
from torch.nn import functional

import basins
from basins.errors import UserError
from tests.checkpoints.test_families import IMAGES, shaken

SIZES = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
VIT = {**SIZES, "intermediate_size": 8, "image_size": 16, "patch_size": 8}
SQUARE = {"height": 16, "width": 16}
DRAW = np.random.default_rng(0)
PICTURES = [Image.fromarray(DRAW.integers(0, 256, (20, 18, 3), dtype=np.uint8)) for _ in range(8)]
NAMES = ("owl", "cat")  # not in the order of the alphabet, which folders have
TRUE = np.array([0, 1, 1, 0, 1, 0, 0, 1])


def folder(config: Any, processor: Any, name: str = "net", names: Any = NAMES) -> Any:
    config.id2label, config.label2id = dict(enumerate(names)), {n: k for k, n in enumerate(names)}
    torch.manual_seed(0)
    made = library.AutoModelForImageClassification.from_config(config)
    shaken(made).save_pretrained(name)
    if processor is not None:
        processor.save_pretrained(name)
    return made


def vit(**options: Any) -> Any:
    return folder(library.ViTConfig(**VIT), library.ViTImageProcessor(size=SQUARE), **options)


def loss(net: Any, processor: Any, pictures: Any = PICTURES) -> float:
    """The mean loss of the classes, worked out by the library alone."""
    with torch.no_grad():
        logits = net(**processor(pictures, return_tensors="pt")).logits
    return float(functional.cross_entropy(logits, torch.tensor(TRUE)))


def probed(data: str = "pictures") -> float:
    return basins.probe("net", data).rows.set_index("metric").at["loss", "value"]


def in_folders() -> None:
    for k, picture in enumerate(PICTURES):
        Path("pictures", NAMES[TRUE[k]]).mkdir(parents=True, exist_ok=True)
        picture.save(f"pictures/{NAMES[TRUE[k]]}/{k}.png")


def as_classes() -> None:
    split = Dataset.from_dict({"image": PICTURES, "label": 1 - TRUE})
    split = split.cast_column("label", ClassLabel(names=[*NAMES[::-1]]))
    DatasetDict(test=split).save_to_disk("pictures")


def as_texts() -> None:
    split = Dataset.from_dict({"image": PICTURES, "label": [NAMES[k] for k in TRUE]})
    DatasetDict(test=split).save_to_disk("pictures")


def as_numbers() -> None:
    arrays = [np.asarray(picture) for picture in PICTURES]
    DatasetDict(test=Dataset.from_dict({"image": arrays, "label": TRUE})).save_to_disk("pictures")


@pytest.mark.parametrize("put", [in_folders, as_classes, as_texts, as_numbers])
def test_outputs_are_the_classes_that_the_config_names(put):
    put()
    net = vit()
    assert probed() == pytest.approx(loss(net, library.ViTImageProcessor(size=SQUARE)), 1e-4)


def test_classes_that_the_config_does_not_know_are_refused_with_both_lists():
    in_folders()
    vit(names=("owl", "dog"))
    with pytest.raises(UserError, match=r"its classes \(cat, owl\) are not the network's \(owl, d"):
        probed()


PREPARED: dict[str, Any] = {
    "normalised twice": lambda: (
        IMAGES["efficientnet"],
        library.EfficientNetImageProcessor(size=SQUARE),
    ),
    "scaled from -1": lambda: (
        IMAGES["efficientnet"],
        library.EfficientNetImageProcessor(
            size=SQUARE, include_top=False, rescale_offset=True, rescale_factor=1 / 127.5
        ),
    ),
    "channels in reverse": lambda: (
        IMAGES["resnet"],
        library.MobileViTImageProcessor(size={"shortest_edge": 20}, crop_size=SQUARE),
    ),
    "grey": lambda: (
        library.ViTConfig(**VIT, num_channels=1),
        library.ViTImageProcessor(size=SQUARE, image_mean=[0.4], image_std=[0.2]),
    ),
}


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("kind", PREPARED)
def test_pixels_are_prepared_as_the_folder_says(kind, nested):
    config, processor = PREPARED[kind]()
    net = folder(config, processor)
    pictures = [p.convert("L") for p in PICTURES] if kind == "grey" else PICTURES
    split = Dataset.from_dict({"image": pictures, "label": TRUE})
    DatasetDict(test=split).save_to_disk("pictures")
    right = loss(net, processor, pictures)
    if nested:  # as a processor of text and images is saved
        file = Path("net/preprocessor_config.json")
        written = {"image_processor": json.loads(file.read_text()), "processor_class": "Mine"}
        Path("net/processor_config.json").write_text(json.dumps(written))
        file.unlink()
    assert probed() == pytest.approx(right, 1e-4)


def test_without_a_processor_a_line_says_how_images_come():
    net = vit()
    Path("net/preprocessor_config.json").unlink()
    pictures = [picture.resize((16, 16)) for picture in PICTURES]
    split = Dataset.from_dict({"image": pictures, "label": TRUE})
    DatasetDict(test=split).save_to_disk("pictures")
    inputs = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        right = functional.cross_entropy(net(inputs).logits, torch.tensor(TRUE))
    with pytest.warns(UserWarning, match="no preprocessor_config.json: images are given as they"):
        assert probed() == pytest.approx(float(right), 1e-4)


def test_of_several_frames_the_first_is_read_and_said():
    in_folders()
    PICTURES[0].save("pictures/cat/x.gif", save_all=True, append_images=PICTURES[1:3])
    vit()
    with pytest.warns(UserWarning, match="1 of 9 images have several frames, and the first is"):
        assert probed() > 0


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (Image.fromarray(np.full((20, 18), 9, np.uint16)), "its mode is I;16; save it with 8 bits"),
        (PICTURES[0].convert("LA"), "images of the modes RGB, RGBA; take one"),
    ],
)
def test_pixels_of_another_kind_are_one_line(picture, message):
    in_folders()
    picture.save("pictures/cat/x.png")
    vit()
    with pytest.raises(UserError, match=f"^pictures, data: .*{message}"):
        probed()


def test_configs_inside_a_config_are_compared_by_what_decides_an_answer():
    """Siglip's own default writes `dtype` into them once a network was read."""
    text = {**SIZES, "intermediate_size": 8, "vocab_size": 12, "max_position_embeddings": 16}
    config = library.SiglipConfig(vision_config=VIT, text_config=text)
    processor = library.SiglipImageProcessor(size=SQUARE)
    for name in ("one", "two"):
        folder(config, processor, name)
    as_numbers()
    for inner, refused in ({"dtype": "float16"}, False), ({"layer_norm_eps": 0.1}, True):
        file = Path("two/config.json")
        written = json.loads(file.read_text())
        written["vision_config"] |= inner
        file.write_text(json.dumps(written))
        if refused:
            with pytest.raises(UserError, match="two: vision_config is"):
                basins.probe(["one", "two"], "pictures")
        else:
            assert basins.probe(["one", "two"], "pictures").rows["value"].notna().all()
