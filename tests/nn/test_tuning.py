"""Which weights are trained, against lists by hand; adapters, against their formula."""

import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from igcl_lightning.errors import IgclError
from igcl_lightning.nn.image_encoder import ImageEncoder, ImageOptions
from igcl_lightning.nn.tuning import (
    LoraOptions,
    add_adapters,
    attention_layers,
    check_lora,
    last_block,
    merge_adapters,
)


def encoder(backbone, size=64):
    torch.manual_seed(0)
    return ImageEncoder(ImageOptions(backbone, size))


@pytest.mark.parametrize(
    ("backbone", "size", "tuned"),
    [
        ("test_resnet", 64, {"layer4"}),
        ("test_byobnet", 64, {"stages.3"}),
        ("test_nfnet", 64, {"stages.3", "final_conv"}),
        ("test_efficientnet", 64, {"blocks.4", "conv_head", "bn2"}),
        ("test_vit", 160, {"blocks.5", "norm"}),
        ("test_convnext", 64, {"stages.3", "head.norm"}),
        ("densenet121", 64, {"features.denseblock4", "features.norm5"}),
    ],
)
def test_the_last_block_and_what_follows_it(backbone, size, tuned):
    model = encoder(backbone, size)
    found = {id(part) for name in last_block(model) for part in model.get_submodule(name).parameters()}
    expected = {
        id(part)
        for name, part in model.backbone.named_parameters()
        if any(name.startswith(f"{block}.") for block in tuned)
    }
    assert found == expected
    assert all(any(name.startswith(f"{block}.") for name, _ in model.backbone.named_parameters()) for block in tuned)


def test_a_backbone_that_names_no_blocks_is_one_line():
    model = encoder("test_resnet")
    model.backbone.feature_info = []
    with pytest.raises(IgclError, match="last_block: test_resnet does not say what its blocks are; use full"):
        last_block(model)


def adapted(options):
    """A ViT with adapters whose B is not zero."""
    model = encoder("test_vit", 160).eval()
    names = add_adapters(model, options)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight, std=0.3)
    return model, names


def test_an_adapted_layer_is_the_formula():
    model, _ = adapted(LoraOptions(rank=3, alpha=5))
    layer = model.backbone.blocks[2].attn.qkv
    x = torch.randn(2, 4, layer.in_features)
    weight, bias = layer.base_layer.weight.detach().numpy(), layer.base_layer.bias.detach().numpy()
    a, b = (part["default"].weight.detach().numpy() for part in (layer.lora_A, layer.lora_B))
    assert a.shape[0] == b.shape[1] == 3
    by_hand = np.empty((2, 4, len(bias)))
    for sample in range(2):
        for token in range(4):
            value = x[sample, token].numpy()
            by_hand[sample, token] = weight @ value + bias + 5 / 3 * b @ (a @ value)
    np.testing.assert_allclose(layer(x).detach(), by_hand, atol=1e-5)


def test_adapters_are_those_of_attention_start_at_nothing_and_merge_into_the_weights():
    plain, (model, names) = encoder("test_vit", 160).eval(), adapted(LoraOptions(rank=2, alpha=4))
    layers = {name.rpartition(".")[0] for name in names}
    assert layers == {f"backbone.blocks.{block}.attn.{layer}" for block in range(6) for layer in ("qkv", "proj")}
    image = torch.randint(0, 256, (2, 1, 160, 160), dtype=torch.uint8)
    with torch.no_grad():
        before, tuned = plain(image).pooled, model(image).pooled
        add_adapters(plain, LoraOptions())
        assert torch.equal(plain(image).pooled, before)
        keys = set(encoder("test_vit", 160).state_dict())
        merge_adapters(model)
        assert set(model.state_dict()) == keys
        assert not torch.allclose(before, tuned, atol=0.1)
        torch.testing.assert_close(model(image).pooled, tuned, atol=1e-4, rtol=1e-4)
        add_adapters(model, LoraOptions())  # such a plain encoder takes new ones
        torch.testing.assert_close(model(image).pooled, tuned, atol=1e-4, rtol=1e-4)


class Attention(nn.Module):
    """Reads one weight and calls the other layer, as attention of timm's Swin V2 does."""

    def __init__(self):
        super().__init__()
        self.qkv, self.proj, self.mlp = nn.Linear(4, 4), nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4))

    def forward(self, x):
        return self.mlp(self.proj(F.linear(x, self.qkv.weight)))


class Toy(nn.Module):
    name, size = "toy", 2

    def __init__(self):
        super().__init__()
        self.attn, self.head = Attention(), nn.Linear(4, 4)

    def forward(self, image):
        return self.head(self.attn(image.flatten(1)))


def test_layers_that_are_not_called_get_no_adapter():
    toy = Toy()
    toy.head.eval()
    assert attention_layers(toy) == ["attn.proj"]
    assert toy.training
    assert not toy.head.training
    assert not any(part._forward_hooks for part in toy.modules())


@pytest.mark.parametrize(
    ("tune", "options", "message"),
    [
        ("lora", LoraOptions(rank=0), "model.lora.rank is 0, not at least 1"),
        ("lora", LoraOptions(alpha=0), "model.lora.alpha is 0, not above 0"),
        ("lora", LoraOptions(dropout=1.0), "model.lora.dropout is 1.0, not at least 0 and below 1"),
        ("last_block", LoraOptions(rank=4), "model.lora is of model.tune lora, not of last_block: leave it out"),
    ],
)
def test_wrong_options_are_one_line(tune, options, message):
    with pytest.raises(IgclError, match=message):
        check_lora(tune, options)


def test_a_network_without_attention_and_a_missing_package_are_one_line(monkeypatch):
    with pytest.raises(IgclError, match="model.tune lora: test_resnet has no linear layers of attention; use full or"):
        add_adapters(encoder("test_resnet"), LoraOptions())
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(IgclError) as error:
        add_adapters(encoder("test_vit", 160), LoraOptions())
    assert str(error.value) == "model.tune lora needs peft: pip install 'igcl-lightning[lora]'"
