"""Decoders of masks: equal to segmentation-models-pytorch, on any encoder, with errors in one line."""

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn

from igcl_lightning.errors import IgclError
from igcl_lightning.nn.encoded import Encoded
from igcl_lightning.nn.external_encoder import ExternalOptions, create_image_encoder
from igcl_lightning.nn.image_encoder import ImageEncoder, ImageOptions
from igcl_lightning.nn.segmentation import (
    DecoderOptions,
    ProgressiveUpsampling,
    UNetDecoder,
    create_decoder,
    freeze_unread,
    scales,
)


def image(side=64):
    return torch.randint(0, 256, (2, 1, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def encoder(name="test_byobnet", size=64):
    torch.manual_seed(0)
    return ImageEncoder(ImageOptions(backbone=name, size=size)).eval()


class NoGrid(nn.Module):
    """An encoder of one vector."""

    def forward(self, values):
        return Encoded.of_patches(values.flatten(1).float(), values.flatten(1)[:, None].float(), None, "last")


def test_a_unet_equals_that_of_segmentation_models_pytorch():
    ours = encoder("resnet10t")
    decoder = UNetDecoder(ours, 2).eval()
    theirs = smp.Unet("tu-resnet10t", encoder_weights=None, in_channels=1, classes=2).eval()
    theirs.encoder.model.load_state_dict(ours.backbone.state_dict(), strict=False)
    theirs.decoder.load_state_dict(decoder.blocks.state_dict())
    theirs.segmentation_head[0].load_state_dict(decoder.head.state_dict())
    with torch.no_grad():
        expected = theirs(ours.preprocess(image()))
        assert torch.allclose(decoder(decoder.features(ours, image())), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "size", "kind"),
    [
        ("test_byobnet", 64, UNetDecoder),
        ("test_byobnet", 72, UNetDecoder),  # no multiple of 32
        ("test_convnext", 64, UNetDecoder),  # no map at half the image
        ("test_vit", 64, ProgressiveUpsampling),
    ],
)
def test_masks_have_the_size_that_the_encoder_sees(name, size, kind):
    ours = encoder(name, size)
    decoder = create_decoder(ours, 3, DecoderOptions()).eval()
    assert type(decoder) is kind
    with torch.no_grad():
        logits = decoder(decoder.features(ours, image(80)))
        assert logits.shape == (2, 3, size, size)
        alone = decoder(decoder.features(ours, image(80)[1:]))
    assert torch.allclose(logits[1:], alone, atol=1e-4)


def test_progressive_upsampling_equals_its_steps():
    ours = encoder("test_vit")
    decoder = ProgressiveUpsampling(ours, 1, [8, 4]).eval()
    tokens = ours.backbone.forward_features(ours.preprocess(image()))[:, 1:]
    side = 64 // 16
    grid = torch.stack([tokens[:, row * side : (row + 1) * side] for row in range(side)], dim=1).permute(0, 3, 1, 2)
    enlarge = nn.Upsample(scale_factor=2, mode="bilinear")
    expected = decoder.head(enlarge(decoder.blocks[1](enlarge(decoder.blocks[0](grid)))))
    assert torch.allclose(decoder(decoder.features(ours, image())), expected, atol=1e-6)


def test_an_encoder_of_another_library_gets_progressive_upsampling():
    ours = create_image_encoder(ExternalOptions("xrv:resnet50-res512-all", size=64))
    assert not scales(ours)
    decoder = create_decoder(ours, 1, DecoderOptions(channels=[8])).eval()
    with torch.no_grad():
        assert decoder(decoder.features(ours.eval(), image())).shape == (2, 1, 4, 4)


def test_weights_that_no_map_depends_on_are_frozen():
    ours = encoder("test_efficientnet")
    decoder = create_decoder(ours, 1, DecoderOptions())
    for training in (True, False):
        freeze_unread(ours.train(training), decoder)
        assert all(part.training is training for part in ours.modules())
    frozen = {name for name, weight in ours.named_parameters() if not weight.requires_grad}
    assert frozen == {f"backbone.{name}" for name in ("conv_head.weight", "bn2.weight", "bn2.bias")}
    decoder.train()(decoder.features(ours.train(), image())).sum().backward()
    assert all(weight.grad is not None for weight in ours.parameters() if weight.requires_grad)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("test_vit", DecoderOptions("unet"), "test_vit: no feature maps of several scales for a U-Net; use setr_pup"),
        ("test_byobnet", DecoderOptions(channels=[8, 8]), "model.decoder.channels are 2 numbers; test_byobnet needs 5"),
        ("test_byobnet", DecoderOptions("unets"), "'unets' is not one of auto, unet, setr_pup, did you mean unet?"),
        ("test_vit", DecoderOptions(channels=[]), "model.decoder.channels is empty"),
    ],
)
def test_options_that_do_not_fit(name, options, message):
    with pytest.raises(IgclError) as caught:
        create_decoder(encoder(name), 1, options)
    assert message in str(caught.value)


def test_an_encoder_without_a_feature_map_is_refused():
    with pytest.raises(IgclError, match="NoGrid: gives no feature map, so that no masks can be made of it"):
        create_decoder(NoGrid(), 1, DecoderOptions())


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "segmentation_models_pytorch.decoders.unet.decoder", None)
    with pytest.raises(IgclError, match=r"pip install 'igcl-lightning\[segmentation\]'"):
        UNetDecoder(encoder(), 1)
