"""GLoRIA: global and local contrastive learning of images and words (Huang et al., ICCV 2021)."""

from __future__ import annotations

from igcl_lightning.losses.contrastive import ContrastiveOptions
from igcl_lightning.modules.contrastive import PretrainOptimOptions
from igcl_lightning.modules.matching import MatchingModule
from igcl_lightning.modules.report_side import ReportOptions, ReportSide, text_encoder
from igcl_lightning.nn.image_encoder import ImageEncoder, ImageOptions
from igcl_lightning.nn.importance_relations import ImportanceRelationOptions
from igcl_lightning.nn.matching import MatchingOptions
from igcl_lightning.nn.projection import ProjectionHead, ProjectionOptions


class GLoRIA(ReportSide, MatchingModule):
    """Contrast chest X-rays with the words of their reports, as wholes and by attention of words to image regions.

    The attention and the matching are those of the paper. Three things differ from the authors' code: words are pooled
    by log-mean-exp, since their log-sum-exp grows with the length of a report (`irm.pooling: logsumexp` is theirs);
    training and evaluation score alike; and padding takes no part.

    Args:
        image: image encoder and preprocessing.
        text: text encoder; in training it reads one sentence of each report.
        projection: projection of each side into the shared space.
        matching: local matching of image regions and words; the default temperature is 1 / (10 * 5), the two
            factors around the logarithm in the paper's local score.
        irm: pooling of the words' matchings.
        loss: contrastive loss of both branches.
        optim: optimiser and learning-rate schedule.

    Raises:
        IgclError: an option is out of range, or a backbone or its weights are unavailable.
    """

    sides: tuple[str, str] = ("image", "report")

    def __init__(
        self,
        image: ImageOptions = ImageOptions(),
        text: ReportOptions = ReportOptions(readout="mean"),
        projection: ProjectionOptions = ProjectionOptions(layers=1),
        matching: MatchingOptions = MatchingOptions(
            attention="gloria", attention_temperature=0.25, position=False, temperature=0.02
        ),
        irm: ImportanceRelationOptions = ImportanceRelationOptions(pooling="logmeanexp"),
        loss: ContrastiveOptions = ContrastiveOptions(0.1, "identity", learn_temperature=False),
        optim: PretrainOptimOptions = PretrainOptimOptions(),
    ) -> None:
        super().__init__(optim)
        self.save_hyperparameters()
        self.text = self.group("text", text)
        projection, matching = self.group("projection", projection), self.group("matching", matching)
        self.image_encoder = ImageEncoder(self.group("image", image), matching.region_layer)
        self.report_encoder = text_encoder(self.text)
        self.image_projection = ProjectionHead(self.image_encoder.out_channels, projection)
        self.report_projection = ProjectionHead(self.report_encoder.out_channels, projection)
        self.set_branches(self.group("loss", loss), matching, irm=self.group("irm", irm))
