"""Batches that are encoded in pieces: the loss and the gradients are those of the whole batch."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch_geometric.data import Batch

from igcl_lightning.data.modules import PairedDataModule
from igcl_lightning.data.row_datasets import PairDataset
from igcl_lightning.data.store import Store
from igcl_lightning.data.twins import TwinDraw
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.batching import graphs_between
from igcl_lightning.graphs.featurizer import featurize
from igcl_lightning.graphs.schema import ReportGraph
from igcl_lightning.modules import IGCL, RECLF, ConVIRT, GLoRIA, SimCLR
from igcl_lightning.modules.pieces import pieces
from igcl_lightning.modules.report_side import sample_sentences
from igcl_lightning.nn.encoded import Encoded

ROWS = 11
IMAGE = {"backbone": "test_convnext", "size": 32}
NORMED = {"backbone": "test_resnet", "size": 32}
GRAPH = {"channels": 16, "dropout": 0.0}
TEXT = {"channels": 16, "dropout": 0.0}


@pytest.fixture(scope="module")
def batch(phantom_store):
    pairs = PairDataset(Store(phantom_store), "train", draw=TwinDraw(("side",), 0))
    found = pairs.batch(range(ROWS))
    graphs = found.graph.to_data_list()
    graphs[ROWS // 2] = featurize([ReportGraph((), ())]).to_data_list()[0]
    return found._replace(graph=Batch.from_data_list(graphs))


def double(batch):
    return batch._replace(image=batch.image.double())


def cut(module, size):
    """The module as a data module with `micro_batch` trains it."""
    module._trainer = SimpleNamespace(datamodule=SimpleNamespace(micro_batch=size))
    return module


def gradients(module, batch):
    module.zero_grad()
    torch.manual_seed(1)
    loss, embedding = module.contrast_batch(batch)
    loss.backward()
    return loss.detach(), embedding, {name: value.grad.clone() for name, value in module.named_parameters()}


def agree(found, expected, **close):
    torch.testing.assert_close(found[0], expected[0], **close)
    for name, grad in expected[2].items():
        torch.testing.assert_close(found[2][name], grad, msg=lambda text, name=name: f"{name}: {text}", **close)


METHODS = {
    **{
        f"infonce, {targets}": (IGCL, {"graph": GRAPH, "loss": {"targets": targets}})
        for targets in ("identity", "study", "graph", "soft")
    },
    **{
        f"siglip, {targets}": (IGCL, {"graph": GRAPH, "loss": {"kind": "siglip", "targets": targets}})
        for targets in ("identity", "soft")
    },
    "words": (ConVIRT, {"text": TEXT}),
    "views": (SimCLR, {}),
    "regions and words": (GLoRIA, {"text": TEXT}),
    "regions and entities": (IGCL, {"graph": GRAPH, "matching": {"weight": 1.0, "channels": 8}}),
    "counterfactuals": (IGCL, {"graph": GRAPH, "counterfactual": {"kinds": ["side"], "weight": 1.0}}),
    "reasoning": (RECLF, {"text": TEXT, "srm": {"steps": 1}, "counterfactual": {"kinds": ["side"]}}),
}


@pytest.mark.parametrize("size", [1, 4, 10])
@pytest.mark.parametrize("name", METHODS)
def test_loss_and_gradients_are_those_of_the_whole_batch(name, size, batch):
    kind, options = METHODS[name]
    torch.manual_seed(0)
    module = kind(image=IMAGE, **options).double()
    expected = gradients(module, double(batch))
    found = gradients(cut(module, size), double(batch))
    agree(found, expected, atol=1e-12, rtol=1e-9)
    for name in ("first", "second", "pooled"):
        torch.testing.assert_close(getattr(found[1], name), getattr(expected[1], name), atol=1e-12, rtol=1e-9)


class OneByOne(IGCL):
    """Encodes pieces one after the other, and keeps all their activations."""

    def encode_and_project(self, side, inputs):
        done = []
        for piece in pieces(inputs, 4):
            encoded = self.encode(side, piece)
            done.append((encoded, self.project(side, encoded)))
        return Encoded.joined([encoded for encoded, _ in done]), torch.cat([projected for _, projected in done])


def test_dropout_and_batch_norm_are_those_of_the_pieces(batch):
    """Both encodings of a piece draw the same, and running statistics see each piece once."""
    options = {"image": NORMED, "graph": GRAPH | {"dropout": 0.3}}
    torch.manual_seed(0)
    expected, found = OneByOne(**options).double(), cut(IGCL(**options).double(), 4)
    found.load_state_dict(expected.state_dict())
    before = {name: value.clone() for name, value in found.named_buffers()}
    results = [gradients(module, double(batch)) for module in (found, expected)]
    agree(*results, atol=1e-12, rtol=1e-9)
    moved = 0
    for name, value in expected.named_buffers():
        torch.testing.assert_close(dict(found.named_buffers())[name], value, atol=1e-12, rtol=1e-9)
        moved += not torch.equal(value, before[name])
    norms = [each for each in expected.modules() if isinstance(each, nn.BatchNorm2d)]
    assert moved >= 3 * len(norms) > 0
    assert {int(norm.num_batches_tracked) for norm in norms} == {3}


def test_random_numbers_after_a_step_are_those_of_the_direct_way(batch):
    options = {"image": IMAGE, "graph": GRAPH | {"dropout": 0.3}}
    drawn = []
    for module in (OneByOne(**options), cut(IGCL(**options), 4)):
        gradients(module, batch)
        drawn.append(torch.rand(3))
    assert torch.equal(*drawn)


def test_a_frozen_norm_stays_as_it_is(batch):
    module = cut(IGCL(image=NORMED, graph=GRAPH), 4)
    module.image_encoder.eval()
    before = {name: value.clone() for name, value in module.named_buffers()}
    gradients(module, batch)
    for name, value in module.named_buffers():
        assert torch.equal(value, before[name]), name


def saved_bytes(module, batch):
    """Bytes that the forward pass of a step keeps for the backward pass."""
    kept = {}

    def pack(value):
        kept[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        module.contrast_batch(batch)[0].backward()
    weights = {value.untyped_storage().data_ptr() for value in module.parameters()}
    return sum(size for place, size in kept.items() if place not in weights)


def test_little_is_kept_between_the_passes(batch):
    module = IGCL(image=NORMED, graph=GRAPH)
    whole = saved_bytes(module, batch)
    assert saved_bytes(cut(module, 4), batch) < 0.1 * whole


def test_units_are_kept_only_where_they_are_read(batch):
    for kind, options, units in (
        (IGCL, {"graph": GRAPH}, 0),
        (IGCL, {"graph": GRAPH, "matching": {"weight": 1.0}}, 1),
        (SimCLR, {}, 0),
        (GLoRIA, {"text": TEXT}, 1),
    ):
        module = cut(kind(image=IMAGE, **options), 4)
        for encoded in module._embed(batch)[:2]:
            assert len(encoded.mask) == ROWS
            assert min(encoded.mask.shape[1], 1) == units


def test_what_is_joined_is_what_is_encoded_at_once(batch):
    """Units, relations and shares of the readout, with reports of different lengths in each piece."""
    module = IGCL(image=IMAGE, graph=GRAPH).eval()
    for side, inputs in (("image", batch.image), ("graph", batch.graph)):
        whole = module.encode(side, inputs)
        joined = Encoded.joined([module.encode(side, piece) for piece in pieces(inputs, 3)])
        for name in ("pooled", "units", "mask", "importance"):
            torch.testing.assert_close(getattr(joined, name), getattr(whole, name), atol=1e-6, rtol=1e-5)
        assert (joined.grid, joined.layer) == (whole.grid, whole.layer)
        if side == "graph":
            relations = [
                sorted(zip(*each.relation.edge_index.tolist(), each.relation.edge_type.tolist(), strict=True))
                for each in (joined, whole)
            ]
            assert relations[0] == relations[1] != []


@pytest.mark.parametrize("field", ["graph", "report"])
def test_graphs_between_are_those_of_the_list(field, batch):
    """PyG's own separation of the batch is the reference, its collation that of the parts."""
    graphs = getattr(batch, field)
    listed = graphs.to_data_list()
    for start, end in ((0, ROWS), (0, 4), (3, 4), (7, ROWS)):
        part = graphs_between(graphs, start, end)
        expected = type(graphs).from_data_list(listed[start:end])
        assert part.num_graphs == end - start
        assert part.num_nodes == expected.num_nodes
        assert {*part.keys()} == {*expected.keys()}
        for name in list(expected.keys()):
            if isinstance(expected[name], torch.Tensor):
                assert torch.equal(part[name], expected[name]), name
        for one, other in zip(part.to_data_list(), listed[start:end], strict=True):
            assert one.num_nodes == other.num_nodes
            for name in list(other.keys()):
                if isinstance(other[name], torch.Tensor):
                    assert torch.equal(one[name], other[name]), name


