"""IGCL, RECLF and GLoRIA with a local branch and counterfactuals: what the loss is made of, scores, checkpoints."""

import copy
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer

from igcl_lightning.data.modules import PairedDataModule
from igcl_lightning.errors import IgclError
from igcl_lightning.losses.contrastive import ContrastiveLoss, ContrastiveOptions, Similarity, batch_similarity
from igcl_lightning.losses.tiled import Cosines
from igcl_lightning.modules import IGCL, RECLF, BaseModule, GLoRIA
from igcl_lightning.modules.contrastive import pair_ids
from igcl_lightning.nn.scoring import cosine_similarity
from tiny_bert import save_tiny_bert

IMAGE = {"backbone": "test_resnet", "size": 64}
SMALL = {"image": IMAGE, "projection": {"channels": 16}}
LOCAL = {"weight": 0.5, "channels": 8, "region_layer": 3, "form": "hadamard", "form_channels": 8}
GRAPH, TEXT = {"channels": 16, "dropout": 0.0}, {"channels": 16, "dropout": 0.0, "sentence_sampling": False}
SIDE = {"kinds": ["side"], "weight": 0.7}
MODELS = {
    "igcl": (IGCL, {"graph": GRAPH, "matching": LOCAL, "srm": {"steps": 1}, "irm": {"pooling": "saf"}}),
    "words": (RECLF, {"text": TEXT | {"readout": "cls"}, "matching": LOCAL, "srm": {"steps": 1}}),
    "entities": (RECLF, {"units": "entities", "graph": GRAPH, "matching": LOCAL, "srm": {"steps": 1}}),
    "both": (RECLF, {"units": "both", "text": TEXT, "graph": GRAPH, "matching": LOCAL, "srm": {"steps": 1}}),
    "gloria": (GLoRIA, {"text": TEXT, "matching": {"channels": 8, "region_layer": 3}}),
}


def build(name, **options):
    torch.manual_seed(0)
    kind, given = MODELS[name]
    module = kind(**{**SMALL, **given, **options})
    for part in module.modules():  # batch norm would tie the images of a batch together
        part.train(not isinstance(part, torch.nn.BatchNorm2d))
    return module


def quiet(**options):
    silent = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
    return Trainer(accelerator="cpu", num_sanity_val_steps=0, **silent | options)


def first_batch(module, store, **options):
    """The first training batch as the module's data module makes it, twins included."""
    data = PairedDataModule(str(store), batch_size=12, augment=False, **options)
    data.trainer = quiet(max_epochs=1)
    data.trainer.strategy.connect(module)
    data.setup("fit")
    return next(iter(data.train_dataloader()))


@pytest.mark.parametrize("name", MODELS)
def test_the_loss_is_the_weighted_sum_of_both_branches(name, phantom_store):
    module = build(name)
    batch = first_batch(module, phantom_store)
    first, second, embedding = module._embed(batch)
    matched = module._matched_sides(first, second, embedding)
    whole = module.loss(
        batch_similarity(cosine_similarity, embedding.first, embedding.second), pair_ids(batch, module.loss)
    )
    local = module.local_loss(batch_similarity(module.scorer("local"), *matched), pair_ids(batch, module.loss))
    expected = whole + module.matching.weight * local
    torch.testing.assert_close(module.contrast(first, second, embedding, batch), expected)
    heavier = module.matching.global_weight
    object.__setattr__(module.matching, "global_weight", 3.0)
    torch.testing.assert_close(module.contrast(first, second, embedding, batch), expected + 2 * whole)
    object.__setattr__(module.matching, "global_weight", heavier)


