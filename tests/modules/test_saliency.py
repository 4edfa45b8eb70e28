"""Maps of labels: Grad-CAM against the activation map by hand, prompts against loops over regions."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

from igcl_lightning.errors import IgclError
from igcl_lightning.modules import IGCL, RECLF
from igcl_lightning.modules.linear_probe import LinearProbe
from igcl_lightning.modules.saliency import GradCamMaps, PromptMaps, refuse_no_map, why_no_map
from igcl_lightning.modules.zero_shot import ZeroShot
from igcl_lightning.nn.image_encoder import ImageEncoder, ImageOptions
from saved import save_as_fit

LABELS = ["Edema", "Cardiomegaly"]
LABEL = torch.tensor([1, 0, 1])


@pytest.fixture(scope="module")
def image():
    return torch.randint(0, 256, (3, 1, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def probe(backbone, size=64):
    torch.manual_seed(0)
    made = LinearProbe(image={"backbone": backbone, "size": size}, label_names=LABELS)
    made.weight.data.normal_()
    return made


def scaled(maps):
    """Maps without their negative part, each from 0 to 1, or 0 throughout."""
    maps = maps.clamp(min=0)
    maps = maps - maps.amin(dim=(1, 2), keepdim=True)
    return (maps / maps.amax(dim=(1, 2), keepdim=True)).nan_to_num(0)


def test_grad_cam_equals_the_activation_map_by_hand(image):
    made = probe("test_byobnet")
    found = GradCamMaps(made)(image, LABEL)
    with torch.no_grad():
        features = made.encoder.image_encoder.last_map(image)
    expected = torch.zeros(len(image), 2, 2)
    for at, label in enumerate(LABEL):
        for channel, weight in enumerate(made.weight[0, label]):
            expected[at] += weight * features[at, channel]
    torch.testing.assert_close(found, scaled(expected), atol=1e-4, rtol=1e-4)
    assert found.amax(dim=(1, 2)).tolist() == pytest.approx([1, 0, 1]), "the second has no positive value"
    assert all(not part.grad_fn and part.grad is None for part in made.encoder.parameters())


def test_grad_cam_of_a_transformer_is_that_of_the_patches_that_its_class_token_reads(image):
    made = probe("test_vit", size=160)
    encoder = made.encoder.image_encoder
    found = GradCamMaps(made)(image, LABEL)
    last, seen = encoder.backbone.blocks[-1], []
    last.norm1.register_forward_hook(lambda *args: seen.append(args[2]))
    whole = encoder.pool(encoder.last_map(image.float().requires_grad_())) @ made.weight[0].T
    (gradient,) = torch.autograd.grad(whole[torch.arange(3), LABEL].sum(), seen[0])
    patches, by_patch = (each[:, 1:].detach() for each in (seen[0], gradient))
    expected = torch.einsum("btd,bd->bt", patches, by_patch.mean(dim=1)).unflatten(1, (10, 10))
    torch.testing.assert_close(found, scaled(expected), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("backbone", ["test_byobnet", "test_convnext", "test_vit"])
def test_a_patch_is_pooled_as_an_image_that_is_like_it_throughout(backbone):
    torch.manual_seed(0)
    encoder = ImageEncoder(ImageOptions(backbone, 160)).eval()
    with torch.no_grad():
        features = encoder.last_map(torch.rand(2, 1, 160, 160) * 255)
        each = encoder.pool_each(features)
        units = encoder(torch.rand(1, 1, 160, 160)).units.shape[1]
        assert each.shape[1] == units > 1
        for patch in (0, units - 1):
            vector = encoder.on_grid(features).flatten(2)[:, :, patch]
            same = vector[:, None].expand_as(features) if features.ndim == 3 else vector[:, :, None, None]
            same = same if features.ndim == 3 else same.expand_as(features)
            torch.testing.assert_close(each[:, patch], encoder.pool(same), atol=1e-5, rtol=1e-5)


@pytest.fixture(scope="module")
def shots(tmp_path_factory, phantom_store):
    """Zero-shot classifiers of untrained models, without and with a local branch."""
    folder, image = tmp_path_factory.mktemp("models"), {"backbone": "test_byobnet", "size": 64}
    small = {"image": image, "projection": {"channels": 16}, "graph": {"channels": 16}}
    torch.manual_seed(0)
    local = {"units": "entities", "matching": {"channels": 8, "region_layer": 3, "form": "hadamard"}}
    made = {"igcl": IGCL(**small), "reclf": RECLF(**small, **local)}
    paths = {name: save_as_fit(module, folder / f"{name}.ckpt", phantom_store) for name, module in made.items()}
    return {name: ZeroShot(path, label_names=LABELS) for name, path in paths.items()}


@torch.no_grad()
def test_prompts_of_a_global_score_see_each_patch_as_an_image(shots, image):
    module = shots["igcl"]
    model = module.pretrained
    found = PromptMaps(module)(image, LABEL)
    features = model.image_encoder.last_map(image)
    prompts = torch.cat(list(module.matched_prompts("present")))
    for at, label in enumerate(LABEL.tolist()):
        own = prompts[module.label_of == label]
        for r in range(2):
            for c in range(2):
                vector = model.image_projection(features[at, :, r, c][None])[0]
                values = [float(vector @ each) * float(model.loss.logit_scale.exp()) for each in own]
                assert found[at, r, c].item() == pytest.approx(np.log(np.sum(np.exp(values))), abs=1e-4)


@torch.no_grad()
def test_prompts_of_a_local_branch_see_regions_by_their_cosines(shots, image):
    module = shots["reclf"]
    model = module.pretrained
    found = PromptMaps(module)(image, LABEL)
    assert found.shape == (3, 4, 4)
    region = model.local.regions(model.encode("image", image)).feature
    scale = float(model.local_loss.logit_scale.exp())
    prompts = [(part, row) for part in module.matched_prompts("present") for row in range(len(part.mask))]
    for at, label in enumerate(LABEL.tolist()):
        own = [prompts[each] for each in np.flatnonzero(module.label_of.numpy() == label)]
        for place in (0, 6, 15):
            values = []
            for part, row in own:
                units = [unit for unit in range(part.mask.shape[1]) if part.mask[row, unit]]
                weight = [float(part.importance[row, unit]) for unit in units]
                cosine = [float(region[at, place] @ part.feature[row, unit]) for unit in units]
                values.append(scale * np.dot(weight, cosine) / sum(weight))
            expected = np.log(np.sum(np.exp(values)))
            assert found[at, place // 4, place % 4].item() == pytest.approx(expected, abs=1e-4)


def test_a_local_model_is_asked_by_its_global_score_too(shots, image):
    assert PromptMaps(shots["reclf"], "global")(image, LABEL).shape == (3, 2, 2)
    with pytest.raises(IgclError, match="score 'local' is not one of global"):
        PromptMaps(shots["igcl"], "local")


@pytest.mark.parametrize("name", ["igcl", "reclf", "grad_cam"])
def test_a_map_depends_on_its_own_image_only(shots, image, name):
    maps = GradCamMaps(probe("test_byobnet")) if name == "grad_cam" else PromptMaps(shots[name])
    together = maps(image, LABEL)
    apart = torch.cat([maps(image[at : at + 1], LABEL[at : at + 1]) for at in range(3)])
    torch.testing.assert_close(together, apart, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(together, maps(image, 1 - LABEL), atol=1e-3)


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam", None)
    with pytest.raises(
        IgclError, match=r"Grad-CAM needs the package grad-cam: pip install 'igcl-lightning\[gradcam\]'"
    ):
        GradCamMaps(probe("test_byobnet"))


def test_an_encoder_without_a_map_is_refused():
    assert "has no last_map" in why_no_map(nn.Linear(2, 2))
    encoder = ImageEncoder(ImageOptions("test_vit", 160))
    assert why_no_map(encoder) == ""
    encoder.backbone.patch_embed.grid_size = None
    with pytest.raises(IgclError, match="test_vit: its final feature map is not on a grid, so that nothing"):
        refuse_no_map(encoder)
