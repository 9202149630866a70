import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForSequenceClassification, BertForSequenceClassification

from basins import seeds
from basins.errors import UserError
from basins.nets import bert

CLASSES = ("yes", "no", "maybe")


@pytest.fixture
def net() -> bert.Bert:
    torch.manual_seed(0)
    return bert.build_text(71, 3, layers=3, width=32, heads=4, positions=16).eval()


def rows() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return ids, mask and types of five rows, of which all but the first are padded."""
    draw = torch.Generator().manual_seed(1)
    ids = torch.randint(1, 71, (5, 16), generator=draw)
    mask = (torch.arange(16) < torch.tensor([16, 3, 1, 9, 12])[:, None]).long()
    return ids, mask, torch.randint(0, 2, (5, 16), generator=draw)


def hugging_face(net: bert.Bert) -> BertForSequenceClassification:
    theirs = BertForSequenceClassification(net.config).eval()
    theirs.load_state_dict(net.state_dict())
    return theirs


def test_parameter_count_and_logits(net):
    layer = 4 * (32 * 32 + 32) + 2 * (32 * 128) + 128 + 32 + 4 * 32
    embeddings = (71 + 16 + 2 + 2) * 32
    expected = embeddings + 3 * layer + 32 * 32 + 32 + 32 * 3 + 3
    assert sum(p.numel() for p in net.parameters()) == expected
    ids = torch.randint(0, 71, (5, 16))
    assert net(ids, attention_mask=torch.ones_like(ids)).logits.shape == (5, 3)
    net.permutation_spec().check(net.state_dict())


def test_bert_base_has_its_size():
    with torch.device("meta"):
        net = bert.build_text(30522, 2, layers=12, width=768, heads=12, positions=512)
    assert sum(p.numel() for p in net.parameters()) == 109_483_778


def test_logits_and_gradients_are_those_of_hugging_face(net):
    theirs, (ids, mask, types) = hugging_face(net), rows()
    labels = torch.tensor([0, 1, 2, 0, 1])
    ours, expected = net(ids, mask, types).logits, theirs(ids, mask, types).logits
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)
    assert (net(ids, None, types).logits - expected).abs().max() > 0.01
    functional.cross_entropy(ours, labels).backward()
    functional.cross_entropy(expected, labels).backward()
    gradients = dict(theirs.named_parameters())
    for name, weight in net.named_parameters():
        torch.testing.assert_close(weight.grad, gradients[name].grad, rtol=1e-3, atol=1e-6)


def test_dropout_is_at_work_while_training_only(net):
    ids, mask, types = rows()
    same = [net(ids, mask, types).logits for _ in range(2)]
    net.train()
    drawn = [net(ids, mask, types).logits for _ in range(2)]
    assert torch.equal(*same) and not torch.equal(*drawn)


def test_no_padding_is_computed_and_of_the_last_layer_only_first_tokens(net):
    computed = []
    for layer in net.bert.encoder.layer:
        layer.intermediate.register_forward_hook(
            lambda *found: computed.append(found[2].shape[:2].numel())
        )
    ids, mask, types = rows()
    net(ids, mask, types)
    assert computed == [16 + 3 + 1 + 9 + 12] * 2 + [5]
    computed.clear()
    net(ids, None, types)
    assert computed == [5 * 16] * 2 + [5]


def test_both_kinds_of_mask_are_one(net):
    ids, mask, types = rows()
    scores = torch.where(mask[:, None, None] == 1, 0.0, -torch.inf)
    assert torch.equal(net(ids, mask, types).logits, net(ids, scores, types).logits)


def test_padding_in_front_is_refused(net):
    ids, mask, types = rows()
    with pytest.raises(UserError, match="a row begins with padding"):
        net(ids, mask.flip(1), types)


def test_hugging_face_loads_what_it_saves(tmp_path):
    net = bert.build_text(20, 2, layers=1, width=8, heads=2).eval()
    net.save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    ids = torch.randint(0, 20, (2, 6))
    torch.testing.assert_close(net(ids).logits, loaded(ids).logits, rtol=0, atol=1e-6)
    assert bert.permutation_spec(loaded.config) == net.permutation_spec()


def test_refuses_heads_that_do_not_divide_the_width():
    with pytest.raises(UserError, match="width 10 is not a multiple of heads 4"):
        bert.build_text(20, 2, width=10, heads=4)


def test_a_new_encoder_attends_to_equal_tokens():
    torch.manual_seed(0)
    net = bert.encoder(40, layers=1, width=64, heads=2).eval()
    net.set_attn_implementation("eager")
    ids = torch.tensor([[2, 7, 8, 9, 3, 9, 8, 7, 3]])
    (attention,) = net(ids, output_attentions=True).attentions
    twins = torch.tensor([7, 6, 5]), torch.tensor([1, 2, 3])
    others = attention[0].mean(0).fill_diagonal_(0).sum(1) / 8
    assert (attention[0].mean(0)[twins] > 2 * others[twins[0]]).all()


def test_rows_come_back_in_their_order(net):
    ids, mask, types = rows()
    turned = torch.tensor([3, 0, 4, 2, 1])
    expected = net(ids, mask, types).logits[turned]
    found = net(ids[turned], mask[turned], types[turned]).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def tuned_from(state, stream: int) -> dict[str, torch.Tensor]:
    config = bert.encoder(20, layers=1, width=8, heads=2).config.to_dict()
    with seeds.torch_stream("head", stream):
        return bert.classifier(config, state, CLASSES).state_dict()


def test_a_classifier_is_the_encoder_with_a_new_head():
    encoder = bert.encoder(20, layers=1, width=8, heads=2).state_dict()
    one, again, other = (tuned_from(encoder, stream) for stream in (0, 0, 1))
    for name, weight in encoder.items():
        assert torch.equal(one[f"bert.{name}"], weight)
    assert all(torch.equal(one[name], again[name]) for name in one)
    differ = [name for name in one if not torch.equal(one[name], other[name])]
    assert differ == ["classifier.weight"]
    assert one["classifier.weight"].shape == (3, 8)


def test_a_pooler_that_the_encoder_lacks_is_of_the_head():
    encoder = bert.encoder(20, layers=1, width=8, heads=2).state_dict()
    without = {name: weight for name, weight in encoder.items() if "pooler" not in name}
    one, other = tuned_from(without, 0), tuned_from(without, 1)
    assert not torch.equal(one["bert.pooler.dense.weight"], other["bert.pooler.dense.weight"])


def test_a_classifier_keeps_its_head_where_the_classes_are_its_own():
    with torch.no_grad():
        first = tuned_from(bert.encoder(20, layers=1, width=8, heads=2).state_dict(), 0)
    config = bert.encoder(20, layers=1, width=8, heads=2).config.to_dict()
    config["id2label"] = dict(enumerate(CLASSES))
    again = bert.classifier(config, first, CLASSES).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    with pytest.raises(UserError, match="the encoder is a classifier of .* not of"):
        bert.classifier(config, first, CLASSES[::-1])


@pytest.mark.parametrize("width", [8, 16])
def test_weights_that_do_not_fit_are_refused(width):
    state = bert.encoder(20, layers=1, width=width, heads=2).state_dict()
    if width == 8:
        del state["encoder.layer.0.output.dense.bias"]
    with pytest.raises(UserError, match="do not fit its config: e"):
        tuned_from(state, 0)


def test_one_row_with_padding_is_that_row():
    """As is left of a batch of which few rows are wanted."""
    from basins.nets import bert

    torch.manual_seed(0)
    net = bert.build_text(20, 3, layers=2, width=8, heads=2).eval()
    ids, mask = torch.randint(5, 20, (1, 7)), (torch.arange(7) < 5).long()[None]
    with torch.no_grad():
        found = net(ids, mask).logits
        torch.testing.assert_close(found, net(ids[:, :5]).logits, atol=1e-6, rtol=1e-5)


def test_what_is_packed_is_held_against_each_row_by_itself(monkeypatch):
    from basins.data.tokens import tokens
    from basins.nets import bert
    from basins.paths.evaluation import double_entry, evaluate

    torch.manual_seed(0)
    net = bert.build_text(20, 3, layers=2, width=8, heads=2).eval()
    draw = torch.Generator().manual_seed(0)
    ids = [torch.randint(5, 20, (3 + k % 6,), generator=draw).tolist() for k in range(12)]
    types, labels = [[0] * len(row) for row in ids], [k % 3 for k in range(12)]
    data = tokens(
        ids, types, labels, pad=0, limit=16, device=torch.device("cpu"), where="here", budget=256
    )
    evaluate(net, data)
    entry = double_entry(net)
    assert entry.compared == 2 and not entry.plain and entry.apart < 1e-5
    whole = torch.cat([net(*given).logits for given, _ in data.batches()])
    alone = torch.cat([net.plainly(*given) for given, _ in data.batches()])
    torch.testing.assert_close(whole, alone, atol=1e-5, rtol=1e-5)

    def wrongly(group, padded):
        return padded.flatten(0, 1)[-group.tokens :]

    monkeypatch.setattr(bert.Group, "pack", wrongly)
    padded = [k for k, (given, _) in enumerate(data.batches()) if given.mask is not None]
    entry.due, entry.turn = 0, padded[-1]
    with pytest.warns(UserWarning, match="^Bert: computed fast"):
        found = evaluate(net, data)
    right = torch.nn.functional.cross_entropy(
        alone, torch.cat([part for _, part in data.batches()]), reduction="none"
    )
    assert found.losses.mean() == pytest.approx(float(right.mean()), 1e-5)
