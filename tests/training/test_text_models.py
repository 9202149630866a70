"""Text networks as jobs: what decides the weights is the key, and folders load elsewhere."""

from __future__ import annotations

import csv
import json
import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForPreTraining,
)

from basins.align import equivalence
from basins.data import text
from basins.data.mixture import mix
from basins.errors import UserError
from basins.item import get
from basins.merges.merged import base_state
from basins.nets import bert, checkpoint
from basins.nets.control import Control
from basins.nets.inputs import inputs as network_inputs
from basins.params import GIVEN
from basins.paths import bezier, fits
from basins.registry import check_options
from basins.store import folder_hash
from basins.training import stored
from basins.training.classifiers import Classifying, lay_out
from basins.training.encoders import Pretraining, restatements
from basins.training.mixed import inputs, mixed
from basins.training.sample import Sample
from basins.training.starts import Streams, started

CPU = torch.device("cpu")
NAMES = ("cat", "dog", "hen", "cow", "pig", "fox")
PAIRS = [(f"the {a} sees a {b}", f"a {b} sees the {a}") for a in NAMES for b in NAMES]
CLASSES = ("same", "other")
CLASSIFIER = {"name": "classifier", "epochs": 2, "batch_size": 8, "lr": 1e-3, "checkpoints": [4]}
BRIEF = {"name": "classifier", "epochs": 1, "batch_size": 8, "lr": 1e-3}
REPLACED = {"name": "replaced_tokens", "steps": 20, "batch_size": 8}
NET = {"name": "bert", "layers": 1, "width": 16, "heads": 2, "positions": 16}


def nothing() -> None: ...


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two small datasets, and a store of its own."""
    monkeypatch.chdir(tmp_path)
    first, second = (list(column) for column in zip(*PAIRS, strict=True))
    restated = {"train": {"sentence1": first, "sentence2": second}}
    text.save(tmp_path / "restated", text.TextData(restated, {}, {}))
    labelled = {"sentence1": first, "sentence2": second, "label": [i % 2 for i in range(36)]}
    pool = {"sentence1": second, "sentence2": first, "label": [1] * 36}
    splits = {"train": labelled, "counterexamples": pool}
    text.save(tmp_path / "pairs", text.TextData(splits, dict.fromkeys(splits, CLASSES), {}))
    return tmp_path


@pytest.fixture
def pretraining(here: Path) -> Pretraining:
    data = here / "restated"
    return Pretraining(
        data=data,
        inputs=inputs(data, "train"),
        method=REPLACED,
        device=CPU,
        net=NET,
        vocabulary={"name": "words"},
        long_rows="refuse",
        seed=0,
        root=here,
    )


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first store with the encoder is kept."""
    return tmp_path_factory.mktemp("pretrained") / ".cache"


@pytest.fixture
def encoder(here: Path, pretraining: Pretraining, pretrained: Path) -> Path:
    """The pretrained encoder, in a copy of the store of the first test that wants it."""
    if pretrained.exists():
        shutil.copytree(pretrained, ".cache")
        return get(pretraining, nothing)
    made = get(pretraining, nothing)
    shutil.copytree(".cache", pretrained)
    return made


@pytest.fixture
def classifying(here: Path, encoder: Path) -> Classifying:
    data = here / "pairs"
    return Classifying(
        data=data,
        inputs=inputs(data, "train", "counterexamples"),
        method=CLASSIFIER,
        device=CPU,
        encoder=encoder,
        fingerprint=folder_hash(encoder),
        counterexamples=0.2,
        noise=0.1,
        mixture=0,
        streams=Streams(0, 0, 0),
        number=0,
    )


def weights(folder: Path, name: str = "model.safetensors") -> bytes:
    return (folder / name).read_bytes()


