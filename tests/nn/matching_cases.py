"""Local matching written down as loops over pairs, units and regions, and inputs for it, in double precision."""

import torch
import torch.nn.functional as F

from igcl_lightning.graphs.schema import NUM_EDGE_TYPES
from igcl_lightning.nn.importance_relations import ImportanceRelationOptions
from igcl_lightning.nn.local_units import Regions, Units
from igcl_lightning.nn.matching import LocalMatching, MatchingOptions
from igcl_lightning.nn.semantic_relations import UPDATES, SemanticRelationOptions

SIZES = (4, 1, 6, 3)
IMAGES, REGIONS, CHANNELS = len(SIZES), 6, 5
FORM_CHANNELS = 4
IN_CHANNELS = {"region_channels": 7, "unit_channels": 8, "pooled_channels": (9, 10)}
RELATIONS = 1 + 2 * NUM_EDGE_TYPES


def matching_of(srm=None, irm=None, **matching):
    """A module whose weights are all random, and therefore all matter; groups of options as dictionaries."""
    torch.manual_seed(1)
    matching = {"channels": CHANNELS, "form_channels": FORM_CHANNELS, "attention_temperature": 0.3, **matching}
    module = LocalMatching(
        **IN_CHANNELS,
        matching=MatchingOptions(**matching),
        srm=SemanticRelationOptions(**srm or {}),
        irm=ImportanceRelationOptions(**irm or {}),
    ).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return module


def random_unit_vectors(*shape):
    return F.normalize(torch.randn(*shape, dtype=torch.double), dim=-1)


def sides(sizes=SIZES, images=IMAGES, seed=0):
    """Regions and units whose padding is zero."""
    torch.manual_seed(seed)
    mask = torch.arange(max(sizes)) < torch.tensor(sizes)[:, None]
    importance = torch.rand(mask.shape, dtype=torch.double) * mask
    units = Units(
        random_unit_vectors(*mask.shape, CHANNELS) * mask[..., None],
        mask,
        importance / importance.sum(1, keepdim=True),
        (torch.randint(0, RELATIONS, (*mask.shape, mask.shape[1])) * mask[:, None] * mask[..., None]).to(torch.int8),
        random_unit_vectors(len(sizes), CHANNELS),
    )
    return Regions(random_unit_vectors(images, REGIONS, CHANNELS), random_unit_vectors(images, CHANNELS)), units


def leaves(regions, units):
    """The same with gradients, and the tensors that have them."""
    values = (*regions, units.feature, units.importance, units.pooled)
    tensors = [value.detach().clone().requires_grad_() for value in values]
    units = units._replace(feature=tensors[2], importance=tensors[3], pooled=tensors[4])
    return Regions(*tensors[:2]), units, tensors


def softmax(values):
    highest = max(value.item() for value in values)
    exponentials = [(value - highest).exp() for value in values]
    return [value / sum(exponentials) for value in exponentials]


def attention_by_loops(module, regions, units):
    """Weights [unit][region] of one pair without padding."""
    kind, temperature = module.options.attention, module.options.attention_temperature
    value = [[unit @ region for region in regions] for unit in units]
    if kind == "gloria":
        columns = [softmax([row[m] for row in value]) for m in range(len(regions))]
        value = [[columns[m][t] for m in range(len(regions))] for t in range(len(units))]
    elif kind == "scan":
        value = [[x if x > 0 else 0.1 * x for x in row] for row in value]
        norm = [sum(row[m] ** 2 for row in value) ** 0.5 + 1e-8 for m in range(len(regions))]
        value = [[row[m] / norm[m] for m in range(len(regions))] for row in value]
    else:
        assert kind == "plain", "write the new attention down here as loops"
    return [softmax([x / temperature for x in row]) for row in value]


def vector_by_loops(layer, form, first, second):
    x = (first - second) ** 2 if form == "sqdiff" else first * second
    y = layer.linear.weight @ x + layer.linear.bias
    return y / (y @ y).sqrt() * len(y) ** 0.5


def normed(vector, layer=None):
    centred = vector - vector.mean()
    scaled = centred / ((centred**2).mean() + 1e-5).sqrt()
    return scaled if layer is None else scaled * layer.weight + layer.bias


def linear(layer, vector):
    return layer.weight @ vector + (0 if layer.bias is None else layer.bias)


