"""Text encoders pretrained by this project, as items of the store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from basins import seeds
from basins.data import text
from basins.item import Step
from basins.nets import checkpoint
from basins.registry import find, module, option, split_options
from basins.store import file_hash
from basins.training import log
from basins.training.rows import tokenised
from basins.training.text_models import TextModel, written


@dataclass(frozen=True)
class Pretraining(TextModel):
    """An encoder: a new BERT `net` for a `vocabulary` of the dataset's own sentences.

    `root` is the folder of real data, which may contain a vocabulary.
    """

    net: dict[str, Any]
    vocabulary: dict[str, Any]
    long_rows: Literal["refuse", "truncate"]
    seed: int
    root: Path

    def __str__(self) -> str:
        return f"encoder, seed {self.seed}"

    def decides(self) -> dict[str, Any]:
        """Return everything that determines the weights, except code and machine."""
        files = [self.root / str(value) for value in self.vocabulary.values()]
        read = [file_hash(path) for path in files if path.is_file()]
        return {**super().decides(), "files": read}

    def steps(self) -> int:
        """Return the number of rows of the log."""
        method = module("training", self.method["name"], "pretrain")
        return max(1, option(method.pretrain, self.method, "steps") // method.LOGGED)

    def make(self, folder: Path, step: Step) -> None:
        """Fill `folder` with the encoder, its tokenizer and `log.csv`."""
        first, second = restatements(text.read(self.data, "train"))
        name, options = split_options(self.vocabulary)
        tokenizer = find("data", name, "tokenizer")([*first, *second], self.root, **options)
        tokenizer.save_pretrained(folder)
        name, options = split_options(self.net)
        with seeds.torch_stream("init", self.seed):
            net = find("nets", name, "encoder")(len(tokenizer), **options).to(self.device)
        pairs = {"sentence1": first, "sentence2": second}
        net.config.long_rows = self.long_rows
        data = tokenised(pairs, tokenizer, written(net.config), self.device, f"{self.data}, train")
        name, options = split_options(self.method)
        train = find("training", name, "pretrain")
        draws = seeds.torch_generator("pretraining", self.seed)
        log.write(train(net, data, draws, **options), folder, step)
        checkpoint.save(net, written(net.config), folder)


def restatements(columns: text.Columns) -> tuple[list[str], list[str]]:
    """Return sentences and their restatements: the two of a pair, if pairs have no labels.

    Labelled pairs may differ in meaning, so each distinct sentence is paired with itself.
    """
    sentences = [columns[name] for name in text.fields(columns)]
    if len(sentences) == 2 and "label" not in columns:
        return sentences[0], sentences[1]
    different = list(dict.fromkeys(sentence for column in sentences for sentence in column))
    return different, different
