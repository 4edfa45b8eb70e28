import copy
import sys

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.featurizer import subword_ids
from igcl_lightning.graphs.tokens import WORD_SUBWORDS, ReportTokenizer
from igcl_lightning.modules.report_side import sample_sentences
from igcl_lightning.nn.first_token import recorded_calls
from igcl_lightning.nn.text_encoder import TEXT_READOUTS, HubTextEncoder, TextEncoder, TextOptions
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


def hub_encoder(model, **options):
    return HubTextEncoder(TextOptions(model=model, **{"frozen_layers": 1, **options})).eval()


@pytest.fixture(params=["hashed", "hub"])
def kind(request, bert):
    """Builder of an encoder, and the model of its tokenizer."""
    if request.param == "hashed":
        return encoder, None
    return lambda **options: hub_encoder(bert, **options), bert


@pytest.mark.parametrize("readout", TEXT_READOUTS)
def test_encoding_does_not_depend_on_batch_mates_or_padding(kind, readout):
    build, model = kind
    encode = build(readout=readout)
    alone, beside = encode(batch(SHORT, model=model)), encode(batch(LONG, SHORT, "", model=model))
    torch.testing.assert_close(alone.pooled[0], beside.pooled[1])
    torch.testing.assert_close(alone.units[0], beside.units[1, :2])
    torch.testing.assert_close(alone.importance[0], beside.importance[1, :2])
    assert beside.mask.sum(dim=1).tolist() == [len(LONG.split()), 2, 1]
    torch.testing.assert_close(beside.importance.sum(dim=1), torch.ones(3))
    assert not beside.importance[~beside.mask].any()


@pytest.mark.parametrize("readout", ["max", "cls"])
def test_places_without_a_word_are_zero(kind, readout):
    build, model = kind
    encode = build(readout=readout).train()  # layers of transformers clear padding in evaluation
    encoded = encode(batch(LONG, SHORT, "", model=model))
    assert not encoded.units[~encoded.mask].any()
    assert encoded.units[encoded.mask].abs().sum(dim=1).min() > 0


@pytest.mark.parametrize("readout", ["max", "cls"])
def test_an_empty_report_is_the_learned_unit_wherever_it_stands(kind, readout):
    build, model = kind
    encode = build(readout=readout)
    last, first, alone = (encode(batch(*texts, model=model)) for texts in ((SHORT, ""), ("", SHORT), ("", "")))
    torch.testing.assert_close(last.pooled[1], first.pooled[0])
    torch.testing.assert_close(alone.pooled[0], last.pooled[1])
    assert alone.pooled.isfinite().all()
    assert last.importance[1].tolist() == [1, 0]
    assert alone.importance.tolist() == [[1], [1]]
    last.pooled[1, :3].sum().backward()
    assert encode.empty.grad.abs().sum() > 0


@pytest.mark.parametrize("readout", TEXT_READOUTS)
@pytest.mark.parametrize("texts", [("", ""), (SHORT, ""), (SHORT, LONG)])
def test_every_trainable_parameter_takes_part_even_where_all_reports_are_empty(kind, texts, readout):
    build, model = kind
    encode = build(readout=readout).train()
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
    with pytest.raises(ValueError, match="readout 'sum' is not one of max, mean, min, attention, cls"):
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


@torch.no_grad()
def words_of_row(row, word):
    """Attention to the words of one report: sums over their pieces, as shares of all words."""
    total = [sum(float(row[place]) for place in range(len(word)) if word[place] == w) for w in range(max(word) + 1)]
    return torch.tensor(total) / sum(total)


@pytest.fixture(scope="module", params=["bert", "roberta"])
def like_bert(request, tmp_path_factory):
    noisy = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.9, "initializer_range": 1.0}
    return save_tiny_bert(tmp_path_factory.mktemp("like"), kind=request.param, **noisy)


