"""Fine-tuning: one set of weights for a choice of streams, BERT's schedule, early checkpoints."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from basins import seeds
from basins.errors import UserError
from basins.nets import bert
from basins.training import adamw, sgd
from basins.training.classifier import perturb, tune
from basins.training.rows import Rows, rows
from basins.weights import flatten

CPU = torch.device("cpu")
OPTIONS = {"epochs": 2, "batch_size": 8, "lr": 1e-3}


def examples(n: int = 52) -> Rows:
    """Return rows of 3 to 9 tokens; a row's class is whether its second token is over 10."""
    draw = torch.Generator().manual_seed(0)
    ids = [torch.randint(1, 20, (3 + i % 7,), generator=draw).tolist() for i in range(n)]
    types = [[0] * (len(row) // 2) + [1] * (len(row) - len(row) // 2) for row in ids]
    labels = [int(row[1] > 10) for row in ids]
    return rows(ids, types, labels, pad=0, limit=16, device=CPU, where="mine")


def tuned(head: int = 0, order: int = 0, dropout: int = 0, keep=lambda step: None, **options):
    with seeds.torch_stream("head", head):
        net = bert.build_text(20, 2, layers=2, width=16, heads=2, positions=16)
    with seeds.torch_stream("dropout", dropout):
        stream = seeds.torch_generator("order", order)
        log = list(tune(net, examples(), stream, keep, **{**OPTIONS, **options}))
    return net, log


def bytes_of(net) -> bytes:
    return b"".join(tensor.numpy().tobytes() for tensor in net.state_dict().values())


def test_the_same_streams_give_the_same_bytes():
    before = torch.get_rng_state()
    assert bytes_of(tuned()[0]) == bytes_of(tuned()[0])
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("changed", [{"head": 1}, {"order": 1}, {"dropout": 1}, {"lr": 2e-3}])
def test_each_stream_and_option_matters(changed):
    assert bytes_of(tuned()[0]) != bytes_of(tuned(**changed)[0])


def test_it_learns():
    net, log = tuned(epochs=20, lr=5e-3)
    assert not net.training and log[-1]["accuracy"] > 0.85 > 0.75 > log[0]["accuracy"]
    assert [row["epoch"] for row in log] == list(range(1, 21)) and log[-1]["lr"] < 1e-3


def test_the_log_holds_the_mean_loss_of_the_epoch():
    # With a rate this small the weights hardly move, and without dropout the loss is a fixed one.
    data = examples()
    with seeds.torch_stream("head", 0):
        net = bert.build_text(20, 2, layers=1, width=16, heads=2, positions=16, dropout=0.0)
    with torch.no_grad():
        each = [net(*data.batch(torch.tensor([row]))).logits for row in range(52)]
        loss = functional.cross_entropy(torch.cat(each), data.labels).item()
    (row,) = tune(net, data, seeds.torch_generator("order", 3), print, epochs=1, lr=1e-12)
    assert row["loss"] == pytest.approx(loss, abs=1e-5)


def test_checkpoints_are_what_the_network_was_then():
    kept = []
    tuned(keep=kept.append, checkpoints=[3, 14])
    assert kept == [3, 14]
    with pytest.raises(UserError, match="checkpoints: 15 is not taken; there are 14 steps"):
        tuned(checkpoints=[15])


def test_divergence_is_one_clear_line():
    with pytest.raises(UserError, match=r"diverged in epoch 1: the loss is nan; lower lr"):
        tuned(lr=1e30)


def test_the_rate_rises_and_falls_linearly():
    optimiser = adamw.optimiser([torch.nn.Linear(2, 2)], 1.0, 0.01)
    schedule, rates = adamw.linear(optimiser, 10, 0.2), []
    for _ in range(10):
        rates.append(schedule.get_last_lr()[0])
        optimiser.step()
        schedule.step()
    eighths = [1 / 3, 2 / 3, *(left / 8 for left in range(8, 0, -1))]
    assert rates == pytest.approx(eighths) and schedule.get_last_lr()[0] == 0


def test_biases_and_layer_norms_do_not_decay():
    net = bert.build_text(20, 2, layers=1, width=16, heads=2)
    with torch.no_grad():
        for weight in net.parameters():
            weight.fill_(1)
    optimiser = adamw.optimiser([net, net.bert], 0.5, 0.1)
    for weight in net.parameters():
        weight.grad = torch.zeros_like(weight)
    optimiser.step()
    for name, weight in net.named_parameters():
        decays = "LayerNorm" not in name and "bias" not in name
        assert torch.allclose(weight, torch.tensor(0.95 if decays else 1.0)), name


def test_a_step_is_adams_with_the_gradient_clipped():
    # The first step of Adam is lr times the gradient over its size plus epsilon, 1e-6.
    weight = torch.nn.Parameter(torch.zeros(2))
    part = torch.nn.ParameterList([weight])
    adamw.move(adamw.optimiser([part], 1.0, 0.0), (weight * torch.tensor([3e6, 4e6])).sum(), 1e-6)
    gradient = torch.tensor([0.6e-6, 0.8e-6])
    torch.testing.assert_close(weight.detach(), -gradient / (gradient + 1e-6), rtol=1e-3, atol=0)


def test_a_batch_is_padded_to_its_longest_row():
    data = rows(
        [[5, 6], [7], [8, 9]],
        [[0, 1], [1], [1, 1]],
        [0, 1, 0],
        pad=4,
        limit=2,
        device=CPU,
        where="mine",
    )
    found = data.batch(torch.tensor([1, 2]))
    assert found.ids.tolist() == [[7, 4], [8, 9]] and found.types.tolist() == [[1, 0], [1, 1]]
    assert found.mask is not None
    assert found.mask.tolist() == [[[[0, -float("inf")]]], [[[0, 0]]]]
    whole = data.batch(torch.tensor([2, 0]))
    assert whole.ids.tolist() == [[8, 9], [5, 6]] and whole.mask is None


def test_rows_over_the_limit_are_refused():
    with pytest.raises(UserError, match="mine: 1 of 2 rows do not have 1 to 1 tokens"):
        rows([[5, 6], [7]], [[0, 1], [1]], [0, 1], pad=0, limit=1, device=CPU, where="mine")


@pytest.mark.parametrize("fork", [1, 6, 7, 9, 14])  # 7 steps an epoch
def test_runs_share_their_steps_before_the_fork_and_no_later_ones(fork):
    kept: dict[tuple[int, int], bytes] = {}
    for order in (0, 1):
        net, log = None, None
        with seeds.torch_stream("head", 0):
            net = bert.build_text(20, 2, layers=1, width=16, heads=2, positions=16)

        def keep(step: int, net=net, order=order) -> None:
            kept[order, step] = bytes_of(net)

        with seeds.torch_stream("dropout", 0):
            stream = seeds.torch_generator("order", order)
            options = {**OPTIONS, "checkpoints": list(range(1, 15)), "fork": fork}
            log = list(tune(net, examples(), stream, keep, **options))
        assert len(log) == 2
    same = [step for step in range(1, 15) if kept[0, step] == kept[1, step]]
    assert same == list(range(1, fork + 1))


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler")  # nothing is trained
def test_every_example_is_seen_once_in_the_epoch_of_the_fork():
    seen = []
    optimiser = adamw.optimiser([torch.nn.Linear(1, 1)], 1e-3, 0)
    log = sgd.descend(
        lambda rows, labels: seen.append(rows) or {"loss": torch.zeros(())},
        torch.zeros(10),
        torch.Generator().manual_seed(1),
        adamw.linear(optimiser, 8, 0),
        epochs=2,
        batch_size=3,
        fork=2,
    )
    assert len(list(log)) == 2
    for epoch in (seen[:4], seen[4:]):
        assert sorted(torch.cat(epoch).tolist()) == list(range(10))


def test_a_perturbation_moves_the_weights_by_its_share_of_their_norm_and_nothing_else():
    net = tuned()[0]
    before = flatten(net.state_dict()).clone()
    perturb(net, 0.01, seed=3)
    moved = flatten(net.state_dict()) - before
    assert float(moved.norm() / before.norm()) == pytest.approx(0.01, rel=1e-4)
    assert bytes_of(tuned(perturbation=0.0)[0]) == bytes_of(tuned()[0])
    near, far = (tuned(perturbation=size, fork=3)[0] for size in (1e-6, 0.3))
    weights = [flatten(net.state_dict()) for net in (tuned(fork=3)[0], near, far)]
    assert 0 < (weights[1] - weights[0]).norm() < 0.1 * (weights[2] - weights[0]).norm()


def test_a_fork_after_the_last_step_is_refused():
    with pytest.raises(UserError, match="fork: step 15 is not taken; there are 14 steps"):
        tuned(fork=15)


def test_a_perturbation_after_the_last_step_is_refused():
    with pytest.raises(UserError, match="perturbation: there is no step after fork .14.; lower"):
        tuned(fork=14, perturbation=0.1)


def test_the_head_alone_is_trained_first():
    with seeds.torch_stream("head", 0):
        net = bert.build_text(20, 2, layers=2, width=16, heads=2, positions=16)
    before = {name: weight.clone() for name, weight in net.state_dict().items()}
    still = {"epochs": 1, "batch_size": 8, "lr": 1e-30, "weight_decay": 0.0}
    head = {"head_epochs": 30, "head_lr": 0.05, "head": ["classifier", "bert.pooler"]}
    log = list(tune(net, examples(), torch.Generator(), print, **still, **head))
    for name, weight in net.state_dict().items():
        trained = name.startswith(("classifier", "bert.pooler"))
        assert torch.allclose(weight, before[name], rtol=0) != trained, name
    assert [row["epoch"] for row in log] == [0] * 30 + [1]
    assert log[29]["accuracy"] > 0.8 > log[0]["accuracy"]
    assert all(weight.requires_grad for weight in net.parameters())


def test_the_head_alone_knows_no_order_and_no_dropout():
    # As its rate is the rest's that is too small to move, all that is left is the head's training.
    still = {"epochs": 1, "lr": 1e-30, "weight_decay": 0.0, "head_epochs": 2}
    first = flatten(tuned(**still)[0].state_dict())
    other = flatten(tuned(order=1, dropout=1, **still)[0].state_dict())
    torch.testing.assert_close(first, other, rtol=0, atol=1e-12)
    for changed in ({"head": 1}, {"head_epochs": 1}):
        assert not torch.allclose(first, flatten(tuned(**still | changed)[0].state_dict()))


def test_a_head_without_weights_is_refused():
    with pytest.raises(UserError, match="no weight's name begins with 'score'"):
        list(tune(tuned()[0], examples(), torch.Generator(), print, head_epochs=1, head=["score"]))
