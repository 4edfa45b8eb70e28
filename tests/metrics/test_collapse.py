import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from igcl_lightning.metrics.collapse import alignment, embedding_std, rankme, uniformity


def unit_vectors(count, channels, seed=0):
    return normalize(torch.randn(count, channels, generator=torch.Generator().manual_seed(seed)), dim=1)


@pytest.mark.parametrize(("count", "channels"), [(40, 8), (5, 12), (1, 3)])
def test_rankme_is_the_exponential_of_an_entropy(count, channels):
    embeddings = unit_vectors(count, channels)
    # Singular values the long way: roots of the eigenvalues of the Gram matrix.
    gram = embeddings.double().numpy() @ embeddings.double().numpy().T
    singular = np.sqrt(np.clip(np.linalg.eigvalsh(gram), 0, None))
    share = singular[singular > 1e-6] / singular.sum()
    assert float(rankme(embeddings)) == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-4)


def test_rankme_counts_directions():
    assert float(rankme(torch.eye(6))) == pytest.approx(6, rel=1e-4)
    assert float(rankme(torch.eye(6)[:, [0, 0, 0, 1, 1, 1]])) == pytest.approx(2, rel=1e-4)
    assert float(rankme(unit_vectors(1, 16).repeat(50, 1))) == pytest.approx(1, abs=1e-3)
    assert float(rankme(torch.zeros(4, 3))) == pytest.approx(1, abs=1e-4)


def test_std_is_one_on_the_sphere_and_zero_at_a_point():
    assert float(embedding_std(unit_vectors(20_000, 32))) == pytest.approx(1, abs=0.01)
    assert float(embedding_std(unit_vectors(1, 32).repeat(9, 1))) == pytest.approx(0, abs=1e-6)
    embeddings = unit_vectors(30, 5)
    expected = np.mean([np.std(channel) for channel in embeddings.numpy().T]) * np.sqrt(5)
    assert float(embedding_std(embeddings)) == pytest.approx(expected, rel=1e-5)


def test_alignment_and_uniformity_equal_their_loops():
    first, second = unit_vectors(12, 6), unit_vectors(12, 6, seed=1)
    distances = [float(((a - b) ** 2).sum()) for a, b in zip(first, second, strict=True)]
    assert float(alignment(first, second)) == pytest.approx(np.mean(distances), rel=1e-5)
    kernel = [np.exp(-2 * float(((first[i] - first[j]) ** 2).sum())) for i in range(12) for j in range(i)]
    assert float(uniformity(first)) == pytest.approx(np.log(np.mean(kernel)), rel=1e-4)
    assert float(uniformity(first[:1].repeat(4, 1))) == pytest.approx(0, abs=1e-5)


def test_a_diverged_model_has_no_rank():
    embeddings = unit_vectors(8, 4)
    embeddings[3, 2] = torch.nan
    assert rankme(embeddings).isnan()
    assert embedding_std(embeddings).isnan()
    assert uniformity(embeddings).isnan()


def test_half_precision_is_taken_as_it_comes():
    embeddings = unit_vectors(64, 16)
    assert float(rankme(embeddings.bfloat16())) == pytest.approx(float(rankme(embeddings)), rel=0.02)
