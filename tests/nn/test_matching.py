import math
from itertools import product

import pytest
import torch
from matching_cases import CHANNELS, IN_CHANNELS, assert_same, by_loops, matching_of, sides, value_and_gradients

from igcl_lightning.errors import IgclError
from igcl_lightning.nn.encoded import Encoded, UnitRelations
from igcl_lightning.nn.importance_relations import CONVEX, POOLINGS, ImportanceRelationOptions
from igcl_lightning.nn.matching import GROUP, LocalMatching, MatchingOptions
from igcl_lightning.nn.matching_vector import FORMS
from igcl_lightning.nn.region_attention import ATTENTIONS
from igcl_lightning.nn.semantic_relations import UPDATES, SemanticRelationOptions

MANY = tuple(1 + 5 * place % 7 for place in range(2 * GROUP + 3))
"""Lengths of reports that fill more than two groups."""

KINDS = [
    {},
    {"attention": "gloria", "irm": {"pooling": "logsumexp"}},
    {"attention": "scan", "form": "sqdiff", "irm": {"pooling": "saf"}},
    {"form": "hadamard", "srm": {"steps": 2, "global_node": True}, "irm": {"pooling": "product", "clip": True}},
    {"form": "sqdiff", "srm": {"steps": 1, "update": "sgraf"}, "irm": {"pooling": "attention", "detach": False}},
    {"form": "hadamard", "srm": {"steps": 1, "update": "transformer"}, "irm": {"pooling": "max"}},
]
"""Every attention, form, update, and most poolings, once."""


def named(kind):
    parts = [value for option in kind.values() for value in (option.values() if isinstance(option, dict) else [option])]
    return "-".join(map(str, parts)) or "default"


every_kind = pytest.mark.parametrize("kind", KINDS, ids=named)


def combinations():
    for attention, form, pooling in product(ATTENTIONS, FORMS, POOLINGS):
        yield {"attention": attention, "form": form, "irm": {"pooling": pooling}}
        for update in UPDATES if form != "cosine" else ():
            yield {"attention": attention, "form": form, "srm": {"steps": 1, "update": update}} | {
                "irm": {"pooling": pooling}
            }
    for update in UPDATES:
        yield {"form": "sqdiff", "srm": {"steps": 2, "update": update, "global_node": True}}
        yield {"form": "sqdiff", "srm": {"steps": 2, "update": update, "relation_bias": False}}
    for pooling in ("attention", "product"):
        yield {"irm": {"pooling": pooling, "clip": True, "temperature": 0.5, "detach": False}}
        yield {"irm": {"pooling": pooling, "temperature": 2.0, "detach": False}}
    yield {"irm": {"pooling": "logsumexp", "sharpness": 2.0}}


@pytest.mark.parametrize("kind", list(combinations()), ids=named)
def test_value_and_gradient_are_those_of_a_loop_over_pairs(kind):
    module = matching_of(**kind)
    regions, units = sides(sizes=(3, 1, 4), images=2)
    found = value_and_gradients(module, module.score, regions, units)
    assert_same(found, value_and_gradients(module, by_loops(module), regions, units), atol=1e-6, rtol=1e-6)


@every_kind
def test_reports_in_groups_score_as_they_do_alone(kind):
    module = matching_of(**kind, chunk=2)
    regions, units = sides(MANY, images=3)
    units = holes(units)
    alone = [module.score(regions, units._make(value[j : j + 1] for value in units)) for j in range(len(MANY))]
    torch.testing.assert_close(module.score(regions, units), torch.cat(alone, 1))


def holes(units):
    """The same units with padding before and between them, as where words and entities are both units."""
    width = units.mask.shape[1]
    place = torch.arange(width) * 2 + 1

    def spread(value, *dims):
        for dim in dims:
            shape = list(value.shape)
            shape[dim] = 2 * width + 1
            value = value.new_zeros(shape).index_copy(dim, place, value)
        return value

    return units._replace(
        feature=spread(units.feature, 1),
        mask=spread(units.mask, 1),
        importance=spread(units.importance, 1),
        relation=spread(units.relation, 1, 2),
    )


@every_kind
def test_padding_between_units_changes_nothing(kind):
    module = matching_of(**kind)
    regions, units = sides()
    torch.testing.assert_close(module.score(regions, holes(units)), module.score(regions, units))
    torch.testing.assert_close(module.aligned(regions, holes(units)), module.aligned(regions, units))


