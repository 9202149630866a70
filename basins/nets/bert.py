"""Hugging Face's BERT sequence classifiers of any size, with their permutation symmetry."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from transformers import BertConfig, BertForSequenceClassification, BertModel
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.models.bert.modeling_bert import BertSelfAttention

from basins.data.classes import key
from basins.errors import UserError
from basins.nets.permutation import Axis, PermutationSpec, norm, reads, writes
from basins.nets.products import by_onednn

ARCHITECTURE = "BertForSequenceClassification"
LAYERS = 1000  # at most: building one of 2**70 layers would not end
SPREAD = 1.25  # the longest row of a group over the shortest, on a CPU
# Keys of a config that do not affect a trained classifier's outputs.
TRAINING = ("attention_probs_dropout_prob", "hidden_dropout_prob", "classifier_dropout")
TRAINING += ("initializer_range", "label2id", "problem_type", "use_cache", "dtype")
TRAINING += ("_name_or_path", "architectures", "transformers_version")
TRAINING += ("pad_token_id", "bos_token_id", "eos_token_id", "tie_word_embeddings")
TRAINING += ("return_dict", "output_attentions", "output_hidden_states", "chunk_size_feed_forward")


class Group(NamedTuple):
    """Rows of similar lengths for one attention call: n rows of up to T tokens, N in total.

    `places` int64 [N] are the tokens' positions among the n T of the padded rows, and `mask`
    [n, 1, 1, T] is 0 at tokens and -inf at padding; both are None if nothing is padded.
    """

    rows: int
    length: int
    tokens: int
    places: Tensor | None
    mask: Tensor | None

    def pad(self, states: Tensor) -> Tensor:
        """Return the tokens' states [N, width] as padded rows [n, T, width]."""
        if self.places is not None:
            padded = states.new_zeros(self.rows * self.length, states.shape[1])
            states = padded.index_copy(0, self.places, states)
        return states.view(self.rows, self.length, -1)

    def pack(self, padded: Tensor) -> Tensor:
        """Return the tokens' states [N, width] of padded rows [n, T, width]."""
        flat = padded.flatten(0, 1)
        return flat if self.places is None else flat.index_select(0, self.places)


class Layout(NamedTuple):
    """The positions of N tokens, without padding, from a batch of n rows of up to T.

    The shortest rows come first. `places` int64 [N] are the tokens' positions among the n T of the
    batch's padded rows, `starts` int64 [n] the positions of rows' first tokens among the N, and
    `back` int64 [n] the new index of each row of the batch.
    """

    places: Tensor
    starts: Tensor
    back: Tensor
    groups: tuple[Group, ...]

    def split(self, states: Tensor, every: bool = True) -> Sequence[Tensor]:
        """Return each group's part of the states of every token, [1, N, width].

        Or, if not `every`, of the states of the first token of each row, [n, 1, width].
        """
        if every:
            return states[0].split([group.tokens for group in self.groups])
        return states.split([group.rows for group in self.groups])