def step_by_loops(step, update, vectors, relation):
    inner = vectors if update == "sgraf" else [normed(vector, step.norm) for vector in vectors]
    attention = step.attention
    result = []
    for t, vector in enumerate(vectors):
        query = linear(attention.query, inner[t])
        logits = [query @ linear(attention.key, other) / len(vector) ** 0.5 for other in inner]
        if attention.relation is not None:
            logits = [logit + attention.relation[int(relation[t][h])] for h, logit in enumerate(logits)]
        weights = softmax(logits)
        if update == "transformer":
            spread = sum(weight * linear(step.value, other) for weight, other in zip(weights, inner, strict=True))
            middle = vector + linear(step.out, spread)
            norm, wide, _, narrow = step.feedforward
            result.append(middle + linear(narrow, F.gelu(linear(wide, normed(middle, norm)))))
        else:
            spread = sum(weight * other for weight, other in zip(weights, inner, strict=True))
            moved = linear(step.value, spread).clamp(min=0)
            result.append(moved if update == "sgraf" else vector + moved)
    return result


def importance_by_loops(options, importance):
    importance = importance.detach() if options.detach else importance
    if options.clip:
        low, high = torch.quantile(importance, torch.tensor([0.1, 0.9], dtype=torch.double))
        importance = importance.clamp(low, high)
    return [value ** (1 / options.temperature) for value in importance]


def pooled_by_loops(module, score, matching, importance):
    options = module.importance.options
    kind, sharpness = options.pooling, options.sharpness
    if kind == "max":
        return max(score)
    if kind in ("logsumexp", "logmeanexp"):
        total = sum((sharpness * value).exp() for value in score)
        return (total if kind == "logsumexp" else total / len(score)).log() / sharpness
    weights = [torch.ones((), dtype=torch.double)] * len(score)
    if kind in ("attention", "product"):
        weights = importance_by_loops(options, importance)
    if kind in ("saf", "product"):
        gates = [torch.sigmoid(linear(module.importance.gate, vector)[0]) for vector in matching]
        weights = [weight * gate for weight, gate in zip(weights, gates, strict=True)]
    return sum(weight * value for weight, value in zip(weights, score, strict=True)) / sum(weights)


def pair_by_loops(module, regions, units, i, j):
    """Score of image i and report j, written from the formulas, for one pair without padding."""
    form, size = module.options.form, int(units.mask[j].sum())
    region, unit = regions.feature[i], units.feature[j, :size]
    attended = []
    for weights in attention_by_loops(module, region, unit):
        mean = sum(weight * value for weight, value in zip(weights, region, strict=True))
        attended.append(mean / (mean @ mean).sqrt())
    score = [context @ value for context, value in zip(attended, unit, strict=True)]
    matching = [value[None] for value in score]
    if form != "cosine":
        vectors = [vector_by_loops(module.vector, form, c, t) for c, t in zip(attended, unit, strict=True)]
        relation = units.relation[j, :size, :size].tolist()
        if module.global_node is not None:
            vectors = [
                vector_by_loops(module.global_node.vector, form, regions.pooled[i], units.pooled[j]),
                *vectors,
            ]
            relation = [[0] * (size + 1), *([0, *row] for row in relation)]
        for step in module.relations.steps:
            update = {kind: name for name, kind in UPDATES.items()}[type(step)]
            vectors = step_by_loops(step, update, vectors, relation)
        matching = [normed(vector) for vector in vectors[len(vectors) - size :]]
        score = [value + linear(module.read, vector)[0] for value, vector in zip(score, matching, strict=True)]
    return pooled_by_loops(module, score, matching, units.importance[j, :size])


def value_and_gradients(module, function, regions, units):
    """A function of both sides, and the gradients of a random projection of it in inputs and parameters."""
    regions, units, tensors = leaves(regions, units)
    for parameter in module.parameters():
        parameter.grad = None
    value = function(regions, units)
    torch.manual_seed(5)
    (value * torch.randn(value.shape, dtype=value.dtype)).sum().backward()
    return value.detach(), [tensor.grad for tensor in (*tensors, *module.parameters())]


def assert_same(first, second, **tolerance):
    """Compare values and gradients; no gradient counts as zero."""
    torch.testing.assert_close(first[0], second[0], **tolerance)
    for one, other in zip(first[1], second[1], strict=True):
        if one is None or other is None:
            assert all(gradient is None or gradient.abs().max() < 1e-9 for gradient in (one, other))
        else:
            torch.testing.assert_close(one, other, **tolerance)


def by_loops(module):
    return lambda regions, units: torch.stack(
        [
            torch.stack([pair_by_loops(module, regions, units, i, j) for j in range(len(units.mask))])
            for i in range(len(regions.feature))
        ]
    )