@pytest.mark.parametrize("training", [False, True])
def test_importance_is_the_first_tokens_attention_in_the_last_layer(like_bert, training):
    reports = batch(LONG, "left pneumothorax .", SHORT, model=like_bert)
    # Only the last layer trains: dropout of its attention must not reach the importance.
    encode = hub_encoder(like_bert, readout="cls", frozen_layers=2).train(training)
    assert encode.backbone.config._attn_implementation == "sdpa"
    encoded = encode(reports)
    eager = AutoModel.from_pretrained(like_bert, attn_implementation="eager").eval()
    for number, report in enumerate(reports.to_data_list()):
        output = eager(report.x.T, output_attentions=True)
        expected = words_of_row(output.attentions[-1][0].mean(dim=0)[0], report.word.tolist())
        got = encoded.importance[number][encoded.mask[number]]
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)
        assert got.max() > 1.2 * got.min()
        if not training:
            torch.testing.assert_close(encoded.pooled[number], output.last_hidden_state[0, 0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_importance_of_the_small_encoder_is_its_first_tokens_attention(training):
    encode = encoder(readout="cls")
    layer = encode.layers[-1]
    with torch.no_grad():
        layer.self_attn.in_proj_weight.mul_(5)
    reports = batch(LONG, SHORT)
    states = torch.cat([encode.first.expand(2, 1, -1), torch.zeros(2, 10, 16)], dim=1)
    for number, report in enumerate(reports.to_data_list()):
        states[number, 1 : 1 + len(report.x)] = encode.subwords(report.x) + encode.position[: len(report.x)]
    padding = torch.arange(11) > torch.tensor([10, 2])[:, None]
    before = layer.norm1(encode.layers[0](states, src_key_padding_mask=padding))
    _, row = layer.self_attn(before, before, before, key_padding_mask=padding, need_weights=True)
    if training:  # dropout changes the states that reach the last layer; only that of its attention is left
        layer.self_attn.dropout, layer.self_attn.training = 0.9, True
    encoded = encode(reports)
    for number, count in enumerate((10, 2)):
        expected = words_of_row(row[number, 0, 1 : count + 1], list(range(count)))
        torch.testing.assert_close(encoded.importance[number, :count], expected, atol=1e-5, rtol=0)
    assert encoded.importance[0].max() > 2 * encoded.importance[0].min()


def test_the_small_encoder_reads_the_last_state_of_its_first_token():
    encode = encoder(readout="cls")
    states = torch.cat([encode.first[None], encode.subwords(batch(SHORT).x) + encode.position[:2]])[None]
    for layer in encode.layers:
        states = layer(states)
    encoded = encode(batch(SHORT, LONG))
    torch.testing.assert_close(encoded.pooled[0], encode.norm(states)[0, 0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(encoded.units[0, :2], encode.norm(states)[0, 1:], atol=1e-5, rtol=1e-4)


def test_importance_has_a_gradient(kind):
    build, model = kind
    encode = build(readout="cls")
    (encode(batch(LONG, model=model)).importance[0, 0]).backward()
    assert encode.empty.grad is None or not encode.empty.grad.any()
    assert sum(value.grad.abs().sum() for value in encode.parameters() if value.grad is not None) > 0


@pytest.mark.parametrize("drawn", range(4))
def test_one_drawn_sentence_is_encoded_like_that_sentence_alone(bert, drawn):
    torch.manual_seed(drawn)
    encode = hub_encoder(bert, readout="cls")
    sampled = encode(sample_sentences(batch(LONG, model=bert)))
    count = int(sampled.mask.sum())
    sentence = {5: "no left pleural effusion .", 3: "no pneumothorax .", 2: "heart enlarged"}[count]
    alone = encode(batch(sentence, model=bert))
    torch.testing.assert_close(sampled.pooled, alone.pooled)
    torch.testing.assert_close(sampled.importance, alone.importance)


def test_a_drawn_sentence_of_the_small_encoder_shares_all_importance():
    torch.manual_seed(0)
    encoded = encoder(readout="cls")(sample_sentences(batch(LONG, SHORT, "")))
    torch.testing.assert_close(encoded.importance.sum(dim=1), torch.ones(3))


@pytest.mark.parametrize("pieces", ["mean", "sum"])
@pytest.mark.parametrize("last_layers", [1, 2, 3])
def test_words_are_merged_from_the_last_layers(bert, pieces, last_layers):
    tokenizer, model = AutoTokenizer.from_pretrained(bert), AutoModel.from_pretrained(bert).eval()
    text = "left pneumothorax effusion"
    with torch.no_grad():
        output = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
    hidden = sum(output.hidden_states[-1 - layer][0] for layer in range(last_layers))
    word = hidden[2:4].mean(dim=0) if pieces == "mean" else hidden[2:4].sum(dim=0)
    expected = torch.stack([hidden[1], word, hidden[4]])
    encode = hub_encoder(bert, readout="cls", pieces=pieces, last_layers=last_layers)
    encoded = encode(batch(LONG, text, model=bert))
    torch.testing.assert_close(encoded.units[1, :3], expected)
    torch.testing.assert_close(encoded.pooled[1], output.last_hidden_state[0, 0])
    torch.testing.assert_close(
        hub_encoder(bert, readout="mean", pieces=pieces, last_layers=last_layers)(batch(LONG, text, model=bert)).pooled[
            1
        ],
        expected.mean(dim=0),
    )


def test_half_precision_keeps_importance(kind):
    build, model = kind
    encode, reports = build(readout="cls"), batch(LONG, SHORT, "", model=model)
    with torch.autocast("cpu", torch.bfloat16):
        half = encode(reports)
    torch.testing.assert_close(half.importance.float(), encode(reports).importance, atol=0.02, rtol=0)
    torch.testing.assert_close(half.importance.float().sum(dim=1), torch.ones(3), atol=0.02, rtol=0)


def test_reading_attention_adds_no_weights_and_leaves_no_hook(bert):
    encode = hub_encoder(bert, readout="cls")
    assert encode.state_dict().keys() == hub_encoder(bert, readout="mean").state_dict().keys()
    encode(batch(SHORT, model=bert))
    assert not encode.attention[0]._forward_hooks
    with pytest.raises(ZeroDivisionError), recorded_calls(encode.attention):
        raise ZeroDivisionError
    assert not encode.attention[0]._forward_hooks
    twin = copy.deepcopy(encode)
    assert twin.attention[0] is twin.backbone.encoder.layer[-1].attention.self


@pytest.mark.parametrize(
    ("kind", "config"),
    [("distilbert", {}), ("albert", {}), ("esm", {"position_embedding_type": "rotary"}), ("roformer", {})],
)
def test_a_model_with_another_attention_is_refused(tmp_path, kind, config):
    folder = save_tiny_bert(tmp_path, kind=kind, **config)
    with pytest.raises(IgclError, match="model.text.readout 'cls' reads attention as BERT computes it; ") as caught:
        hub_encoder(folder, readout="cls", frozen_layers=0)
    assert "\n" not in str(caught.value)


def test_impossible_options_are_named(bert):
    with pytest.raises(IgclError, match="model.text.pieces 'men' is not one of mean, sum, did you mean mean?"):
        hub_encoder(bert, pieces="men")
    with pytest.raises(IgclError, match="model.text.pieces 'first' is not one of mean, sum"):
        encoder(pieces="first")
    with pytest.raises(IgclError, match="model.text.last_layers is 4; the text model has 3 layers"):
        hub_encoder(bert, last_layers=4)
    with pytest.raises(IgclError, match="model.text.last_layers is 2; only a Hugging Face model has layers to add up"):
        encoder(last_layers=2)
    with pytest.raises(IgclError, match="'cls' reads the last layer's attention; model.text.layers is 0"):
        TextEncoder(TextOptions(layers=0, readout="cls"))