class Bert(BertForSequenceClassification):
    """`BertForSequenceClassification` with a permutation spec and fewer computations.

    Padding is only used in attention. A classifier uses only the first token, so the last layer is
    computed only for that token: of the 12 width^2 products per token, two remain for the others.
    Weights and logits are the same.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        *layers, last = _layers(self.bert)
        for layer in layers:
            layer.attention.self = Attention(layer.attention.self, every=True)
        last.attention.self = Attention(last.attention.self, every=False)
        by_onednn(self)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """Return `.logits` [n, classes] for token ids and types int64 [n, T].

        The mask is Hugging Face's [n, T], 0 at padding, or an additive attention mask
        [n, 1, 1, T].
        """
        if token_type_ids is None:
            token_type_ids = torch.zeros_like(input_ids)
        positions, layout = torch.arange(input_ids.shape[1], device=input_ids.device)[None], None
        if attention_mask is not None:
            layout = _layout(attention_mask)
            columns = (input_ids, token_type_ids, positions.expand_as(input_ids))
            input_ids, token_type_ids, positions = (
                column.flatten()[layout.places][None] for column in columns
            )
        hidden = self.bert.embeddings(input_ids, token_type_ids, positions)
        *layers, last = _layers(self.bert)
        for layer in layers:
            mixed = layer.attention.self(hidden, hidden, layout)
            hidden = layer.feed_forward_chunk(layer.attention.output(mixed, hidden))
        first = hidden[:, :1] if layout is None else hidden[0, layout.starts, None]
        mixed = last.attention.self(first, hidden, layout)
        pooler: Any = self.bert.pooler
        pooled = pooler(last.feed_forward_chunk(last.attention.output(mixed, first)))
        pooled = pooled if layout is None else pooled[layout.back]
        return SequenceClassifierOutput(logits=self.classifier(self.dropout(pooled)))

    def plainly(self, ids: Tensor, mask: Tensor | None, types: Tensor) -> Tensor:
        """Return the logits [n, classes] of Hugging Face's network, computed row by row."""
        tensors = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        lengths = [ids.shape[1]] * len(ids) if mask is None else (mask[:, 0, 0] == 0).sum(1)
        rows = [
            {"input_ids": ids[k, None, :n], "token_type_ids": types[k, None, :n]}
            for k, n in enumerate(lengths)
        ]
        theirs = _theirs(self.config.to_json_string(use_diff=False))
        return torch.cat([functional_call(theirs, tensors, (), row).logits for row in rows])

    def permutation_spec(self) -> PermutationSpec:
        """Return the spec of this network's configuration; see `permutation_spec`."""
        return permutation_spec(self.config)


class Attention(nn.Module):
    """Self-attention with the weights of `full`, for every token or only the first of each row."""

    def __init__(self, full: BertSelfAttention, every: bool) -> None:
        super().__init__()
        self.query, self.key, self.value = full.query, full.key, full.value
        self.dropout, self.heads, self.every = full.dropout, full.num_attention_heads, every

    def forward(self, asking: Tensor, hidden: Tensor, layout: Layout | None) -> Tensor:
        """Let the states `asking` attend to `hidden`; the result has the shape of `asking`.

        States are [n, T, width] without a layout, or [1, N, width]; first tokens' are
        [n, 1, width].
        """
        query, key, value = self.query(asking), self.key(hidden), self.value(hidden)
        if layout is None:
            return self.attend(query, key, value)
        found = []
        parts = (layout.split(query, self.every), layout.split(key), layout.split(value))
        for group, asks, *known in zip(layout.groups, *parts, strict=True):
            asks = group.pad(asks) if self.every else asks
            mixed = self.attend(asks, *map(group.pad, known), group.mask)  # pyright: ignore
            found.append(group.pack(mixed) if self.every else mixed)
        together = torch.cat(found)
        return together[None] if self.every else together

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None):
        """Return attention of queries [n, S, width] to keys and values [n, T, width]."""
        query, key, value = (
            states.unflatten(2, (self.heads, -1)).transpose(1, 2) for states in (query, key, value)
        )
        rate = self.dropout.p if self.training else 0.0
        found = functional.scaled_dot_product_attention(query, key, value, mask, rate)
        return found.transpose(1, 2).flatten(2)


