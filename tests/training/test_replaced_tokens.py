"""Pretraining: what is corrupted, in which batches, and that an encoder learns to tell."""

from __future__ import annotations

import pytest
import torch

from basins import seeds
from basins.data.vocabulary import SPECIAL
from basins.errors import UserError
from basins.nets import bert
from basins.training.replaced_tokens import Followers, batches, corrupt, near, pretrain
from basins.training.rows import Rows, rows

CPU = torch.device("cpu")
CLS, SEP = SPECIAL.index("[CLS]"), SPECIAL.index("[SEP]")


def pairs(sentences: list[list[int]]) -> Rows:
    """Return each sentence beside itself."""
    ids = [[CLS, *words, SEP, *words, SEP] for words in sentences]
    types = [[0] * (len(words) + 2) + [1] * (len(words) + 1) for words in sentences]
    return rows(ids, types, [0] * len(ids), pad=0, limit=64, device=CPU, where="mine")


def drawn(n: int, words: int = 12) -> Rows:
    """Return sentences of 4 to 7 random words."""
    draw = torch.Generator().manual_seed(0)
    return pairs(
        [torch.randint(5, 5 + words, (4 + i % 4,), generator=draw).tolist() for i in range(n)]
    )


def encoder(data: Rows, seed: int = 0):
    with seeds.torch_stream("init", seed):
        return bert.encoder(int(data.ids.max()) + 1, layers=1, width=32, heads=2, positions=64)


def pretrained(data: Rows, stream: int = 0, **options):
    net = encoder(data)
    log = list(pretrain(net, data, seeds.torch_generator("pretraining", stream), **options))
    return net, log


def test_a_replacement_follows_the_same_token_elsewhere():
    data = pairs([[5, 6], [5, 7], [5, 7], [8, 9]])
    ids = data.batch(torch.tensor([0, 3])).ids
    follow, rng = Followers(data), torch.Generator().manual_seed(0)
    found = [follow.draw(ids, rng) for _ in range(400)]
    after_five = torch.stack([new[0, 5] for new in found])
    assert set(after_five.tolist()) == {6, 7}
    assert (after_five == 7).float().mean().item() == pytest.approx(2 / 3, abs=0.08)
    assert {new[1, 5].item() for new in found} == {9}
    assert {new[1, 4].item() for new in found} == {5, 8}  # what begins a sentence


def test_a_replacement_within_the_row_follows_the_same_token_there():
    ids = torch.tensor([[CLS, 5, 6, 5, 7, SEP, 5, 6, 5, 7, SEP]])
    rng = torch.Generator().manual_seed(0)
    found = torch.cat([near(ids, ids >= len(SPECIAL), rng) for _ in range(400)])
    assert set(found[:, 9].tolist()) == {6, 7} and set(found[:, 1].tolist()) == {5}
    assert (found[:, 9] == 7).float().mean().item() == pytest.approx(1 / 2, abs=0.08)


def test_only_second_sentences_are_corrupted_by_the_shares():
    data = drawn(2000)
    ids, mask, types = data.batch(torch.arange(2000))
    rng = torch.Generator().manual_seed(0)
    hidden, kept, new = corrupt(ids, types, Followers(data), rng, 0.3, 0.5, 0.2)
    content = (types == 1) & (ids >= len(SPECIAL))
    assert torch.equal(hidden ^ kept, content)
    assert not (new != ids)[~kept].any()
    assert (hidden.sum() / content.sum()).item() == pytest.approx(0.2, abs=0.02)
    assert 0.1 < ((new != ids).sum() / kept.sum()).item() < 0.3  # the others are the same again
    none = corrupt(ids, types, Followers(data), rng, 1.0, 0.0, 0.0)
    everything = corrupt(ids, types, Followers(data), rng, 1.0, 1.0, 0.0)
    assert not none[0].any() and not everything[0].any()
    inside = (everything[2][:, :, None] == ids[:, None]).any(2)
    assert inside.all() and not (none[2][:, :, None] == ids[:, None]).any(2).all()


def test_a_round_of_batches_holds_every_row_once_by_length():
    lengths = torch.tensor([3, 9, 4] * 20)
    stream = batches(lengths, 8, torch.Generator().manual_seed(0))
    rounds = [[next(stream) for _ in range(8)] for _ in range(2)]
    for parts in rounds:
        assert sorted(torch.cat(parts).tolist()) == list(range(60))
        assert sum(len(set(lengths[part].tolist())) > 1 for part in parts) <= 2
    assert [part.tolist() for part in rounds[0]] != [part.tolist() for part in rounds[1]]


def test_an_encoder_learns_to_compare():
    data = drawn(400, 30)
    _, log = pretrained(data, steps=400, lr=2e-3, within=0.0)
    assert [row["step"] for row in log] == [100, 200, 300, 400]
    assert log[-1]["found"] > 0.6 > 0.25 > log[-1]["alarms"]
    assert log[-1]["detection"] < 0.6 * log[0]["detection"]


def test_the_streams_decide_the_bytes_and_nothing_else():
    data, before = drawn(40), torch.get_rng_state()
    states = [pretrained(data, stream, steps=3)[0].state_dict() for stream in (0, 0, 1)]
    one, again, other = (torch.cat([w.flatten() for w in state.values()]) for state in states)
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert torch.equal(before, torch.get_rng_state())


def test_every_weight_but_the_poolers_is_trained():
    data = drawn(40)
    before = encoder(data).state_dict()
    after = pretrained(data, steps=5)[0].state_dict()
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == {"pooler.dense.weight", "pooler.dense.bias"}


def test_divergence_is_one_clear_line():
    with pytest.raises(UserError, match=r"diverged before step 20: lower lr \(1e\+30\)$"):
        pretrained(drawn(40), steps=20, lr=1e30)
