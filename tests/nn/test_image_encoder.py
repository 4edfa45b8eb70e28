import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from igcl_lightning.errors import IgclError
from igcl_lightning.nn.image_encoder import ImageEncoder, ImageOptions


@pytest.mark.parametrize(("name", "size", "units"), [("test_resnet", 64, 4), ("test_vit", 160, 100)])
def test_units_and_pooled_of_a_cnn_and_a_transformer(name, size, units):
    encoder = ImageEncoder(ImageOptions(name, size)).eval()
    encoded = encoder(torch.randint(0, 256, (2, 1, 80, 70), dtype=torch.uint8))
    assert encoded.pooled.shape == (2, encoder.out_channels)
    assert encoded.units.shape == (2, units, encoder.out_channels)
    assert encoded.mask.all()
    torch.testing.assert_close(encoded.importance.sum(dim=1), torch.ones(2))


def test_a_cnn_pools_its_patches_by_mean():
    encoded = ImageEncoder(ImageOptions("test_resnet", 64)).eval()(
        torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8)
    )
    torch.testing.assert_close(encoded.pooled, encoded.units.mean(dim=1))


@pytest.mark.parametrize(
    ("name", "size", "grid"),
    [
        ("test_resnet", 96, (3, 3)),
        ("test_vit", 160, (10, 10)),
        ("test_efficientnet", 96, (3, 3)),
        ("swin_tiny_patch4_window7_224", 224, (7, 7)),
    ],
)
def test_units_lie_on_a_grid_row_by_row(name, size, grid):
    """A bright corner moves the unit of that corner most: channels first, channels last and tokens alike."""
    torch.manual_seed(0)
    encoder = ImageEncoder(ImageOptions(name, size)).eval()
    plain = torch.full((1, 1, size, size), 100.0)
    side = size // grid[0]
    with torch.no_grad():
        encoded = encoder(plain)
        assert (encoded.grid, encoded.layer) == (grid, "last")
        assert encoded.units.shape == (1, grid[0] * grid[1], encoder.unit_channels)
        if name.startswith("test_resnet"):
            return  # its patches see the whole image
        corner = plain.clone()
        corner[..., :side, -side:] = 255
        change = (encoder(corner).units - encoded.units).norm(dim=-1)
    assert int(change.argmax()) == grid[1] - 1


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet"])
def test_units_come_from_the_feature_map_that_is_asked_for(name):
    size = 64 if name != "test_vit" else 160
    torch.manual_seed(0)
    whole = ImageEncoder(ImageOptions(name, size)).eval()
    image = torch.randint(0, 256, (2, 1, size, size), dtype=torch.uint8)
    for layer in (-2, 1):
        torch.manual_seed(0)
        encoder = ImageEncoder(ImageOptions(name, size), unit_layer=layer).eval()
        encoded = encoder(image)
        seen = {}
        module = encoder.backbone.get_submodule(encoded.layer)
        handle = module.register_forward_hook(lambda part, inputs, output, seen=seen: seen.update(output=output))
        encoder(image)
        handle.remove()
        patches = seen["output"]
        patches = patches[:, encoder.backbone.num_prefix_tokens :] if patches.ndim == 3 else patches.flatten(2).mT
        torch.testing.assert_close(encoded.units, patches)
        assert encoded.units.shape == (2, encoded.grid[0] * encoded.grid[1], encoder.unit_channels)
        torch.testing.assert_close(encoded.pooled, whole(image).pooled)


def test_an_earlier_feature_map_of_a_backbone_with_channels_last_is_read_row_by_row():
    encoder = ImageEncoder(ImageOptions("swin_tiny_patch4_window7_224", 224), unit_layer=1).eval()
    seen = []
    encoder.backbone.get_submodule(encoder.layer).register_forward_hook(lambda part, given, output: seen.append(output))
    with torch.no_grad():
        encoded = encoder(torch.randint(0, 256, (2, 1, 224, 224), dtype=torch.uint8))
    assert encoded.grid == (28, 28)
    assert encoded.units.shape == (2, 28 * 28, encoder.unit_channels)
    torch.testing.assert_close(encoded.units, seen[0].flatten(1, 2))


def test_a_feature_map_that_there_is_not_is_named():
    with pytest.raises(IgclError, match="test_resnet: no feature map 7; it has 0 act1, 1 layer1, 2 layer2"):
        ImageEncoder(ImageOptions("test_resnet", 32), unit_layer=7)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_preprocessing_is_resize_then_normalise(interpolation):
    pixels = np.random.default_rng(0).integers(0, 256, (50, 50), dtype=np.uint8)
    encoder = ImageEncoder(ImageOptions("test_resnet", 32, mean=0.4, std=0.3, interpolation=interpolation))
    got = encoder.preprocess(torch.from_numpy(pixels)[None, None])[0, 0]
    resample = Image.Resampling[interpolation.upper()]
    resized = np.asarray(Image.fromarray(pixels.astype(np.float32)).resize((32, 32), resample))
    torch.testing.assert_close(got, torch.from_numpy((resized / 255 - 0.4) / 0.3), atol=1e-3, rtol=0)


