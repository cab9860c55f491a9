from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from protoleak.calibration.heads import Head, KernelDensityHead, MahalanobisHead, fit_head
from protoleak.calibration.kernel import log_kernel_density
from protoleak.calibration.mixture import GaussianMixtureHead, fit_gaussian_mixture
from protoleak.calibration.scaling import Standardisation, shrink_variances
from protoleak.choices import HEAD_KINDS, HeadKind
from protoleak.errors import CalibrationError
from tests.calibration.conftest import Embedded, make_embedded

Reference = dict[str, npt.NDArray[np.float32]]
GENERATORS = ("a", "b", "c")


def _fit(kind: HeadKind, train: Embedded, validation: Embedded, seed: int = 0) -> Head:
    return fit_head(
        kind,
        train.embedding,
        train.gate,
        train.labels,
        validation.embedding,
        validation.gate,
        validation.labels,
        GENERATORS,
        seed=seed,
    )


def _published(reference: Reference, split: str) -> Embedded:
    return Embedded(
        reference[f"{split}/embedding"],
        reference[f"{split}/gate"],
        reference[f"{split}/label"],  # type: ignore[arg-type]
    )


def _forward(head: Head, reference: Reference) -> npt.NDArray[np.float64]:
    return head.scores(reference["forward/embedding"], reference["forward/gate"], reference["forward/score_lse"])


def test_the_mahalanobis_head_reproduces_the_published_scores(reference: Reference) -> None:
    head = _fit("mahalanobis", _published(reference, "train"), _published(reference, "val"))
    assert isinstance(head, MahalanobisHead)
    # The published code computes in float32; its deviations of 0.003 enlarge rounding of embeddings around 0.3.
    np.testing.assert_allclose(head.standardisation.mean, reference["maha_diag/mu"], atol=1e-6)
    np.testing.assert_allclose(head.standardisation.deviation, reference["maha_diag/std"], rtol=1e-5)
    np.testing.assert_allclose(head.means, reference["maha_diag/means"], atol=1e-5)
    np.testing.assert_allclose(head.inverse_variances, reference["maha_diag/inv_vars"], rtol=1e-5)
    np.testing.assert_allclose(_forward(head, reference), reference["maha_diag/score"], rtol=1e-5)
    validation = head.scores(reference["val/embedding"], reference["val/gate"], reference["val/proto_score"])
    np.testing.assert_allclose(validation, reference["maha_diag/score_val"], rtol=1e-5)


def test_the_mixture_scores_as_published_with_the_published_mixtures(reference: Reference) -> None:
    fitted = {name: reference[f"proto_gmm/{name}"].astype(np.float64) for name in ("mu", "std", "weights", "means")}
    head = GaussianMixtureHead(
        Standardisation(fitted["mu"], fitted["std"]),
        fitted["weights"],
        fitted["means"],
        reference["proto_gmm/vars"].astype(np.float64),
    )
    np.testing.assert_allclose(_forward(head, reference), reference["proto_gmm/score"], rtol=1e-6)


def test_the_mixture_fits_as_published_from_the_same_seed(reference: Reference) -> None:
    train, validation = _published(reference, "train"), _published(reference, "val")
    embeddings = train.embedding.astype(np.float64), train.labels, validation.embedding.astype(np.float64)
    head = fit_gaussian_mixture(*embeddings, validation.labels, classes=3, seed=1, components=(2,))
    for index in range(3):  # components have no order
        found, expected = np.argsort(head.weights[index]), np.argsort(reference["proto_gmm/weights"][index])
        np.testing.assert_allclose(
            head.weights[index][found], reference["proto_gmm/weights"][index][expected], atol=1e-6
        )
    # k-means may start elsewhere in another scikit-learn; from the same start only float32 rounding is left.
    np.testing.assert_allclose(_forward(head, reference), reference["proto_gmm/score"], rtol=1e-3)


def test_the_shrinkage_uses_the_lower_median_and_a_floor() -> None:
    shrunk = shrink_variances(np.array([[1.0, 0.0], [3.0, 0.0]]))
    np.testing.assert_allclose(shrunk, [[1.0, 1e-3], [0.95 * 3 + 0.05 * 1, 1e-3]], rtol=1e-12)


