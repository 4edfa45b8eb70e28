"""Maps over an image of where a label is: by prompts, and by Grad-CAM of a linear probe. No region is trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from igcl_lightning.errors import IgclError
from igcl_lightning.modules.linear_probe import LinearProbe
from igcl_lightning.modules.zero_shot import ZeroShot
from igcl_lightning.nn.checks import check_choice
from igcl_lightning.nn.encoded import Encoded
from igcl_lightning.nn.image_encoder import LAST_LAYER
from igcl_lightning.nn.scoring import at_least_single

BRANCHES = ("global", "local")


class PromptMaps:
    r"""Score each region of an image by how well it fits the prompts that state a label.

    .. math:: s = \log \sum_k \exp a_k

    By the local branch, a_k is the cosine of the region and the mean of the units of prompt k, by their importance in
    its report, divided by the branch's temperature. By the global score, each patch of the final feature map is pooled
    and projected as if the whole image were like it, and a_k is the logit of its embedding and that of the prompt.

    Denials of the label take no part, other than in `ZeroShot`: they name the same finding at the same place, and to
    subtract what fits them takes that place away. The pointing game of RECLF over entities, on validation rows of
    phantoms (one seed): .24 so; .22 less the denials; .21 with regions scored one by one by the whole local branch,
    less the denials; .22 by the attention of the statements, and .24 less that of the denials, which takes a pass for
    each pair of an image and a prompt.

    Args:
        module: zero-shot classifier with labels.
        score: "global" or "local" (default: local if there is such a branch).

    Raises:
        IgclError: the model has no such score, or its image encoder gives no feature map on a grid.
    """

    def __init__(self, module: ZeroShot, score: str | None = None) -> None:
        self.pretrained: Any = module.pretrained
        has = [name for name in BRANCHES if name in self.pretrained.score_names]
        self.score = has[-1] if score is None else score
        check_choice("score", self.score, has)
        if self.score == "global":
            refuse_no_map(self.pretrained.image_encoder)
        self.label_of = module.label_of
        self.num_labels = len(module.label_names or ())
        with torch.no_grad():
            self.prompts = torch.cat([self._vectors(each) for each in module.matched_prompts("present")])

    @torch.no_grad()
    def __call__(self, image: Tensor, label: Tensor) -> Tensor:
        """Return the scores [B, R, C] of the regions of images [B, 1, H, W], each for its label, int64 [B].

        Labels are numbered as in `label_names` of the classifier.
        """
        region = self._regions(image.to(self.prompts.device))
        loss = self.pretrained.trained_losses.get("local_" if self.score == "local" else "")
        logits = torch.einsum("bdrc,pd->bprc", region, self.prompts)
        logits = logits if loss is None else logits * loss.logit_scale.exp()
        return torch.stack([logits[at, self.label_of == each].logsumexp(dim=0) for at, each in enumerate(label.cpu())])

    def _regions(self, image: Tensor) -> Tensor:
        """Return the unit vectors of the regions of images, [B, D, R, C]."""
        if self.score == "local":
            encoded = self.pretrained.encode("image", image)
            region: Tensor = self.pretrained.local.regions(encoded).feature.transpose(1, 2).unflatten(2, encoded.grid)
            return region
        encoder = self.pretrained.image_encoder
        features = encoder.last_map(image)
        pooled = encoder.pool_each(features).flatten(0, 1)
        alone = Encoded.of_patches(pooled, pooled[:, None], (1, 1), LAST_LAYER)
        grid = on_grid(encoder, features).shape[2:]
        embedding: Tensor = at_least_single(self.pretrained.project("image", alone)).unflatten(0, (len(image), *grid))
        return embedding.permute(0, 3, 1, 2)

    def _vectors(self, matched: Any) -> Tensor:
        """Return a vector [P, D] for each of the matched prompts."""
        if self.score == "global":
            return at_least_single(getattr(matched, "embedding", matched))
        share = matched.importance / matched.importance.sum(dim=1, keepdim=True)
        return torch.einsum("pl,pld->pd", share, matched.feature)


class GradCamMaps:
    """Grad-CAM of a linear probe (Selvaraju et al., ICCV 2017, equations 1 and 2), by the package grad-cam.

    The activations are those of the final feature map. Of an encoder that pools them to their mean, the map is the
    channel sum of weight x activation without its negative part: the class activation map (Zhou et al., CVPR 2016). A
    transformer that reads its class token only is asked at the first norm of its last block, whose patches the token
    still attends to. Each map is scaled to 0-1; one without a positive value is 0 throughout.

    Args:
        probe: fitted probe with an encoder; its first head is asked.

    Raises:
        IgclError: the package is not installed, or the encoder gives no feature map on a grid.
    """

    def __init__(self, probe: LinearProbe) -> None:
        model = _Probed(probe)
        target = model.encoder.cam_layer or model.last
        self.cam: Any = import_grad_cam().GradCAM(model, [target], reshape_transform=model.on_grid)
        # The package scales maps to the pixels of its input; here they stay on their grid.
        self.cam.get_target_width_height = lambda _: model.grid[::-1]

    def __call__(self, image: Tensor, label: Tensor) -> Tensor:
        """Return the maps [B, R, C] of images [B, 1, H, W], each for its label, int64 [B]."""
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        with torch.enable_grad():
            maps = self.cam(image.float().detach(), [ClassifierOutputTarget(each) for each in label.tolist()])
        return torch.from_numpy(np.asarray(maps))


class _Probed(nn.Module):
    """Images to the logits of a probe, with the final feature map as the output of a module."""

    def __init__(self, probe: LinearProbe) -> None:
        super().__init__()
        assert probe.encoder is not None
        self.encoder: Any = probe.encoder.image_encoder
        refuse_no_map(self.encoder)
        self.last = nn.Identity()
        self.weight: Tensor
        self.register_buffer("weight", probe.weight[0].detach())
        self.grid = (1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Map grey values [B, 1, H, W] to logits [B, L], without their bias."""
        whole = self.encoder.cam_layer is not None
        with torch.set_grad_enabled(whole):
            features = self.encoder.last_map(image.requires_grad_(whole))
        features = features if whole else features.detach().requires_grad_()
        pooled: Tensor = self.encoder.pool(self.last(features))
        return pooled @ self.weight.T

    def on_grid(self, features: Tensor) -> Tensor:
        """Return the patches of a map on their grid, [B, D, R, C], and note its size."""
        patch = on_grid(self.encoder, features)
        self.grid = (patch.shape[2], patch.shape[3])
        return patch


