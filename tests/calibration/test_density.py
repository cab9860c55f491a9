from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from protoleak.calibration import kernel
from protoleak.calibration.density import DensityModel, fit_density
from protoleak.calibration.kernel import choose_bandwidth, folds, log_kernel_density
from protoleak.errors import CalibrationError
from tests.calibration.conftest import Embedded, make_embedded


def _fit(train: Embedded, validation: Embedded, **options: object) -> DensityModel:
    return fit_density(
        train.embedding,
        train.gate,
        train.labels,
        validation.embedding,
        validation.gate,
        **options,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("bandwidth", ["0.1", "0.4", "1.0"])
def test_the_gated_density_equals_the_exact_reference(
    reference: dict[str, npt.NDArray[np.float32]], bandwidth: str
) -> None:
    fitted = fit_density(
        reference["train/embedding"],
        reference["train/gate"],
        reference["train/label"],  # type: ignore[arg-type]
        reference["val/embedding"],
        reference["val/gate"],
        space="gated",
    )
    found = replace(fitted, bandwidth=float(bandwidth)).log_density(
        reference["forward/embedding"], reference["forward/gate"]
    )
    np.testing.assert_allclose(found, reference[f"kde/log_density_bw{bandwidth}"], rtol=0, atol=1e-9)


def test_the_log_density_equals_the_formula_written_out(train: Embedded, validation: Embedded) -> None:
    model = _fit(train, validation)
    vectors = model.vector(validation.embedding[:3], validation.gate[:3])
    for vector, found in zip(vectors, model.log_density(validation.embedding[:3], validation.gate[:3]), strict=True):
        kernels = [
            np.exp(-np.square(vector - each).sum() / (2 * model.bandwidth**2))
            / (2 * np.pi * model.bandwidth**2) ** (len(vector) / 2)
            for each in model.references
        ]
        assert found == pytest.approx(np.log(np.mean(kernels)), abs=1e-9)


def test_the_density_integrates_to_one() -> None:
    references = np.array([[0.0], [1.0], [1.5]])
    grid = np.linspace(-10, 12, 4001)[:, None]
    density = np.exp(log_kernel_density(grid, references, 0.5))
    # A sum over an even grid is exact to rounding for a smooth function that vanishes at both ends.
    assert density.sum() * (grid[1, 0] - grid[0, 0]) == pytest.approx(1.0, abs=1e-12)


def test_far_away_the_log_density_stays_finite() -> None:
    assert np.isfinite(log_kernel_density(np.array([[1e6, 0.0]]), np.zeros((3, 2)), 0.01)).all()


def test_chunks_do_not_change_the_result(
    train: Embedded, validation: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _fit(train, validation)
    expected = whole.log_density(validation.embedding, validation.gate)
    monkeypatch.setattr(kernel, "CHUNK_ELEMENTS", 7 * len(train.labels))
    chunked = _fit(train, validation)
    assert chunked.bandwidth == whole.bandwidth
    np.testing.assert_array_equal(chunked.log_density(validation.embedding, validation.gate), expected)


def test_whitened_training_vectors_have_the_identity_as_covariance_within_class() -> None:
    train = make_embedded(1, 2000, dimensions=6)
    model = _fit(train, make_embedded(2, 10, dimensions=6))
    centred = (
        model.references - np.stack([model.references[train.labels == k].mean(axis=0) for k in range(3)])[train.labels]
    )
    # Shrinkage with 6000 vectors moves eigenvalues by about 1 %. One direction is lost to normalisation.
    eigenvalues = np.linalg.eigvalsh(centred.T @ centred / len(centred))
    np.testing.assert_allclose(eigenvalues[1:], 1.0, atol=0.1)


def test_the_transform_is_one_function_of_an_image_alone(train: Embedded, validation: Embedded) -> None:
    model = _fit(train, validation)
    together = model.vector(validation.embedding, validation.gate)
    alone = np.concatenate([model.vector(h[None], g[None]) for h, g in zip(validation.embedding, validation.gate)])  # noqa: B905
    np.testing.assert_allclose(together, alone, rtol=1e-12, atol=1e-12)  # BLAS sums in another order for one row


def test_an_image_among_the_training_images_is_likelier_than_one_far_from_them(
    train: Embedded, validation: Embedded
) -> None:
    model = _fit(train, validation)
    inside = model.log_density(validation.embedding, validation.gate)
    outside = model.log_density(validation.embedding[:, ::-1], validation.gate)
    assert np.median(outside) < inside.min()


def test_no_bandwidth_on_a_fine_grid_is_much_likelier_than_the_chosen_one() -> None:
    rng = np.random.default_rng(0)
    points, references = rng.normal(size=(200, 3)), rng.normal(size=(300, 3))
    chosen = choose_bandwidth([(points, references)])
    best = max(log_kernel_density(points, references, b).mean() for b in np.geomspace(0.01, 10, 300))
    # Half a grid step (8 %) from the best costs at most about D · 0.08² nats = 0.02.
    assert log_kernel_density(points, references, chosen.value).mean() > best - 0.02


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_bandwidth_scales_with_the_vectors(scale: float) -> None:
    rng = np.random.default_rng(0)
    points, references = rng.normal(size=(50, 4)), rng.normal(size=(80, 4))
    expected, found = choose_bandwidth([(points, references)]), choose_bandwidth([(scale * points, scale * references)])
    assert found.in_neighbour_distances == expected.in_neighbour_distances
    assert found.value == pytest.approx(scale * expected.value, rel=1e-9)


def test_the_grid_is_extended_when_the_best_bandwidth_is_at_its_edge() -> None:
    # Half of the held-out points nearly touch a reference, the others are 100 units away: the nearest-neighbour
    # median is tiny and the best bandwidth a large multiple of it.
    rng = np.random.default_rng(0)
    references = rng.normal(size=(40, 2)) * 100
    points = np.concatenate([references[:21] + 1e-3, rng.normal(size=(20, 2)) * 100])
    chosen = choose_bandwidth([(points, references)])
    assert chosen.in_neighbour_distances > kernel.GRID_HIGH
    around = [log_kernel_density(points, references, chosen.value * f).sum() for f in (0.8, 1.0, 1.25)]
    assert around[1] == max(around)


def test_with_few_validation_images_training_images_are_held_out(train: Embedded) -> None:
    few = make_embedded(3, 2)
    other = make_embedded(4, 2)
    assert len(few.labels) < kernel.SMALLEST_VALIDATION
    assert _fit(train, few).bandwidth == _fit(train, other).bandwidth


def test_folds_hold_every_image_out_once_with_a_share_of_every_class() -> None:
    labels = np.repeat([0, 1, 2], [10, 7, 1])
    masks = list(folds(labels))
    np.testing.assert_array_equal(np.sum(masks, axis=0), labels != 2)  # the lone image of class 2 always stays
    assert all((labels[~mask] == k).any() for mask in masks for k in range(3))


def test_two_images_per_class_and_few_for_validation_still_give_a_density() -> None:
    model = _fit(make_embedded(1, 2), make_embedded(2, 1))
    assert np.isfinite(model.bandwidth)


def test_a_bandwidth_given_in_neighbour_distances_is_used(train: Embedded, validation: Embedded) -> None:
    chosen, fixed = _fit(train, validation), _fit(train, validation, bandwidth=0.5)
    assert fixed.bandwidth_in_neighbour_distances == 0.5
    assert fixed.bandwidth == pytest.approx(0.5 * chosen.bandwidth / chosen.bandwidth_in_neighbour_distances)
    with pytest.raises(CalibrationError, match="above 0"):
        _fit(train, validation, bandwidth=0.0)


def test_a_contrast_takes_the_weighed_density_of_the_auxiliary_images_away(
    train: Embedded, validation: Embedded
) -> None:
    others = make_embedded(5, 15)
    model = _fit(train, validation, bandwidth=1.5, auxiliary=(others.embedding, others.gate), contrast=0.4)
    plain = _fit(train, validation, bandwidth=1.5)
    of_others = replace(plain, references=plain.vector(others.embedding, others.gate))
    images = (validation.embedding, validation.gate)
    np.testing.assert_allclose(
        model.log_density(*images), plain.log_density(*images) - 0.4 * of_others.log_density(*images), rtol=1e-12
    )
    # whitening and bandwidth are those of the known images alone
    assert model.bandwidth == plain.bandwidth
    np.testing.assert_array_equal(model.whitening, plain.whitening)


def test_with_a_contrast_an_image_of_an_auxiliary_generator_fits_less(train: Embedded, validation: Embedded) -> None:
    # A generator between the known ones, which the density alone takes for one of them.
    between = train.embedding - 0.5 * (train.embedding - train.embedding.mean(axis=0))
    others, unseen = ((between[part], train.gate[part]) for part in (slice(0, None, 2), slice(1, None, 2)))

    def gap(contrast: float) -> float:
        model = _fit(train, validation, bandwidth=1.5, auxiliary=others, contrast=contrast)
        known = model.log_density(validation.embedding, validation.gate)
        return float(np.median(known) - np.median(model.log_density(*unseen)))

    assert gap(1.0) > gap(0.5) > gap(0.0)


def test_without_a_contrast_auxiliary_images_change_nothing(train: Embedded, validation: Embedded) -> None:
    images = (validation.embedding, validation.gate)
    model = _fit(train, validation, auxiliary=images, contrast=0.0)
    assert model.auxiliary is None
    np.testing.assert_array_equal(model.log_density(*images), _fit(train, validation).log_density(*images))


@pytest.mark.parametrize(
    ("contrast", "count", "words"),
    [(-0.1, 5, "from 0"), (1.1, 5, "to 1"), (float("nan"), 5, "from 0"), (0.5, 0, "no image"), (0.5, None, "no image")],
)
def test_a_contrast_that_cannot_be_made_is_refused(
    contrast: float, count: int | None, words: str, train: Embedded, validation: Embedded
) -> None:
    auxiliary = None if count is None else (train.embedding[:count], train.gate[:count])
    with pytest.raises(CalibrationError, match=words):
        _fit(train, validation, auxiliary=auxiliary, contrast=contrast)


def test_auxiliary_images_that_are_not_finite_are_refused(train: Embedded, validation: Embedded) -> None:
    with pytest.raises(CalibrationError, match="images of auxiliary generators: 180 of 180"):
        _fit(train, validation, auxiliary=(train.embedding * np.inf, train.gate), contrast=0.5)


def test_values_that_are_not_finite_are_refused_with_their_number(train: Embedded, validation: Embedded) -> None:
    embedding = train.embedding.copy()
    embedding[5, 0] = np.nan
    with pytest.raises(CalibrationError, match=r"1 of 180 embeddings hold NaN or infinity .*number 5"):
        _fit(replace(train, embedding=embedding), validation)
    with pytest.raises(CalibrationError, match="validation images"):
        _fit(train, replace(validation, gate=validation.gate * np.inf))


def test_whitening_needs_a_class_with_two_images() -> None:
    with pytest.raises(CalibrationError, match="no class has two training images"):
        _fit(make_embedded(1, 1), make_embedded(2, 5))


def test_embeddings_that_are_all_the_same_are_refused(validation: Embedded) -> None:
    collapsed = Embedded(np.ones((9, 8), np.float32), np.ones((9, 8), np.float32), np.repeat([0, 1, 2], 3))
    with pytest.raises(CalibrationError, match="all have the same embedding"):
        _fit(collapsed, validation)
    with pytest.raises(CalibrationError, match="copies of the same image"):
        _fit(collapsed, collapsed, space="gated")
