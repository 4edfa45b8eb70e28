import sys

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.featurizer import subword_ids
from igcl_lightning.graphs.tokens import WORD_SUBWORDS, ReportTokenizer
from igcl_lightning.nn.readout import READOUTS
from igcl_lightning.nn.text_encoder import HubTextEncoder, TextEncoder, TextOptions
from tiny_bert import save_tiny_bert

LONG = "no left pleural effusion . no pneumothorax . heart enlarged"
SHORT = "left effusion"


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return save_tiny_bert(tmp_path_factory.mktemp("bert"))


def batch(*texts, model=None):
    return ReportTokenizer(model)(texts)


def encoder(max_tokens=256, **options):
    torch.manual_seed(0)
    return TextEncoder(TextOptions(channels=16, layers=2, heads=2, **options), max_tokens).eval()


@pytest.fixture(params=["hashed", "hub"])
def kind(request, bert):
    """Builder of an encoder, and the model of its tokenizer."""
    if request.param == "hashed":
        return encoder, None
    return lambda **options: HubTextEncoder(TextOptions(model=bert, frozen_layers=1, **options)).eval(), bert


@pytest.mark.parametrize("readout", READOUTS)
def test_encoding_does_not_depend_on_batch_mates_or_padding(kind, readout):
    build, model = kind
    encode = build(readout=readout)
    alone, beside = encode(batch(SHORT, model=model)), encode(batch(LONG, SHORT, "", model=model))
    torch.testing.assert_close(alone.pooled[0], beside.pooled[1])
    torch.testing.assert_close(alone.units[0], beside.units[1, :2])
    torch.testing.assert_close(alone.importance[0], beside.importance[1, :2])
    assert beside.mask.sum(dim=1).tolist() == [len(LONG.split()), 2, 1]
    torch.testing.assert_close(beside.importance.sum(dim=1), torch.ones(3))


def test_places_without_a_word_are_zero(kind):
    build, model = kind
    encoded = build().train()(batch(LONG, SHORT, "", model=model))  # layers of transformers clear padding in evaluation
    assert not encoded.units[~encoded.mask].any()
    assert encoded.units[encoded.mask].abs().sum(dim=1).min() > 0


def test_an_empty_report_is_the_learned_unit_wherever_it_stands(kind):
    build, model = kind
    encode = build()
    last, first, alone = (encode(batch(*texts, model=model)) for texts in ((SHORT, ""), ("", SHORT), ("", "")))
    torch.testing.assert_close(last.pooled[1], first.pooled[0])
    torch.testing.assert_close(alone.pooled[0], last.pooled[1])
    assert alone.pooled.isfinite().all()
    last.pooled[1, :3].sum().backward()
    assert encode.empty.grad.abs().sum() > 0


@pytest.mark.parametrize("texts", [("", ""), (SHORT, ""), (SHORT, LONG)])
def test_every_trainable_parameter_takes_part_even_where_all_reports_are_empty(kind, texts):
    build, model = kind
    encode = build(readout="attention").train()
    encode(batch(*texts, model=model)).pooled.sum().backward()
    without = [name for name, value in encode.named_parameters() if value.requires_grad and value.grad is None]
    assert not without


def test_word_order_matters():
    encode = encoder(readout="mean")
    one, two = encode(batch("left heart right effusion", "right heart left effusion")).pooled
    assert not torch.allclose(one, two, atol=1e-3)


def test_one_report_alone_is_the_transformer_without_mask():
    encode = encoder(readout="mean")
    units = torch.stack(
        [
            encode.subwords.weight[[number for number in subword_ids(word, WORD_SUBWORDS) if number]].mean(dim=0)
            for word in LONG.split()
        ]
    )
    units = units + encode.position[: len(units)]
    for layer in encode.layers:
        attention = layer.self_attn
        normed = layer.norm1(units)
        query, key, value = (normed @ attention.in_proj_weight.T + attention.in_proj_bias).chunk(3, dim=-1)
        heads = []
        for q, k, v in zip(*(part.chunk(2, dim=-1) for part in (query, key, value)), strict=True):
            heads.append((q @ k.T / q.shape[-1] ** 0.5).softmax(dim=-1) @ v)
        units = units + attention.out_proj(torch.cat(heads, dim=-1))
        units = units + layer.linear2(torch.nn.functional.gelu(layer.linear1(layer.norm2(units))))
    torch.testing.assert_close(encode(batch(LONG)).pooled[0], encode.norm(units).mean(dim=0), atol=1e-5, rtol=1e-4)


