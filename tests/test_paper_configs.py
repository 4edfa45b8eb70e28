"""The models of `igcl_paper.yaml` and `igcl_authors.yaml` at full width, with random weights, fact by fact."""

import numpy as np
import pytest
import torch
import yaml
from torch_geometric.data import Batch, Data
from torch_geometric.nn import RGCNConv

from igcl_lightning.data.preparing.options import Options
from igcl_lightning.data.row_datasets import PairDataset
from igcl_lightning.data.store import Store
from igcl_lightning.data.study import Study, StudyImage
from igcl_lightning.graphs.schema import NUM_EDGE_TYPES
from igcl_lightning.modules import IGCL
from igcl_lightning.nn.image_encoder import ImageEncoder, ImageOptions
from igcl_lightning.training.options import shipped_configs
from stores import prepare_studies

CONFIGS = ("igcl_paper", "igcl_authors")
pytestmark = pytest.mark.long


def arguments(name):
    return yaml.safe_load((shipped_configs() / "pretrain" / f"{name}.yaml").read_text())["model"]["init_args"]


@pytest.fixture(scope="module", params=CONFIGS)
def model(request):
    torch.manual_seed(0)
    given = arguments(request.param)
    given["image"]["weights"] = "none"
    return IGCL(**given).eval()


@pytest.fixture(scope="module")
def graphs():
    """Two report graphs with stored node text; the second has two components and no connectors yet."""
    generator = torch.Generator().manual_seed(0)
    edges = torch.tensor([[0, 2, 3], [1, 1, 1]]), torch.tensor([[0], [1]])
    return Batch.from_data_list(
        [
            Data(
                x=torch.zeros(size, 4, dtype=torch.int64),
                node_text=torch.randn(size, 768, generator=generator),
                node_type=torch.randint(0, 4, (size,), generator=generator),
                edge_index=edge_index,
                edge_type=torch.randint(0, 3, (edge_index.shape[1],), generator=generator),
                num_nodes=size,
            )
            for size, edge_index in zip((4, 4), edges, strict=True)
        ]
    )


def size(*modules):
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def test_parts_have_the_sizes_of_the_authors_model(model):
    graph = model.graph_encoder
    assert (graph.nodes.out_channels, size(graph.nodes)) == (772, 0)
    assert [tuple(conv.weight.shape) for conv in graph.convs] == [(4, 772, 512), (4, 512, 512)]
    millions = {
        "rgcn": size(*graph.convs),
        "attention": size(*graph.attention),
        "fc": size(graph.fc),
        "projection": size(model.graph_projection),
    }
    assert {name: round(value / 1e6, 3) for name, value in millions.items()} == {
        "rgcn": 3.288,
        "attention": 2.103,
        "fc": 0.525,
        "projection": 0.393,
    }


def test_both_projections_are_one_linear_map_without_bias(model):
    for head, in_channels in ((model.image_projection, 768), (model.graph_projection, 512)):
        ((name, weight),) = head.named_parameters()
        assert (name, tuple(weight.shape)) == ("0.weight", (768, in_channels))
        assert weight.std().item() * in_channels**0.5 == pytest.approx(1, abs=0.01)


def test_the_graph_encoder_starts_as_two_rgcn_layers_with_relu(model, graphs):
    encoder = model.graph_encoder
    joined = encoder.transform(graphs)
    x = encoder.nodes(joined)
    seen = []
    hooks = [layer.register_forward_pre_hook(lambda _, args: seen.append(args[0])) for layer in encoder.attention]
    encoder(graphs)
    hooks[0].remove()
    for conv in encoder.convs:
        reference = RGCNConv(conv.weight.shape[1], 512, num_relations=NUM_EDGE_TYPES)
        with torch.no_grad():
            for name in ("weight", "root", "bias"):
                getattr(reference, name).copy_(getattr(conv, name))
        x = reference(x, joined.edge_index, joined.edge_type).relu()
    (got,) = seen
    if got.dim() == 3:  # without a mask, attention reads padding
        got = torch.cat([got[row, :nodes] for row, nodes in enumerate(joined.ptr.diff())])
    torch.testing.assert_close(got, x, rtol=1e-4, atol=1e-4)