@pytest.mark.parametrize("kind", HEAD_KINDS)
def test_every_head_attributes_well_separated_generators(kind: HeadKind, train: Embedded, validation: Embedded) -> None:
    head = _fit(kind, train, validation)
    prototype_score = np.eye(3, dtype=np.float32)[validation.labels]
    scores = head.scores(validation.embedding, validation.gate, prototype_score)
    assert scores.dtype == np.float64
    assert scores.shape == (len(validation.labels), 3)
    assert (scores.argmax(axis=1) == validation.labels).mean() >= 0.95


def test_the_kernel_density_head_is_the_density_of_each_generators_training_images(
    train: Embedded, validation: Embedded
) -> None:
    order = np.random.default_rng(0).permutation(len(train.labels))
    mixed = Embedded(train.embedding[order], train.gate[order], train.labels[order])
    head = _fit("kernel_density", mixed, validation)
    assert isinstance(head, KernelDensityHead)
    points = validation.embedding.astype(np.float64)
    expected = log_kernel_density(points, train.embedding[train.labels == 1].astype(np.float64), head.bandwidth)
    scores = head.scores(validation.embedding, validation.gate, validation.embedding)
    np.testing.assert_allclose(scores[:, 1], expected, rtol=1e-12)


def test_the_tied_gaussian_differs_from_the_full_log_density_by_one_number_per_image(
    train: Embedded, validation: Embedded
) -> None:
    stats = pytest.importorskip("scipy.stats")
    ledoit_wolf = pytest.importorskip("sklearn.covariance").ledoit_wolf
    uneven = Embedded(train.embedding[:150], train.gate[:150], train.labels[:150])  # the last generator is rarer
    head = _fit("tied_gaussian", uneven, validation)
    embedding = uneven.embedding.astype(np.float64)
    means = [embedding[uneven.labels == k].mean(axis=0) for k in range(3)]
    covariance, _ = ledoit_wolf(embedding - np.array(means)[uneven.labels], assume_centered=True)
    full = np.stack(
        [
            stats.multivariate_normal(means[k], covariance).logpdf(validation.embedding)
            + np.log((uneven.labels == k).mean())
            for k in range(3)
        ],
        axis=1,
    )
    difference = full - head.scores(validation.embedding, validation.gate, validation.embedding)
    np.testing.assert_allclose(difference, difference[:, :1].repeat(3, axis=1), atol=1e-8)


def test_the_gate_weighs_only_the_mahalanobis_head(train: Embedded, validation: Embedded) -> None:
    for kind in HEAD_KINDS:
        head = _fit(kind, train, validation)
        prototype_score = np.zeros((len(validation.labels), 3))
        plain = head.scores(validation.embedding, validation.gate, prototype_score)
        gated = head.scores(validation.embedding, 0.5 * validation.gate, prototype_score)
        np.testing.assert_allclose(gated, 0.5 * plain if kind == "mahalanobis" else plain, rtol=1e-6)


def test_more_components_than_images_are_not_tried() -> None:
    head = _fit("gaussian_mixture", make_embedded(1, 3), make_embedded(2, 3))
    assert isinstance(head, GaussianMixtureHead)
    assert head.weights.shape[1] <= 3
    assert (head.weights > 0).all()


def test_few_validation_images_still_give_a_bandwidth(train: Embedded) -> None:
    head = _fit("kernel_density", train, make_embedded(2, 1))
    assert isinstance(head, KernelDensityHead)
    assert np.isfinite(head.bandwidth)


def test_bad_input_is_refused(train: Embedded, validation: Embedded) -> None:
    with pytest.raises(CalibrationError, match="no head 'svm'"):
        _fit("svm", train, validation)  # type: ignore[arg-type]
    with pytest.raises(CalibrationError, match="NaN"):
        _fit("mahalanobis", replace(train, embedding=train.embedding * np.nan), validation)
    with pytest.raises(CalibrationError, match="but c has 1"):
        _fit("tied_gaussian", Embedded(train.embedding[:121], train.gate[:121], train.labels[:121]), validation)
    with pytest.raises(CalibrationError, match="label 3 stands for no generator"):
        _fit("mahalanobis", replace(train, labels=train.labels + 1), validation)