@pytest.mark.parametrize("name", ["igcl", "words", "entities", "both"])
def test_counterfactuals_are_one_more_term_for_each_branch(name, phantom_store):
    module = build(name, counterfactual=SIDE)
    batch = first_batch(module, phantom_store)
    assert batch.twin is not None
    assert batch.twin.valid.any()
    first, second, embedding = module._embed(batch)
    without = module.contrast(first, second, embedding, batch._replace(twin=None))
    image, report = module._matched_sides(first, second, embedding)
    encoded = module.encode(module.sides[1], module.side_input(module.sides[1], batch.counterfactual()))
    twin = module.matched(module.sides[1], encoded, module.project(module.sides[1], encoded))
    terms = []
    for branch, loss, weight in (("global", module.loss, 1.0), ("local", module.local_loss, 0.5)):
        own, other = (module.scorer(branch)(image, each).diagonal() for each in (report, twin))
        scale = loss.logit_scale.exp()
        margins = [(scale * (other[b] - own[b])).item() for b in range(12) if batch.twin.valid[b]]
        terms.append(weight * sum(torch.tensor(m).exp().log1p() for m in margins) / len(margins))
    expected = without + 0.7 * sum(terms)
    torch.testing.assert_close(module.contrast(first, second, embedding, batch), expected)


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_takes_part(name, phantom_store):
    module = build(name, **({} if name == "gloria" else {"counterfactual": SIDE}))
    module.contrast_batch(first_batch(module, phantom_store))[0].backward()
    assert not [key for key, value in module.named_parameters() if value.requires_grad and value.grad is None]


def test_without_weight_there_is_no_local_branch_and_the_loss_is_that_of_igcl(phantom_store):
    torch.manual_seed(0)
    module = IGCL(image=IMAGE, graph=GRAPH)
    assert module.local is None
    assert not [name for name in module.state_dict() if "local" in name]
    batch = first_batch(module, phantom_store)
    first, second, embedding = module._embed(batch)
    similarity = batch_similarity(cosine_similarity, embedding.first, embedding.second)
    expected = ContrastiveLoss(ContrastiveOptions(targets="soft"))(similarity, pair_ids(batch, module.loss))
    torch.testing.assert_close(module.contrast(first, second, embedding, batch), expected)
    assert module.score_names == ("global",)
    sides = module._matched_sides(first, second, embedding)
    for score in (module.score, module.scorer("global")):
        torch.testing.assert_close(score(*sides), embedding.first @ embedding.second.T)
    torch.testing.assert_close(module.aligned("global", *sides), (embedding.first * embedding.second).sum(1))


def test_a_subclass_without_local_branch_may_override_the_score(phantom_store):
    class Halved(IGCL):
        def score(self, first, second):
            return super().score(first, second) / 2

    torch.manual_seed(0)
    module = Halved(image=IMAGE, graph=GRAPH)
    batch = first_batch(module, phantom_store)
    first, second, embedding = module._embed(batch)
    similarity = batch_similarity(lambda one, other: one @ other.T / 2, embedding.first, embedding.second)
    torch.testing.assert_close(
        module.contrast(first, second, embedding, batch), module.loss(similarity, pair_ids(batch, module.loss))
    )
    assert torch.equal(module.scorer("global")(*embedding[:2]), module.score(*embedding[:2]))
    assert isinstance(module.similarity(first, second, embedding), Similarity)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_the_global_branch_needs_no_matrix(weight, phantom_store):
    module = IGCL(image=IMAGE, graph=GRAPH, matching={"weight": weight, "channels": 8, "region_layer": 3})
    sides = module._embed(first_batch(module, phantom_store))
    assert isinstance(module.similarity(*sides), Cosines)


@pytest.mark.parametrize("name", MODELS)
def test_scores_of_both_branches_are_their_mean_as_logits(name, phantom_store):
    module = build(name).eval()
    batch = first_batch(module, phantom_store)
    with torch.no_grad():
        sides = module._matched_sides(*module._embed(batch))
        whole, local, both = (module.scorer(score)(*sides) for score in module.score_names)
    scales = module.loss.logit_scale.exp(), module.local_loss.logit_scale.exp()
    torch.testing.assert_close(both, (scales[0] * whole + scales[1] * local) / 2)
    torch.testing.assert_close(module.score(*sides), both)
    for score, matrix in zip(module.score_names, (whole, local, both), strict=True):
        torch.testing.assert_close(module.aligned(score, *sides), matrix.diagonal(), atol=1e-5, rtol=1e-5)