def test_normalising_before_resizing_is_the_same():
    image = torch.randint(0, 256, (1, 1, 80, 80)).float()
    encoder = ImageEncoder(ImageOptions("test_resnet", 32, mean=0.4, std=0.3, interpolation="bicubic"))
    plain = ImageEncoder(ImageOptions("test_resnet", 32, mean=0.0, std=1 / 255, interpolation="bicubic"))
    torch.testing.assert_close(encoder.preprocess(image), plain.preprocess((image / 255 - 0.4) / 0.3))


@pytest.mark.parametrize(("name", "size"), [("test_resnet", 32), ("test_vit", 160)])
def test_one_channel_gives_what_three_equal_channels_give(name, size, tmp_path):
    torch.manual_seed(0)
    coloured = timm.create_model(name, num_classes=0).eval()
    save_file({key: value.contiguous() for key, value in coloured.state_dict().items()}, tmp_path / "rgb.safetensors")
    encoder = ImageEncoder(ImageOptions(name, size, weights=str(tmp_path / "rgb.safetensors"))).eval()
    image = torch.randint(0, 256, (2, 1, size, size), dtype=torch.uint8)
    expected = coloured(encoder.preprocess(image).expand(-1, 3, -1, -1))
    torch.testing.assert_close(encoder(image).pooled, expected, rtol=1e-4, atol=1e-5)


def test_unknown_interpolation_is_named():
    with pytest.raises(IgclError, match="model.image.interpolation 'lanczos' is not one of bilinear, bicubic"):
        ImageEncoder(ImageOptions("test_resnet", 32, interpolation="lanczos"))


def test_how_images_are_resized_shows_in_the_name_of_cached_features():
    assert repr(ImageEncoder(ImageOptions("test_resnet", 32))) != repr(
        ImageEncoder(ImageOptions("test_resnet", 32, interpolation="bicubic"))
    )


def test_uint8_and_float_images_are_the_same():
    encoder = ImageEncoder(ImageOptions("test_resnet", 32)).eval()
    image = torch.randint(0, 256, (1, 1, 32, 32), dtype=torch.uint8)
    torch.testing.assert_close(encoder(image).pooled, encoder(image.float()).pooled)


def test_local_weights_are_loaded(tmp_path):
    source = ImageEncoder(ImageOptions("test_resnet", 32))
    save_file(
        {name: value.contiguous() for name, value in source.backbone.state_dict().items()},
        tmp_path / "weights.safetensors",
    )
    loaded = ImageEncoder(ImageOptions("test_resnet", 32, weights=str(tmp_path / "weights.safetensors")))
    for name, value in source.backbone.state_dict().items():
        torch.testing.assert_close(loaded.backbone.state_dict()[name], value)


def test_hub_asks_timm_for_its_pretrained_weights(monkeypatch):
    asked = {}
    create = timm.create_model

    def record(name, pretrained=False, **options):
        asked[name] = pretrained
        return create(name, **options)

    monkeypatch.setattr(timm, "create_model", record)
    ImageEncoder(ImageOptions("test_resnet", 32, weights="hub"))
    assert asked == {"test_resnet": True}
    ImageEncoder(ImageOptions("test_resnet", 32))
    assert asked == {"test_resnet": False}


def test_unknown_backbone_is_named_with_neighbours():
    with pytest.raises(IgclError, match=r"timm has no model 'resnet18x'") as error:
        ImageEncoder(ImageOptions("resnet18x"))
    assert "\n" not in str(error.value)
    with pytest.raises(IgclError, match="did you mean"):
        ImageEncoder(ImageOptions("esnet18"))


def test_missing_weights_file_is_named():
    with pytest.raises(IgclError, match=r'"nowhere.pt"|nowhere.pt.*no such file'):
        ImageEncoder(ImageOptions("test_resnet", 32, weights="nowhere.pt"))


def test_unreachable_hub_is_one_line(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def refuse(*args, **options):
        raise OSError("no network\nand more lines")

    monkeypatch.setattr("timm.create_model", refuse)
    with pytest.raises(IgclError, match="weights 'hub' for test_resnet could not be loaded: no network$"):
        ImageEncoder(ImageOptions("test_resnet", 32, weights="hub"))


def test_the_default_normalisation_is_that_of_imagenet_in_grey():
    options = ImageOptions()
    assert options.mean == pytest.approx(np.mean(timm.data.IMAGENET_DEFAULT_MEAN), abs=5e-4)
    assert options.std == pytest.approx(np.mean(timm.data.IMAGENET_DEFAULT_STD), abs=5e-4)
