"""BERT sequence classifiers of any size, as Hugging Face builds them, with their symmetry."""

from typing import Annotated

from pydantic import Field
from transformers import BertConfig, BertForSequenceClassification

from basins.errors import UserError
from basins.nets.permutation import Axis, PermutationSpec, norm, reads, writes


class Bert(BertForSequenceClassification):
    """`BertForSequenceClassification` that knows its permutation symmetry."""

    def permutation_spec(self) -> PermutationSpec:
        """Return the spec of this network's configuration; see `permutation_spec`."""
        return permutation_spec(self.config)


def build_text(
    vocab_size: int,
    num_classes: int,
    *,
    layers: Annotated[int, Field(ge=1)] = 3,
    width: Annotated[int, Field(ge=1)] = 128,
    heads: Annotated[int, Field(ge=1)] = 4,
    positions: Annotated[int, Field(ge=1)] = 128,
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
) -> Bert:
    """Build a BERT for token ids [n, T], T <= `positions`; its output's `.logits` is [n, classes].

    Feed-forward layers have 4 x `width` units and the initialisation is BERT's, normal(0, 0.02);
    12 layers, width 768, 12 heads and 512 positions make the bert-base of LCRGS. Raises `UserError`
    where `heads` does not divide `width`.
    """
    if width % heads:
        raise UserError(f"bert: width {width} is not a multiple of heads {heads}; change either")
    config = BertConfig(
        vocab_size=vocab_size,
        num_hidden_layers=layers,
        hidden_size=width,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        max_position_embeddings=positions,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    config.num_labels = num_classes
    return Bert(config)


def permutation_spec(config: BertConfig) -> PermutationSpec:
    """Return the groups of a BERT classifier: stream, heads, units in a head, feed-forward, pooler.

    Per layer, heads permute as blocks, and then the value units within each head. Not covered are
    the query and key units within a head, and the invertible maps, beyond permutations, that a head
    can move between query and key or between value and output.
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