def why_no_map(encoder: Any) -> str:
    """Return why an image encoder has no map to point in, "" if it has one."""
    if not hasattr(encoder, "last_map"):
        return f"{type(encoder).__name__} has no last_map, pool and pool_each, as nn.ImageEncoder has"
    parameter = next(encoder.parameters())
    with torch.no_grad():
        features = encoder.last_map(torch.zeros(1, 1, encoder.size, encoder.size, device=parameter.device))
    return "its final feature map is not on a grid" if encoder.on_grid(features) is None else ""


def refuse_no_map(encoder: Any) -> None:
    """Raise `IgclError` if an image encoder has no map to point in."""
    if reason := why_no_map(encoder):
        raise IgclError(f"{getattr(encoder, 'name', 'the image encoder')}: {reason}, so that nothing can be localised")


def on_grid(encoder: Any, features: Tensor) -> Tensor:
    """Return the patches of a feature map, [B, D, R, C]; `IgclError` if they are not on a grid."""
    patch: Tensor | None = encoder.on_grid(features)
    if patch is None:
        raise IgclError(f"{encoder.name}: its feature map is not on a grid, so that nothing can be localised")
    return patch


def import_grad_cam() -> Any:
    """Import the package grad-cam; `IgclError` if it is not installed."""
    try:
        import pytorch_grad_cam
    except ImportError as error:
        raise IgclError("Grad-CAM needs the package grad-cam: pip install 'igcl-lightning[gradcam]'") from error
    return pytorch_grad_cam