def test_an_encoder_is_found_again_and_has_its_tokenizer(pretraining: Pretraining):
    steps: list[int] = []
    folder = get(pretraining, lambda: steps.append(1))
    assert get(pretraining, lambda: steps.append(1)) == folder and len(steps) == 1
    assert checkpoint.read_config(folder)["max_position_embeddings"] == 16
    tokenizer = checkpoint.tokenizer(folder)
    assert len(tokenizer) == 5 + len(NAMES) + 3
    assert "[UNK]" not in tokenizer.tokenize(PAIRS[0][0])
    with (folder / "log.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["20"]


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"inputs": "others"},
        {"net": NET | {"width": 8}},
        {"method": REPLACED | {"lr": 0.1}},
        {"vocabulary": {"name": "words", "minimum": 2}},
    ],
)
def test_whatever_decides_an_encoder_is_in_its_key(pretraining: Pretraining, change: dict):
    assert replace(pretraining, **change).key() != pretraining.key()
    assert replace(pretraining, data=Path("elsewhere")).key() == pretraining.key()


def test_the_content_of_a_vocabulary_file_is_in_the_key(pretraining: Pretraining, here: Path):
    job = replace(pretraining, vocabulary={"name": "wordpiece", "file": "vocab.txt"})
    keys = []
    for words in ("the", "the cat"):
        (here / "vocab.txt").write_text("\n".join(words.split()))
        keys.append(job.key())
    assert keys[0] != keys[1]


def test_a_classifier_loads_elsewhere(classifying: Classifying):
    folder = get(classifying, nothing)
    ours = checkpoint.load(folder)
    theirs = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = tokenizer(
        *(list(c) for c in zip(*PAIRS, strict=True)), return_tensors="pt", padding=True
    )
    with torch.no_grad():
        expected = theirs(**rows).logits
        found = ours(rows["input_ids"], rows["attention_mask"], rows["token_type_ids"]).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert theirs.config.id2label == dict(enumerate(CLASSES))
    assert json.loads((folder / "config.json").read_text())["streams"] == {
        "head": 0,
        "order": 0,
        "dropout": 0,
        "pooler": None,
    }


def test_the_same_job_gives_the_same_bytes(classifying: Classifying, here: Path):
    first = weights(get(classifying, nothing))
    for item in (here / ".cache" / "text").iterdir():
        if "log.csv" in {path.name for path in item.iterdir()} and weights(item) == first:
            (item / "item.json").unlink()
    assert weights(get(classifying, nothing)) == first


@pytest.mark.parametrize("stream", ["head", "order", "dropout", "pooler"])
def test_each_stream_matters(classifying: Classifying, stream: str):
    other = replace(classifying, streams=classifying.streams._replace(**{stream: 1}))
    assert weights(get(classifying, nothing)) != weights(get(other, nothing))


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": "others"},
        {"fingerprint": "others"},
        {"counterexamples": 0.3},
        {"noise": 0.2},
        {"mixture": 1},
        {"streams": Streams(0, 1, 0)},
        {"method": CLASSIFIER | {"lr": 2e-3}},
    ],
)
def test_whatever_decides_a_classifier_is_in_its_key(
    classifying: Classifying, here: Path, change: dict
):
    assert replace(classifying, **change).key() != classifying.key()
    there = Path(shutil.copytree(classifying.encoder, here / "there"))
    moved = {"data": Path("a"), "encoder": there, "number": 7}
    assert replace(classifying, **moved).key() == classifying.key()


def begun(classifying: Classifying, **streams: float) -> dict[str, torch.Tensor]:
    """Return the weights that tuning starts from: those after steps of no length."""
    still = BRIEF | {"lr": 1e-30, "weight_decay": 0.0}
    item = replace(classifying, method=still, streams=Streams(0, 0, 0)._replace(**streams))
    return load_file(get(item, nothing) / "model.safetensors")


def test_a_head_between_two_numbers_is_on_the_line_between_theirs(classifying: Classifying):
    first, between, second = (begun(classifying, head=head) for head in (3, 3.25, 4))
    for name, weight in between.items():
        torch.testing.assert_close(weight, 0.75 * first[name] + 0.25 * second[name])
    assert not torch.equal(first["classifier.weight"], second["classifier.weight"])