def test_a_report_longer_than_the_encoder_reads_is_refused():
    with pytest.raises(IgclError, match="a report has 10 tokens, the text encoder reads 4: lower data.max_tokens"):
        encoder(max_tokens=4)(batch(SHORT, LONG))


def test_unknown_readout_is_named():
    with pytest.raises(ValueError, match="readout 'sum' is not one of max, mean, attention"):
        TextEncoder(TextOptions(readout="sum"))


def test_hub_units_are_means_over_the_pieces_of_a_word(bert):
    tokenizer, model = AutoTokenizer.from_pretrained(bert), AutoModel.from_pretrained(bert).eval()
    words = [*SHORT.split(), "pneumothorax"]
    inputs = tokenizer(" ".join(words), return_tensors="pt")
    with torch.no_grad():
        hidden = model(**inputs).last_hidden_state[0]
    expected = torch.stack([hidden[1], hidden[2], hidden[3:5].mean(dim=0)])
    encode = HubTextEncoder(TextOptions(model=bert, frozen_layers=0, readout="mean")).eval()
    encoded = encode(batch(" ".join(words), model=bert))
    torch.testing.assert_close(encoded.units[0], expected)
    torch.testing.assert_close(encoded.pooled[0], expected.mean(dim=0))


def test_frozen_layers_do_not_train(bert):
    encode = HubTextEncoder(TextOptions(model=bert, frozen_layers=2)).train()
    backbone = encode.backbone
    trained = {name for name, value in backbone.named_parameters() if value.requires_grad}
    assert trained == {name for name, _ in backbone.named_parameters() if name.startswith("encoder.layer.2.")}
    assert [layer.training for layer in (backbone.embeddings, *backbone.encoder.layer)] == [False, False, False, True]
    everything = HubTextEncoder(TextOptions(model=bert, frozen_layers=0)).backbone
    assert all(v.requires_grad for n, v in everything.named_parameters() if not n.startswith("pooler"))
    with pytest.raises(IgclError, match="model.text.frozen_layers is 6; the text model has 3 layers"):
        HubTextEncoder(TextOptions(model=bert))


def test_a_hub_encoder_is_rebuilt_from_its_configuration_alone(bert):
    encode = HubTextEncoder(TextOptions(model=bert, frozen_layers=1)).eval()
    copy = HubTextEncoder(TextOptions(model="gone", config=encode.config, frozen_layers=1)).eval()
    copy.load_state_dict(encode.state_dict())
    reports = batch(LONG, "", model=bert)
    torch.testing.assert_close(copy(reports).pooled, encode(reports).pooled)


def test_hub_encoders_need_wordpieces_a_model_and_the_package(bert, tmp_path, monkeypatch):
    with pytest.raises(IgclError, match=r"hashed subwords, not wordpieces: set data.tokenizer to model.text.model"):
        HubTextEncoder(TextOptions(model=bert, frozen_layers=1))(batch(SHORT))
    with pytest.raises(IgclError, match=r"model.text.model '.*': no model found there") as caught:
        HubTextEncoder(TextOptions(model=str(tmp_path)))
    assert "\n" not in str(caught.value)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(IgclError, match="model.text.model needs the package transformers"):
        HubTextEncoder(TextOptions(model=bert))


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_dropout_is_that_of_the_options(dropout):
    layers = [part for part in encoder(dropout=dropout).modules() if isinstance(part, torch.nn.Dropout)]
    assert {part.p for part in layers} == {dropout}