@every_kind
@pytest.mark.parametrize("function", ["score", "aligned"])
def test_garbage_in_padding_changes_nothing(kind, function):
    module = matching_of(**kind)
    regions, units = sides()
    both = units.mask[..., None] & units.mask[:, None]
    garbage = units._replace(
        feature=units.feature.where(units.mask[..., None], 1e300),
        importance=units.importance.where(units.mask, -1e300),
        relation=units.relation.where(both, torch.tensor(-77, dtype=torch.int8)),
    )
    clean = value_and_gradients(module, getattr(module, function), regions, units)
    assert_same(value_and_gradients(module, getattr(module, function), regions, garbage), clean, atol=0, rtol=0)
    feature_gradient = value_and_gradients(module, getattr(module, function), regions, garbage)[1][2]
    assert feature_gradient[~units.mask].eq(0).all()


@every_kind
def test_the_order_of_units_changes_nothing(kind):
    module = matching_of(**kind)
    regions, units = sides()
    order = torch.tensor([3, 5, 0, 4, 1, 2])
    shuffled = units._replace(
        feature=units.feature[:, order],
        mask=units.mask[:, order],
        importance=units.importance[:, order],
        relation=units.relation[:, order][:, :, order],
    )
    torch.testing.assert_close(module.score(regions, shuffled), module.score(regions, units))
    explained, expected = module.explain(regions, shuffled), module.explain(regions, units)
    for found, wanted in zip(explained, expected, strict=True):
        torch.testing.assert_close(found, wanted[:, order])


@every_kind
def test_aligned_is_the_diagonal_of_score(kind):
    module = matching_of(**kind)
    aligned = value_and_gradients(module, module.aligned, *sides())
    diagonal = value_and_gradients(module, lambda first, second: module.score(first, second).diagonal(), *sides())
    assert_same(aligned, diagonal)


@every_kind
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("chunk", [1, 3, 9])
def test_chunks_and_recomputing_change_nothing(kind, chunk, recompute):
    whole = matching_of(**kind, chunk=100)
    parts = matching_of(**kind, chunk=chunk, recompute=recompute)
    regions, units = sides(MANY, images=4)
    expected = value_and_gradients(whole, whole.score, regions, units)
    assert_same(value_and_gradients(parts, parts.score, regions, units), expected)


def test_recomputing_keeps_less_for_the_backward_pass():
    def kept(recompute):
        sizes = []
        module = matching_of(form="hadamard", srm={"steps": 1}, recompute=recompute)
        with torch.autograd.graph.saved_tensors_hooks(lambda value: sizes.append(value.numel()), lambda _: None):
            module.score(*sides(MANY, images=20))
        return sum(sizes)

    assert kept(recompute=True) < kept(recompute=False) / 10


@pytest.mark.parametrize("pooling", [*CONVEX, "max"])
@pytest.mark.parametrize("form", FORMS)
def test_explained_scores_times_weights_are_the_score(form, pooling):
    module = matching_of(form=form, srm={"steps": 0 if form == "cosine" else 2}, irm={"pooling": pooling})
    regions, units = sides()
    explained = module.explain(regions, units)
    torch.testing.assert_close((explained.after * explained.weight).sum(1), module.aligned(regions, units))
    torch.testing.assert_close(explained.weight.sum(1), torch.ones(4, dtype=torch.double))
    torch.testing.assert_close(explained.attention.sum(2), units.mask.double())
    for value in explained:
        assert value[~units.mask].eq(0).all()


@pytest.mark.parametrize("pooling", ["logsumexp", "logmeanexp"])
def test_the_weight_of_other_poolings_is_their_derivative(pooling):
    module = matching_of(irm={"pooling": pooling})
    _, units = sides()
    score = torch.randn(3, 4, 6, dtype=torch.double, requires_grad=True)
    arguments = score, score[..., None], units.mask[None], units.importance[None]
    module.importance(*arguments).sum().backward()
    torch.testing.assert_close(module.importance.weight(*arguments).detach(), score.grad)


def test_explained_scores_before_relations_are_those_of_a_module_without():
    module = matching_of(form="hadamard", srm={"steps": 2})
    regions, units = sides()
    before, after = module.explain(regions, units)[1:3]
    module.relations.steps = module.relations.steps[:0]
    torch.testing.assert_close(module.explain(regions, units).after, before)
    assert (before - after).abs().max() > 0.1