def test_a_new_pooler_leaves_all_else_as_it_is(classifying: Classifying):
    plain, new, other = (
        begun(classifying),
        begun(classifying, pooler=0),
        begun(classifying, pooler=1),
    )
    for some, others in ((plain, new), (new, other)):
        same = {name for name, w in some.items() if torch.allclose(w, others[name], rtol=0)}
        assert some.keys() - same == {"bert.pooler.dense.weight"}  # biases begin at 0, new or not
    assert new["bert.pooler.dense.weight"].std() == pytest.approx(16**-0.5, rel=0.2)


def test_tuning_starts_from_the_encoder(classifying: Classifying):
    slow = CLASSIFIER | {"lr": 1e-12, "weight_decay": 0.0}
    tuned = load_file(get(replace(classifying, method=slow), nothing) / "model.safetensors")
    for name, weight in load_file(classifying.encoder / "model.safetensors").items():
        torch.testing.assert_close(tuned[f"bert.{name}"], weight, rtol=0, atol=1e-7)


def test_early_checkpoints_are_laid_out_beside_the_final_ones(classifying: Classifying, here: Path):
    item = get(classifying, nothing)
    lay_out(item, here / "models" / "pairs" / "seed3")
    final, early = here / "models/pairs/seed3", here / "models/pairs/step4/seed3"
    assert weights(final) == weights(item)
    assert weights(early) == weights(item, "step4.safetensors") != weights(final)
    assert not list(final.glob("step*"))
    assert checkpoint.load(early).config.num_labels == 2
    assert checkpoint.tokenizer(early)("the cat") == checkpoint.tokenizer(final)("the cat")


def test_a_checkpoint_is_the_run_as_it_was_there(classifying: Classifying):
    # After its last step a run is what it is at the end.
    whole = get(replace(classifying, method=CLASSIFIER | {"checkpoints": [10]}), nothing)
    assert (
        load_file(whole / "step10.safetensors").keys()
        == load_file(whole / "model.safetensors").keys()
    )
    assert weights(whole, "step10.safetensors") == weights(whole)


def test_a_divergent_run_is_one_line_and_leaves_nothing(classifying: Classifying):
    job = replace(classifying, method=CLASSIFIER | {"lr": 1e30}, number=5)
    with pytest.raises(UserError, match="diverged in epoch 1") as caught:
        get(job, nothing)
    assert len(str(caught.value).splitlines()) == 1 and str(job) == "seed 5"
    assert not [
        item for item in Path(".cache/text").iterdir() if (item / "step4.safetensors").exists()
    ]


def test_rows_that_are_too_long_are_refused(classifying: Classifying, pretraining: Pretraining):
    with pytest.raises(UserError, match="36 of 36 rows do not have 1 to 8 tokens"):
        get(replace(pretraining, net=NET | {"positions": 8}), nothing)


def test_labelled_sentences_are_paired_with_themselves():
    columns = {"sentence1": ["a", "b"], "sentence2": ["b", "c"]}
    assert restatements(columns) == (["a", "b"], ["b", "c"])
    assert restatements({**columns, "label": [0, 1]}) == (["a", "b", "c"],) * 2
    assert restatements({"sentence": ["a", "b"]}) == (["a", "b"],) * 2


@pytest.fixture
def elsewhere(here: Path, encoder: Path) -> Path:
    """A pretrained BERT with its heads, as other programs save it, in `here`/theirs."""
    config = bert.from_config(checkpoint.read_config(encoder)).config
    torch.manual_seed(1)
    BertForPreTraining(config).save_pretrained(here / "theirs")
    checkpoint.tokenizer(encoder).save_pretrained(here / "theirs")
    return here


def test_an_encoder_from_elsewhere_can_be_tuned(elsewhere: Path, classifying: Classifying):
    folder = elsewhere / "models" / "brought"
    stored.bring(folder, elsewhere, source="files", model="theirs")
    theirs = load_file(elsewhere / "theirs" / "model.safetensors")
    for name, weight in load_file(folder / "model.safetensors").items():
        assert torch.equal(weight, theirs[f"bert.{name}"])
    job = replace(classifying, encoder=folder, fingerprint=folder_hash(folder))
    assert checkpoint.load(get(job, nothing)).config.num_labels == 2


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"model": "nowhere"}, "no readable config.json"),
        ({"model": "theirs", "revision": "abc"}, "`revision`, a commit, comes with source hub"),
        ({"model": "theirs", "source": "hub"}, "`revision`, a commit, comes with source hub"),
    ],
)
def test_an_encoder_that_is_not_there_is_named(elsewhere: Path, options: dict, expected: str):
    with pytest.raises(UserError, match=expected) as caught:
        stored.bring(elsewhere / "brought", elsewhere, **{"source": "files", **options})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json"])
