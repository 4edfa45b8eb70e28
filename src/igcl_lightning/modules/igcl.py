"""IGCL: image-graph contrastive learning (Khanna et al., PMLR 225, 2023)."""

from __future__ import annotations

from igcl_lightning.errors import IgclError
from igcl_lightning.losses.contrastive import ContrastiveLoss
from igcl_lightning.modules.contrastive import ContrastiveModule
from igcl_lightning.nn.graph_encoder import GraphEncoder
from igcl_lightning.nn.image_encoder import ImageEncoder
from igcl_lightning.nn.projection import ProjectionHead


class IGCL(ContrastiveModule):
    """Contrast chest X-rays with the knowledge graphs of their reports.

    Args:
        backbone: timm name of the image encoder.
        image_size: side of the square the image encoder sees, in pixels.
        image_weights: "none", "hub" or the path of a local weights file (see `ImageEncoder`).
        image_mean: grey mean on the scale 0-1.
        image_std: grey standard deviation on the scale 0-1.
        image_interpolation: "bilinear" or "bicubic".
        image_freeze_steps: see `ContrastiveModule`.
        graph_channels: width of the graph encoder.
        graph_layers: R-GCN layers.
        attention_layers: transformer layers over the nodes of a report; 0 leaves components apart.
        attention_heads: heads of each.
        readout: "max", "mean" or "attention".
        inverse_relations: also pass messages against the direction of relations.
        graph_dropout: in the transformer layers.
        graph_join: "none", "dummy", "meta" or "primary": what joins the components of a graph (see `ComponentJoin`).
        graph_node_text_channels: width of the store's node text features; 0 embeds hashed subwords instead.
        graph_fc_layers: Linear + ReLU after the readout.
        graph_attention_mask: False lets padding take part in attention, only to compare with the authors' code.
        graph_first_relation_only: keep one relation per entity, only to compare with the authors' code.
        projection_layers: layers of each projection; 1 is a bias-free linear map.
        embedding_channels: width of the space both sides share.
        temperature: initial temperature of the loss.
        targets: which pairs count as positive (see `ContrastiveLoss`).
        learning_rate: see `BaseModule`.
        weight_decay: see `BaseModule`.
        warmup_fraction: see `BaseModule`.
        schedule: see `BaseModule`.

    Raises:
        IgclError: graph_channels is no multiple of attention_heads, or temperature is not above 0.
    """

    def __init__(
        self,
        backbone: str = "resnet18",
        image_size: int = 224,
        image_weights: str = "none",
        image_mean: float = 0.449,
        image_std: float = 0.226,
        image_interpolation: str = "bilinear",
        image_freeze_steps: int = 0,
        graph_channels: int = 256,
        graph_layers: int = 2,
        attention_layers: int = 1,
        attention_heads: int = 2,
        readout: str = "max",
        inverse_relations: bool = True,
        graph_dropout: float = 0.1,
        graph_join: str = "none",
        graph_node_text_channels: int = 0,
        graph_fc_layers: int = 0,
        graph_attention_mask: bool = True,
        graph_first_relation_only: bool = False,
        projection_layers: int = 2,
        embedding_channels: int = 128,
        temperature: float = 0.07,
        targets: str = "graph",
        learning_rate: float = 1e-3,
        weight_decay: float = 0.05,
        warmup_fraction: float = 0.05,
        schedule: str = "cosine",
    ) -> None:
        super().__init__(learning_rate, weight_decay, warmup_fraction, schedule, image_freeze_steps)
        if attention_layers and graph_channels % attention_heads:
            raise IgclError(
                f"model.graph_channels {graph_channels} is no multiple of attention_heads {attention_heads}"
            )
        if temperature <= 0:
            raise IgclError(f"model.temperature is {temperature}, not above 0")
        self.save_hyperparameters()
        self.image_encoder = ImageEncoder(
            backbone, image_size, image_weights, image_mean, image_std, image_interpolation
        )
        self.graph_encoder = GraphEncoder(
            graph_channels,
            graph_layers,
            attention_layers,
            attention_heads,
            readout,
            inverse_relations,
            graph_dropout,
            graph_join,
            graph_node_text_channels,
            graph_fc_layers,
            graph_attention_mask,
            graph_first_relation_only,
        )
        self.image_projection = ProjectionHead(self.image_encoder.out_channels, embedding_channels, projection_layers)
        self.graph_projection = ProjectionHead(self.graph_encoder.out_channels, embedding_channels, projection_layers)
        self.loss = ContrastiveLoss(temperature, targets=targets)