@every_kind
def test_mixed_precision_scores_in_single_precision(kind):
    module = matching_of(**kind).float()
    regions, units = sides()
    regions = regions._make(value.float() for value in regions)
    units = units._replace(feature=units.feature.float(), importance=units.importance.float())
    units = units._replace(pooled=units.pooled.float())
    expected = module.score(regions, units)
    with torch.autocast("cpu", torch.bfloat16):
        found = module.score(regions, units)
        aligned = module.aligned(regions, units)
    torch.testing.assert_close(found, expected, atol=0, rtol=0)
    torch.testing.assert_close(aligned, expected.diagonal())


def encoded_pair(relation=None, grid=(2, 3)):
    torch.manual_seed(0)
    image = Encoded.of_patches(torch.randn(3, 9), torch.randn(3, 6, 7), grid, "last")
    mask = torch.arange(4) < torch.tensor([4, 1, 2])[:, None]
    report = Encoded(torch.randn(3, 10), torch.randn(3, 4, 8) * mask[..., None], mask, mask / mask.sum(1)[:, None])
    return image, report._replace(relation=relation)


@every_kind
def test_mixed_precision_from_encodings_on_stays_near_single_precision(kind):
    module = matching_of(**kind).float()
    image, report = encoded_pair()
    expected = module.score(module.regions(image), module.units(report))
    with torch.autocast("cpu", torch.bfloat16):
        found = module.score(module.regions(image), module.units(report))
    assert found.dtype == torch.float32
    found.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())
    torch.testing.assert_close(found, expected, atol=0.15, rtol=0.05)


@every_kind
@pytest.mark.parametrize("relation", [None, UnitRelations(torch.tensor([[0, 1, 8], [1, 2, 9]]), torch.arange(3))])
def test_every_parameter_gets_a_gradient(kind, relation):
    # Distributed training waits for the gradients of all parameters.
    module = matching_of(**kind).float()
    image, report = encoded_pair(relation)
    module.score(module.regions(image), module.units(report)).sum().backward()
    assert [name for name, parameter in module.named_parameters() if parameter.grad is None] == []


def test_regions_and_units_are_unit_vectors_and_padding_is_zero():
    module = matching_of(form="hadamard", srm={"steps": 1, "global_node": True}).float()
    image, report = encoded_pair()
    regions, units = module.regions(image), module.units(report)
    for value in (regions.feature, regions.pooled, units.feature[units.mask], units.pooled):
        torch.testing.assert_close(value.norm(dim=-1), torch.ones(value.shape[:-1]))
        assert value.shape[-1] == CHANNELS
    assert units.feature[~units.mask].eq(0).all()
    assert units.mask is report.mask


def test_relations_are_read_only_where_they_have_a_bias():
    relation = UnitRelations(torch.tensor([[0], [1]]), torch.tensor([2]))
    _, report = encoded_pair(relation)
    steps = {"form": "sqdiff", "srm": {"steps": 1}}
    assert matching_of(**steps).float().units(report).relation[0, 1, 0] == 3
    assert matching_of(**steps).float().units(encoded_pair()[1]).relation is None
    assert matching_of().float().units(report).relation is None
    steps["srm"]["relation_bias"] = False
    assert matching_of(**steps).float().units(report).relation is None


@pytest.mark.parametrize("form", FORMS[1:])
def test_training_starts_from_the_mean_cosine(form):
    regions, units = sides()
    expected = matching_of(attention_temperature=0.1).score(regions, units)
    options = MatchingOptions(channels=CHANNELS, form=form)
    srm, irm = SemanticRelationOptions(steps=1), ImportanceRelationOptions("saf")
    found = LocalMatching(**IN_CHANNELS, matching=options, srm=srm, irm=irm).double().score(regions, units)
    torch.testing.assert_close(found, expected)


def gloria_local_loss(region, unit, sizes):
    """Local loss of GLoRIA (Huang et al. 2021, eq. 4-8 and the authors' temperatures 4, 5 and 10) in plain loops."""
    batch, temp1, temp2, temp3 = len(sizes), 4.0, 5.0, 10.0
    similarity = torch.zeros(batch, batch, dtype=torch.double)
    for j, size in enumerate(sizes):
        words = unit[j, :size]
        for i in range(batch):
            product = region[i] @ words.T
            over_words = product.exp() / product.exp().sum(1, keepdim=True)
            scaled = (temp1 * over_words).exp()
            weight = scaled / scaled.sum(0)
            total = 0.0
            for t in range(size):
                context = sum(weight[m, t] * region[i, m] for m in range(len(region[i])))
                cosine = context @ words[t] / (context.norm() * words[t].norm())
                total = total + (temp2 * cosine).exp()
            similarity[i, j] = temp3 * total.log()
    losses = [-row[i] + row.exp().sum().log() for i, row in enumerate(similarity)]
    losses += [-column[j] + column.exp().sum().log() for j, column in enumerate(similarity.T)]
    return similarity, sum(losses[:batch]) / batch, sum(losses[batch:]) / batch