def test_a_damaged_encoder_is_refused_in_one_line(elsewhere: Path, file: str):
    (elsewhere / "theirs" / file).write_bytes(b"nothing")
    with pytest.raises(UserError, match="no readable encoder with its tokenizer") as caught:
        stored.bring(elsewhere / "brought", elsewhere, source="files", model="theirs")
    assert "\n" not in str(caught.value)


SMALL: dict[str, dict[str, Any]] = {
    "roberta": {"type_vocab_size": 1},
    "distilbert": {"dim": 8, "n_layers": 1, "n_heads": 2, "hidden_dim": 16},
    "electra": {"embedding_size": 8},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "gpt2": {"n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 40},
}


@pytest.mark.parametrize("family", SMALL)
def test_an_encoder_of_any_family_can_be_tuned(
    family: str, here: Path, pretraining: Pretraining, classifying: Classifying
):
    """What it answers then is what the library's own classifier answers."""
    tokenizer = checkpoint.tokenizer(get(pretraining, nothing))
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 16, "max_position_embeddings": 40}
    given = {**({} if family in ("distilbert", "gpt2") else sizes), **SMALL[family]}
    config = AutoConfig.for_model(family, vocab_size=len(tokenizer), **given)
    config.pad_token_id = tokenizer.pad_token_id
    for name in (n for n in config.to_dict() if "drop" in n and n != "classifier_dropout"):
        setattr(config, name, 0.0)
    torch.manual_seed(1)
    AutoModel.from_config(config).save_pretrained(here / "theirs")
    tokenizer.save_pretrained(here / "theirs")
    folder = here / "models" / "brought"
    stored.bring(folder, here, source="files", model="theirs")
    job = replace(
        classifying,
        encoder=folder,
        fingerprint=folder_hash(folder),
        method={**BRIEF, "batch_size": len(PAIRS), "lr": 0.05},
    )
    tuned = get(job, nothing)
    before, after = (started(folder, CLASSES, job.streams), checkpoint.load(tuned))
    assert all(
        bool((w != v).any()) for w, v in zip(before.parameters(), after.parameters(), strict=True)
    )
    theirs = AutoModelForSequenceClassification.from_pretrained(tuned).eval()
    rows, losses = mixed(job.data, job.inputs, folder, job.fingerprint, 0.2, 0.1, 0, CPU), []
    for start, length, label in zip(rows.starts, rows.lengths, rows.labels, strict=True):
        ids = rows.ids[None, start : start + length]
        with torch.no_grad():
            theirs.load_state_dict(after.state_dict())
            torch.testing.assert_close(after(ids).logits, theirs(input_ids=ids).logits)
            theirs.load_state_dict(before.state_dict())
            losses.append(functional.cross_entropy(theirs(input_ids=ids).logits, label[None]))
    with (tuned / "log.csv").open() as file:
        [row] = csv.DictReader(file)
    assert float(row["loss"]) == pytest.approx(float(torch.stack(losses).mean()), abs=1e-5)
    with warnings.catch_warnings(action="error"):  # of what a base lacks, but for its head
        base = base_state(Control.of(folder), Control.of(tuned), after)
    assert after.state_dict().keys() - base.keys() == {
        name for name in after.state_dict() if not name.startswith(after.base_model_prefix + ".")
    }
    with pytest.raises(UserError, match=f"a {family} has no permutation_spec"):
        equivalence.check(tuned)