def test_attention_is_one_post_norm_layer_of_two_heads(model):
    """One report's nodes by the equations: heads, scaled products, residual and norm, ReLU network, residual, norm."""
    (layer,) = model.graph_encoder.attention
    assert {module.p for module in layer.modules() if isinstance(module, torch.nn.Dropout)} == {0.1}
    assert layer.self_attn.dropout == 0.1
    x = torch.randn(5, 512, generator=torch.Generator().manual_seed(1))
    attention = layer.self_attn
    query, key, value = (x @ attention.in_proj_weight.T + attention.in_proj_bias).chunk(3, dim=1)
    heads = []
    for head in range(2):
        own = slice(256 * head, 256 * (head + 1))
        share = (query[:, own] @ key[:, own].T / 256**0.5).softmax(dim=1)
        heads.append(share @ value[:, own])
    attended = torch.cat(heads, dim=1) @ attention.out_proj.weight.T + attention.out_proj.bias
    middle = torch.nn.functional.layer_norm(x + attended, (512,), layer.norm1.weight, layer.norm1.bias)
    hidden = (middle @ layer.linear1.weight.T + layer.linear1.bias).relu()
    assert hidden.shape[1] == 1024
    last = middle + hidden @ layer.linear2.weight.T + layer.linear2.bias
    expected = torch.nn.functional.layer_norm(last, (512,), layer.norm2.weight, layer.norm2.bias)
    torch.testing.assert_close(layer(x[None])[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("model", ["igcl_paper"], indirect=True)  # the other names the same network
def test_the_image_encoder_is_the_one_of_clip_in_transformers(model):
    transformers = pytest.importorskip("transformers", reason="the extra `text` is not installed")
    config = transformers.CLIPVisionConfig(
        hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, patch_size=32
    )
    reference = transformers.CLIPVisionModel(config).eval()
    reference.load_state_dict(clip_weights(model.image_encoder.backbone, reference.state_dict()))
    image = torch.randint(0, 256, (1, 1, 320, 320), generator=torch.Generator().manual_seed(0))
    pixels = model.image_encoder.preprocess(image).expand(-1, 3, -1, -1)
    with torch.no_grad():
        expected = reference(pixel_values=pixels).pooler_output
        torch.testing.assert_close(model.image_encoder(image).pooled, expected, rtol=1e-3, atol=1e-4)


def clip_weights(backbone, names):
    """Weights of a timm vision transformer under the names of `CLIPVisionModel`; its filters are split over RGB."""
    ours = backbone.state_dict()
    prefix = "vision_model." if any(name.startswith("vision_model.") for name in names) else ""
    theirs = {
        "embeddings.class_embedding": ours["cls_token"][0, 0],
        "embeddings.patch_embedding.weight": ours["patch_embed.proj.weight"].expand(-1, 3, -1, -1) / 3,
        "embeddings.position_embedding.weight": ours["pos_embed"][0],
    }
    parts = {"pre_layrnorm": "norm_pre", "post_layernorm": "norm"}
    for block in range(12):
        there, here = f"encoder.layers.{block}", f"blocks.{block}"
        parts |= {f"{there}.layer_norm{n}": f"{here}.norm{n}" for n in (1, 2)}
        parts |= {f"{there}.mlp.fc{n}": f"{here}.mlp.fc{n}" for n in (1, 2)}
        parts |= {f"{there}.self_attn.out_proj": f"{here}.attn.proj"}
        for kind in ("weight", "bias"):
            chunks = ours[f"{here}.attn.qkv.{kind}"].chunk(3)
            theirs |= {
                f"{there}.self_attn.{name}_proj.{kind}": chunk for name, chunk in zip("qkv", chunks, strict=True)
            }
    theirs |= {
        f"{there}.{kind}": ours[f"{here}.{kind}"] for there, here in parts.items() for kind in ("weight", "bias")
    }
    return {prefix + name: value for name, value in theirs.items()}


def test_images_are_normalised_as_by_the_authors(model):
    grey = torch.full((1, 1, 224, 224), 200.0)
    expected = (200 - 101.48761) / 83.43944
    torch.testing.assert_close(model.image_encoder.preprocess(grey), torch.full_like(grey, expected), rtol=1e-5, atol=0)


def test_every_weight_of_the_image_encoder_is_trained(model):
    assert all(parameter.requires_grad for parameter in model.image_encoder.parameters())


def test_the_temperature_starts_at_007_and_is_learned(model):
    assert model.loss.logit_scale.exp().item() == pytest.approx(1 / 0.07)
    assert model.loss.logit_scale.requires_grad
    assert model.loss.targets == "identity"


def test_clips_larger_transformer_from_scratch_can_be_named():
    with torch.device("meta"):
        backbone = ImageEncoder(ImageOptions("vit_base_patch16_clip_quickgelu_224", 320)).backbone
    assert (len(backbone.blocks), backbone.num_features, backbone.blocks[0].attn.num_heads) == (12, 768, 12)
    assert backbone.pos_embed.shape[1] == 1 + (320 // 16) ** 2
    assert type(backbone.blocks[0].mlp.act).__name__ == "QuickGELU"


def test_each_image_of_a_study_is_a_pair_with_its_graph(tmp_path):
    views = tuple(StudyImage(f"image-{n}", np.full((20, 20), 60 * n, np.uint8), view) for n, view in enumerate("AB"))
    studies = [
        Study("study", "patient", views, {"findings": "Small right pleural effusion."}, split="train"),
        Study("other", "person", (StudyImage("image-9", np.zeros((20, 20), np.uint8)),), {}, split="train"),
    ]
    prepare_studies(studies, tmp_path / "store", options=Options(size=16))
    first, second, other = PairDataset(Store(tmp_path / "store"), "train")
    assert first.row != second.row
    assert (first.study, first.graph_key) == (second.study, second.graph_key)
    assert torch.equal(first.graph.edge_index, second.graph.edge_index)
    assert first.graph.num_nodes > other.graph.num_nodes == 0


def test_parity_switches_are_on_in_one_config_only():
    for path in sorted((shipped_configs() / "pretrain").glob("*.yaml")):
        text = path.read_text()
        switched = " attention_mask: false" in text or " first_relation_only: true" in text
        assert switched == (path.stem == "igcl_authors"), path