def test_the_terms_that_are_logged_add_up_to_the_loss(phantom_store):
    module = build("entities", counterfactual=SIDE | {"weight": 0.5})
    batch = first_batch(module, phantom_store)
    loss = module.contrast_batch(batch)[0]
    terms = {name: value for name, value in module._logged_values().items() if name.startswith("loss_")}
    assert set(terms) == {"loss_global", "loss_local", "loss_counterfactual"}
    assert all(value > 0 for value in terms.values())
    torch.testing.assert_close(sum(terms.values()), loss.detach())
    alone = IGCL(image=IMAGE, graph=GRAPH)
    alone.contrast_batch(first_batch(alone, phantom_store))
    assert not any(name.startswith("loss_") for name in alone._logged_values())


@pytest.mark.parametrize("name", MODELS)
def test_fit_test_and_a_checkpoint_that_loads_alone(name, phantom_store, tmp_path):
    counterfactual = {} if name == "gloria" else {"counterfactual": SIDE}
    module, data = build(name, **counterfactual), PairedDataModule(str(phantom_store), batch_size=16)
    run = quiet(max_epochs=1, default_root_dir=tmp_path)
    run.fit(module, data)
    terms = {"loss_global", "loss_local"} | ({"loss_counterfactual"} if counterfactual else set())
    assert {f"train/{term}" for term in terms} <= set(run.callback_metrics)
    run.test(module, data, verbose=False)
    logged = {name for name in run.callback_metrics if name.startswith("test/")}
    assert logged | {"test/within_patient_accuracy"} == {
        name for name in module.logged_metrics(data) if name.startswith("test/")
    } | {"test/within_patient_accuracy"}
    if counterfactual:
        assert 0 <= run.callback_metrics["test/counterfactual_accuracy"] <= 1
    run.save_checkpoint(tmp_path / "last.ckpt")
    loaded = BaseModule.load_from_checkpoint(tmp_path / "last.ckpt")
    assert type(loaded) is type(module)
    assert loaded.sides == module.sides
    for key, value in module.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[key], value)
    reports = ["Small left pleural effusion. No pneumothorax.", "The heart is enlarged."]
    vectors = loaded.embed_reports(reports)
    assert vectors.shape == (2, 16)
    torch.testing.assert_close(loaded.embed_reports(reports[1]), vectors[1:], atol=1e-5, rtol=1e-5)


def test_a_told_apart_metric_that_never_looks_at_the_image_is_blind(phantom_store):
    """The blind control scores the image of another row: with equal images both metrics are equal."""
    module = build("entities", counterfactual=SIDE).eval()
    batch = first_batch(module, phantom_store)
    same = batch._replace(image=batch.image[:1].expand_as(batch.image).contiguous())
    with torch.no_grad():
        module.contrast(*module._embed(same), same)
    told_apart = module.told_apart.compute()
    assert told_apart["counterfactual_accuracy"] == told_apart["counterfactual_blind"]


def test_temperatures_of_the_local_branch_and_of_counterfactuals_are_their_own():
    module = build("igcl", matching=LOCAL | {"temperature": 0.2}, counterfactual=SIDE | {"temperature": 0.25})
    assert module.local_loss.logit_scale.exp().item() == pytest.approx(5)
    assert {module._twin_scale(loss) for _, loss, _ in module._branches()} == {4}
    shared = build("igcl", matching=LOCAL | {"temperature": 0.2}, counterfactual=SIDE)
    assert shared._twin_scale(shared.local_loss).item() == pytest.approx(5)


def test_reports_are_told_apart_in_evaluation_each_epoch_anew(phantom_store, monkeypatch):
    module = build("igcl", matching={"weight": 0.0}, srm={}, counterfactual=SIDE)
    batch = first_batch(module, phantom_store)
    module.contrast_batch(batch)
    assert not module.told_apart.update_called
    module.eval().contrast_batch(batch)
    assert module.told_apart.update_called
    monkeypatch.setattr(module, "log_dict", lambda *_, **__: None)
    module._log_told_apart("val")
    assert not module.told_apart.update_called


def test_the_blind_control_scores_the_image_of_the_row_before(phantom_store):
    module = IGCL(image=IMAGE, graph=GRAPH, counterfactual=SIDE).eval()
    batch = first_batch(module, phantom_store)
    image = report = torch.eye(12)
    twin = image.roll(1, 0)  # what the image of the row before shows
    module._note_told_apart(image, report, twin, batch)
    assert batch.twin.valid.any()
    accuracy, blind, number = module.told_apart.compute().values()
    assert (accuracy, blind, number) == (1, 0, batch.twin.valid.sum())