def test_an_encoder_without_a_classifier_is_refused(here: Path):
    config = AutoConfig.for_model("vit", hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    AutoModel.from_config(config).save_pretrained(here / "theirs")
    with pytest.raises(UserError, match="a vit: the library has no classifier with it"):
        stored.bring(here / "brought", here, source="files", model="theirs")


def test_a_pooler_that_is_missing_is_drawn_with_the_head(elsewhere: Path, classifying: Classifying):
    state = load_file(elsewhere / "theirs" / "model.safetensors")
    kept = {name: tensor for name, tensor in state.items() if "pooler" not in name}
    save_file(kept, elsewhere / "theirs" / "model.safetensors", {"format": "pt"})
    found = []
    for name in ("one", "two"):
        stored.bring(elsewhere / name, elsewhere, source="files", model="theirs")
        found.append(folder_hash(elsewhere / name))
        assert not any(
            "pooler" in known for known in load_file(elsewhere / name / "model.safetensors")
        )
    assert found[0] == found[1]
    job = replace(classifying, encoder=elsewhere / "one", fingerprint=found[0])
    assert "bert.pooler.dense.weight" in load_file(get(job, nothing) / "model.safetensors")


def test_long_rows_are_cut_only_where_the_encoder_says_so(
    classifying: Classifying, pretraining: Pretraining, here: Path
):
    long = {"sentence1": ["the cat " * 12, "a cat"], "sentence2": ["a dog", "a hen"]}
    data = here / "long"
    splits = {"train": {**long, "label": [0, 1]}}
    text.save(data, text.TextData(splits, dict.fromkeys(splits, CLASSES), {}))
    one = replace(classifying, data=data, inputs=inputs(data, "train"), counterexamples=0.0)
    with pytest.raises(UserError, match="1 of 2 rows do not have 1 to 16 tokens .*long_rows"):
        get(one, nothing)
    encoder = get(replace(pretraining, long_rows="truncate"), nothing)
    cut = replace(one, encoder=encoder, fingerprint=folder_hash(encoder), method=BRIEF)
    with pytest.warns(UserWarning, match="1 of 2 rows cut to 16 tokens"):
        item = get(cut, nothing)
    assert checkpoint.read_config(item)["long_rows"] == "truncate"
    with pytest.warns(UserWarning, match="1 of 2 rows cut"):
        found = network_inputs(data, "train", item, CPU)
    assert max(part.ids.shape[1] for part, _ in found.batches()) == 16


def test_curves_and_merges_use_rows_like_those_that_models_were_trained_on(
    classifying: Classifying,
):
    """On others, with the same loss in domain, it finds networks of another strategy."""
    folders = [get(replace(classifying, streams=Streams(k, k, k)), nothing) for k in (0, 1)]
    bend = {"name": "bezier", "epochs": 1, "batch_size": 8, "lr": 0.01}
    bend |= {"momentum": 0.9, "weight_decay": 0.0}
    as_trained = {"counterexamples": classifying.counterexamples, "noise": classifying.noise}
    job = fits.Fit(
        curve="ours",
        path={**bend, **as_trained},
        ends=(Control(folders[0], "0"), Control(folders[1], "1")),
        data=classifying.data,
        inputs=fits.fingerprint(classifying.data),
        protocol="corrected",
        device=CPU,
    )
    check_options(bezier.fit, {k: v for k, v in job.path.items() if k != "name"}, "path", GIVEN)
    train, pool = (text.read(classifying.data, name) for name in ("train", "counterexamples"))
    mixture = mix(train, pool, 0.2, 0.1, CLASSES, classifying.mixture)
    rows = job.training_data()
    assert rows(0.2, 0.1, classifying.mixture).labels.tolist() == mixture["label"]
    assert rows(0.0, 0.0, 0).labels.tolist() == train["label"] != mixture["label"]
    sample = Sample(classifying.data, None, **as_trained, seed=classifying.mixture)
    batches = sample.load(folders[0], CPU).batches()
    drawn = [label for _, labels in batches for label in labels.tolist()]  # by length
    assert sorted(drawn) == sorted(mixture["label"]) != sorted(train["label"])
    plain = replace(job, path=bend)
    fitted = [weights(get(one, nothing).model) for one in (job, plain)]
    assert fitted[0] != fitted[1]
    assert (
        job.inputs == classifying.inputs != fits.fingerprint(classifying.data.parent / "restated")
    )