def test_gloria_is_its_published_formula():
    module = matching_of(
        attention="gloria", attention_temperature=1 / 4, irm={"pooling": "logsumexp", "sharpness": 5.0}
    )
    regions, units = sides()
    similarity, image_to_text, text_to_image = gloria_local_loss(regions.feature, units.feature, (4, 1, 6, 3))
    # The loss divides by its temperature: log sum exp is over 5 in the score, and times 10 in the paper's.
    logits = module.score(regions, units) / 0.02
    torch.testing.assert_close(logits, similarity, atol=1e-5, rtol=1e-5)
    own = torch.arange(4)
    torch.testing.assert_close(torch.nn.functional.cross_entropy(logits, own), image_to_text, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(torch.nn.functional.cross_entropy(logits.T, own), text_to_image, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_only_the_sum_of_gloria_grows_with_the_length_of_a_report(pooling):
    torch.manual_seed(0)
    module = matching_of(attention="gloria", attention_temperature=1 / 4, channels=256, irm={"pooling": pooling})
    regions, units = sides((5, 90) * 4, images=16)
    region = torch.nn.functional.normalize(torch.randn(16, 20, 256, dtype=torch.double), dim=-1)
    unit = torch.nn.functional.normalize(torch.randn(8, 90, 256, dtype=torch.double), dim=-1)
    logits = module.score(regions._replace(feature=region), units._replace(feature=unit)) / 0.02
    growth = (logits[:, 1::2] - logits[:, ::2]).mean()
    if pooling == "logsumexp":
        assert growth == pytest.approx(10 * math.log(90 / 5), abs=1.0)  # 28.9
    elif pooling in (*CONVEX, "logmeanexp"):
        assert abs(growth) < 1.0


@pytest.mark.parametrize(
    ("matching", "srm", "irm", "message"),
    [
        ({"attention": "plan"}, {}, {}, "model.matching.attention 'plan' is not one of plain, gloria, scan, did you"),
        ({"form": "sqdif"}, {}, {}, "model.matching.form 'sqdif' is not one of cosine, .* did you mean sqdiff"),
        ({"score": "locals"}, {}, {}, "model.matching.score 'locals' is not one of global, .* did you mean local"),
        ({"temperature": 0}, {}, {}, "model.matching.temperature is 0, not above 0"),
        ({"attention_temperature": -1}, {}, {}, "model.matching.attention_temperature is -1, not above 0"),
        ({"chunk": 0}, {}, {}, "model.matching.chunk is 0, not at least 1"),
        ({"channels": 0}, {}, {}, "model.matching.channels is 0, not at least 1"),
        ({"form_channels": 0}, {}, {}, "model.matching.form_channels is 0, not at least 1"),
        ({}, {"steps": 2}, {}, "model.srm.steps is 2, but model.matching.form cosine gives no vectors .* set"),
        ({"form": "sqdiff"}, {"steps": -1}, {}, "model.srm.steps is -1, not at least 0"),
        ({"form": "sqdiff"}, {"global_node": True}, {}, "model.srm.global_node .* model.srm.steps is 0: set it to 1"),
        ({"form": "sqdiff"}, {"update": "transform"}, {}, "model.srm.update 'transform' .* did you mean transformer"),
        ({}, {}, {"pooling": "means"}, "model.irm.pooling 'means' is not one of mean, .* did you mean mean"),
        ({}, {}, {"temperature": 0}, "model.irm.temperature is 0, not above 0"),
        ({}, {}, {"sharpness": 0}, "model.irm.sharpness is 0, not above 0"),
    ],
)
def test_wrong_options_are_one_line(matching, srm, irm, message):
    with pytest.raises(IgclError, match=message) as error:
        matching_of(srm, irm, **matching)
    assert "\n" not in str(error.value)


def test_an_encoder_without_regions_is_one_line():
    image, _ = encoded_pair(grid=None)
    with pytest.raises(
        IgclError, match="gives no grid of regions .* model.image.backbone .* model.matching.weight to 0"
    ):
        matching_of().float().regions(image)