@pytest.mark.parametrize(
    ("rows", "size", "sizes"), [(11, 4, [3, 4, 4]), (11, 5, [3, 4, 4]), (4, 4, [4]), (3, 1, [1] * 3)]
)
def test_pieces_have_nearly_one_size(rows, size, sizes):
    found = list(pieces(torch.arange(rows), size))
    assert sorted(map(len, found)) == sizes
    assert torch.cat(found).tolist() == list(range(rows))


def test_reports_of_drawn_sentences_are_cut_too(batch):
    drawn = sample_sentences(batch.report)
    parts = [graphs_between(drawn, start, start + 1) for start in range(ROWS)]
    assert torch.equal(torch.cat([part.x for part in parts]), drawn.x)
    assert [len(part.x) for part in parts] == drawn.ptr.diff().tolist()
    assert [len(part.x) for part in parts] != batch.report.ptr.diff().tolist()


def test_inputs_that_cannot_be_cut_are_named():
    with pytest.raises(IgclError, match=r"data\.micro_batch cannot cut inputs of type dict"):
        next(pieces({"a": 1}, 2))


@pytest.mark.parametrize("size", [0, -1, 9])
def test_a_size_out_of_range_is_named(size, phantom_store):
    with pytest.raises(IgclError, match=rf"data\.micro_batch is {size}, not from 1 to data\.batch_size, 8"):
        PairedDataModule(str(phantom_store), batch_size=8, micro_batch=size)