def test_units_of_both_kinds_come_in_their_order_with_the_relations_of_entities(phantom_store):
    module = build("both").eval()
    batch = first_batch(module, phantom_store)
    with torch.no_grad():
        words, entities = module.report_encoder.words(batch.report), module.report_encoder.entities(batch.graph)
        encoded = module.encode("report", module.side_input("report", batch))
    longest = words.mask.shape[1]
    assert torch.equal(encoded.mask, torch.cat([words.mask, entities.mask], dim=1))
    assert not encoded.units[~encoded.mask].any()
    torch.testing.assert_close(encoded.importance.sum(1), torch.ones(12))
    width = encoded.mask.shape[1]
    for edge in range(entities.relation.edge_index.shape[1]):
        for end in range(2):
            sample, unit = divmod(int(entities.relation.edge_index[end, edge]), entities.mask.shape[1])
            assert int(encoded.relation.edge_index[end, edge]) == sample * width + longest + unit


def test_words_of_a_hub_model_are_matched(phantom_store, tmp_path):
    folder = Path(save_tiny_bert(tmp_path / "bert", max_position=256))
    text = {"model": str(folder), "frozen_layers": 0, "readout": "cls", "sentence_sampling": False}
    module = build("words", text=text)
    data = PairedDataModule(str(phantom_store), batch_size=16, tokenizer=str(folder))
    run = quiet(max_epochs=1, default_root_dir=tmp_path)
    run.fit(module, data)
    run.save_checkpoint(tmp_path / "last.ckpt")
    folder.rename(tmp_path / "gone")
    assert RECLF.load_from_checkpoint(tmp_path / "last.ckpt").embed_reports("No effusion.").shape == (1, 16)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("words", {"units": "word"}, "model.units 'word' is not one of words, entities, both.*words"),
        ("words", {"matching": LOCAL | {"score": "locl"}}, "model.matching.score 'locl' is not one of"),
        ("words", {"matching": LOCAL | {"weight": -1.0}}, "model.matching.weight is -1.0, not at least 0"),
        ("words", {"matching": {"weight": 0.0, "global_weight": 0.0}}, "nothing is trained"),
        ("words", {"matching": LOCAL | {"global_weight": 0.0}}, "model.matching.score 'both' needs a global branch"),
        (
            "words",
            {"text": {"sentence_sampling": True}, "counterfactual": SIDE},
            "set model.text.sentence_sampling to false",
        ),
        ("igcl", {"counterfactual": {"kinds": ["sides"]}}, "model.counterfactual.kinds.*'sides'"),
        ("igcl", {"counterfactual": {"kinds": ["assertion"]}}, "model.counterfactual.kinds.*assertion"),
        ("igcl", {"matching": LOCAL | {"attention": "dot"}}, "model.matching.attention 'dot' is not one of"),
        # without a local branch too
        ("igcl", {"matching": {"weight": 0.0, "score": "locl"}}, "model.matching.score 'locl' is not one of"),
        ("igcl", {"matching": {"weight": 0.0, "channels": -3}}, "model.matching.channels is -3, not at least 1"),
        ("igcl", {"matching": {"weight": 0.0}, "srm": {"steps": -1}}, "model.srm.steps is -1, not at least 0"),
        ("igcl", {"matching": {"weight": 0.0}, "irm": {"pooling": "q"}}, "model.irm.pooling 'q' is not one of"),
    ],
)
def test_wrong_options_are_one_line(name, options, message):
    with pytest.raises(IgclError, match=message) as raised:
        build(name, **options)
    assert "\n" not in str(raised.value)


def test_an_encoder_without_units_cannot_be_matched():
    module = build("igcl")
    bare = copy.copy(module.graph_encoder)
    del bare.unit_channels
    module.graph_encoder = bare
    with pytest.raises(IgclError, match="GraphEncoder has no unit_channels, .* or model.matching.weight to 0"):
        module.set_branches(ContrastiveOptions(), module.matching)