Size = Annotated[int, Field(ge=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]


def build_text(
    vocab_size: int,
    num_classes: int,
    *,
    layers: Size = 3,
    width: Size = 128,
    heads: Size = 4,
    positions: Size = 128,
    dropout: Dropout = 0.1,
) -> Bert:
    """Build a BERT for token ids [n, T], T <= `positions`; its output's `.logits` is [n, classes].

    Weights are drawn from torch's generator, normal with variance 1 / `width`: BERT's standard
    deviation of 0.02 leaves narrow layers without a signal. 12 layers, width 768, 12 heads and 512
    positions make the bert-base of LCRGS.

    Args:
        vocab_size: the number of token ids.
        num_classes: the number of classes.
        layers: at least 1.
        width: of a token's state, at least 1; feed-forward layers have 4 x `width` units.
        heads: of each layer's attention, at least 1; must divide `width`.
        positions: the most tokens of a row, at least 1.
        dropout: of hidden states and attention, in [0, 1).

    Raises:
        UserError: `heads` does not divide `width`.
    """
    config = _config(vocab_size, layers, width, heads, positions, dropout)
    config.num_labels = num_classes
    return Bert(config)


def encoder(
    vocab_size: int,
    *,
    layers: Size = 3,
    width: Size = 128,
    heads: Size = 4,
    positions: Size = 128,
    dropout: Dropout = 0.1,
) -> BertModel:
    """Build the BERT of `build_text` without its head; its output is every token's state.

    Keys are initialised equal to queries, so that a token attends to equal ones, also in the other
    sentence. A narrow encoder needs many thousand steps of pretraining to learn this by itself.

    Args:
        vocab_size: the number of token ids.
        layers: at least 1.
        width: of a token's state, at least 1; feed-forward layers have 4 x `width` units.
        heads: of each layer's attention, at least 1; must divide `width`.
        positions: the most tokens of a row, at least 1.
        dropout: of hidden states and attention, in [0, 1).

    Raises:
        UserError: `heads` does not divide `width`.
    """
    net = BertModel(_config(vocab_size, layers, width, heads, positions, dropout))
    with torch.no_grad():
        for layer in _layers(net):
            layer.attention.self.key.weight.copy_(layer.attention.self.query.weight)
    by_onednn(net)
    return net


@lru_cache(maxsize=4)
def _theirs(config: str) -> nn.Module:
    """Return Hugging Face's network of a config, without weights."""
    with torch.device("meta"):
        return BertForSequenceClassification(BertConfig.from_dict(json.loads(config))).eval()


def _layers(net: BertModel) -> Any:
    """Return the layers, typed as Any, as torch's types do not describe their parts."""
    return net.encoder.layer


def _config(
    vocab_size: int, layers: int, width: int, heads: int, positions: int, dropout: float
) -> BertConfig:
    if width % heads:
        raise UserError(f"bert: width {width} is not a multiple of heads {heads}; change either")
    return BertConfig(
        vocab_size=vocab_size,
        num_hidden_layers=layers,
        hidden_size=width,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        max_position_embeddings=positions,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        initializer_range=width**-0.5,
    )


def from_config(config: dict[str, Any]) -> Bert:
    """Build the classifier of a Hugging Face config, newly initialised from torch's generator.

    Raises `ValueError` if it has more than `LAYERS` layers.
    """
    if not 0 < config["num_hidden_layers"] <= LAYERS:
        raise ValueError(f"num_hidden_layers: {config['num_hidden_layers']}")
    return Bert(BertConfig.from_dict(config))


def function(config: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of a classifier's config that determine its function, with BERT's defaults.

    Names of classes are normalised as in `data.classes`.
    """
    whole: Any = BertConfig.from_dict(config)
    names = [key(whole.id2label[k]) for k in range(whole.num_labels)]
    read = BertConfig().to_dict().keys() - {*TRAINING}  # other keys have no effect
    return {name: {**whole.to_dict(), "id2label": names}[name] for name in sorted(read)}


def longest(config: dict[str, Any]) -> int:
    """Return how many tokens a row may have at most."""
    return config["max_position_embeddings"]


def random_inputs(config: dict[str, Any], count: int) -> tuple[Tensor, ...]:
    """Return the ids int64 [count, T] of random rows, drawn from torch's generator."""
    length = min(8, config["max_position_embeddings"])
    return (torch.randint(config["vocab_size"], (count, length)),)


def classifier(encoder: dict[str, Any], state: dict[str, Tensor], classes: Sequence[str]) -> Bert:
    """Return a classifier with the config and weights of a pretrained BERT, or of a classifier.

    Tensors missing from `state`, the head and possibly the pooler, are newly initialised from
    torch's generator. Raises `UserError` if other weights are missing or do not fit the config, or
    a classifier has other classes.
    """
    numbers = {name: k for k, name in enumerate(classes)}
    net = from_config({**encoder, "id2label": dict(enumerate(classes)), "label2id": numbers})
    kept = "classifier.weight" in state
    if kept and (known := tuple(encoder["id2label"].values())) != tuple(classes):
        raise UserError(f"the encoder is a classifier of {known}, not of {tuple(classes)}")
    for name, weight in (net if kept else net.bert).state_dict().items():
        if name not in state and name.startswith("pooler."):
            continue
        if name not in state or state[name].shape != weight.shape:
            raise UserError(f"the encoder's weights do not fit its config: {name}; make it again")
        weight.copy_(state[name])
    return net


def _layout(mask: Tensor) -> Layout:
    """Return the layout for either kind of mask; raises `UserError` for padding at the start."""
    real = mask != 0 if mask.ndim == 2 else mask[:, 0, 0] == 0
    if not real[:, 0].all():
        raise UserError("a row begins with padding; BERT reads its first token, so pad at the end")
    lengths, order = real.sum(1).sort(stable=True)
    row, column = real[order].nonzero(as_tuple=True)
    places = order[row] * real.shape[1] + column
    return Layout(places, lengths.cumsum(0) - lengths, order.argsort(), tuple(_groups(lengths)))


def _groups(lengths: Tensor) -> Iterator[Group]:
    """Yield groups of rows, of ascending lengths [n], with little padding; on a GPU only one."""
    known, start = lengths.tolist(), 0
    for stop in range(1, len(known) + 1):
        if stop < len(known) and (lengths.is_cuda or known[stop] <= SPREAD * known[start]):
            continue
        rows, length, tokens = stop - start, known[stop - 1], sum(known[start:stop])
        places = mask = None
        if tokens < rows * length:
            columns = torch.arange(length, device=lengths.device)
            padding = columns >= lengths[start:stop, None]
            places = (~padding).flatten().nonzero()[:, 0]
            mask = torch.zeros(padding.shape, device=lengths.device)
            mask = mask.masked_fill_(padding, -torch.inf)[:, None, None]
        yield Group(rows, length, tokens, places, mask)
        start = stop


def permutation_spec(config: BertConfig) -> PermutationSpec:
    """Return the groups of a BERT classifier: stream, heads, units in a head, feed-forward, pooler.

    In each layer, heads are permuted as blocks, and then the value units within each head. Not
    included are query and key units within a head, and invertible maps other than permutations
    between query and key, or value and output, of a head.
    """
    head = config.hidden_size // config.num_attention_heads
    embeddings = "bert.embeddings"
    stream = norm(f"{embeddings}.LayerNorm", running=False) + tuple(
        Axis(f"{embeddings}.{kind}_embeddings.weight", 1)
        for kind in ("word", "position", "token_type")
    )
    groups = {embeddings: stream}
    for i in range(config.num_hidden_layers):
        layer = f"bert.encoder.layer.{i}"
        attention, mix = f"{layer}.attention.self", f"{layer}.attention.output"
        expand, contract = f"{layer}.intermediate", f"{layer}.output"
        groups[attention] = reads(f"{mix}.dense", block=head)
        for part in ("query", "key", "value"):
            groups[attention] += writes(f"{attention}.{part}", block=head)
            groups[embeddings] += reads(f"{attention}.{part}")
        for h in range(config.num_attention_heads):
            value = writes(f"{attention}.value") + reads(f"{mix}.dense")
            window = (h * head, (h + 1) * head)
            groups[f"{attention}.{h}"] = tuple(axis._replace(window=window) for axis in value)
        groups[expand] = writes(f"{expand}.dense") + reads(f"{contract}.dense")
        groups[embeddings] += reads(f"{expand}.dense")
        for writer in (mix, contract):
            groups[embeddings] += writes(f"{writer}.dense")
            groups[embeddings] += norm(f"{writer}.LayerNorm", running=False)
    groups[embeddings] += reads("bert.pooler.dense")
    groups["bert.pooler"] = writes("bert.pooler.dense") + reads("classifier")
    return PermutationSpec(groups)
