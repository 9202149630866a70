import pytest
import torch
from transformers import AutoModelForSequenceClassification

from basins.errors import UserError
from basins.nets import bert


def test_parameter_count_and_logits():
    net = bert.build_text(71, 3, layers=3, width=32, heads=4, positions=16).eval()
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


def test_hugging_face_loads_what_it_saves(tmp_path):
    net = bert.build_text(20, 2, layers=1, width=8, heads=2).eval()
    net.save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    ids = torch.randint(0, 20, (2, 6))
    assert torch.equal(net(ids).logits, loaded(ids).logits)
    assert bert.permutation_spec(loaded.config) == net.permutation_spec()


def test_refuses_heads_that_do_not_divide_the_width():
    with pytest.raises(UserError, match="width 10 is not a multiple of heads 4"):
        bert.build_text(20, 2, width=10, heads=4)
