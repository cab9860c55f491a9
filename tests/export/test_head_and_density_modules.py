import io
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
import torch
from torch import nn

from protoleak.bundle.graph_check import inspect_onnx
from protoleak.calibration.density import DensityModel, fit_density
from protoleak.calibration.heads import Head, fit_head
from protoleak.calibration.kernel import log_kernel_density
from protoleak.calibration.posterior import PosteriorDensity
from protoleak.choices import HEAD_KINDS, HeadKind, KernelSpace
from protoleak.export.density_module import (
    MOST_DIFFERENCES,
    ClusteredKernelLogDensity,
    DensityModule,
    KernelLogDensity,
    density_module,
    kernel_log_density_module,
)
from protoleak.export.head_modules import HeadModule
from tests.calibration.conftest import Embedded, make_embedded

GENERATORS = ("a", "b", "c")
SPACES: tuple[KernelSpace, ...] = ("whitened", "gated")
Arrays = tuple[npt.NDArray[np.float32], ...]


def _made() -> tuple[Embedded, Embedded, Embedded]:
    return make_embedded(1, 60, dimensions=32), make_embedded(2, 20, dimensions=32), make_embedded(3, 12, dimensions=32)


def _published(shared: Path) -> tuple[Embedded, Embedded, Embedded]:
    """A published model's embeddings: a hundred times nearer to one another than to the origin."""
    with np.load(shared / "reference" / "conv-multistep" / "expected.npz") as file:
        splits = [
            Embedded(*(file[f"{s}/{n}"] for n in ("embedding", "gate", "label"))) for s in ("train", "val", "test")
        ]
    return cast("tuple[Embedded, Embedded, Embedded]", tuple(splits))


def _unseen(test: Embedded) -> Embedded:
    """Test images, and others far from all training images."""
    far = test.embedding[:, ::-1] * np.float32(2)
    return Embedded(
        np.concatenate([test.embedding, far]), np.concatenate([test.gate, test.gate]), np.tile(test.labels, 2)
    )


def _fit_head(kind: HeadKind, train: Embedded, validation: Embedded) -> Head:
    validated = (validation.embedding, validation.gate, validation.labels)
    return fit_head(kind, train.embedding, train.gate, train.labels, *validated, GENERATORS)


def _fit_density(space: KernelSpace, train: Embedded, validation: Embedded, contrast: float = 0.0) -> DensityModel:
    """Contrasted with every third training image at half its length: a generator nearer to the middle."""
    others = (train.embedding[::3] * np.float32(0.5), train.gate[::3])
    validated = (validation.embedding, validation.gate)
    return fit_density(
        train.embedding, train.gate, train.labels, *validated, space, auxiliary=others, contrast=contrast
    )


def _score(images: Embedded) -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(len(images.labels), 3)).astype(np.float32)


def _export(module: nn.Module, inputs: Arrays) -> bytes:
    batch = torch.export.Dim("batch")
    program = torch.onnx.export(
        module.eval(),
        tuple(torch.from_numpy(array[:3]) for array in inputs),
        dynamo=True,
        opset_version=20,
        dynamic_shapes=tuple({0: batch} for _ in inputs),
        verbose=False,
    )
    assert program is not None
    buffer = io.BytesIO()
    program.save(buffer)
    return buffer.getvalue()


def _run(session: onnxruntime.InferenceSession, inputs: Arrays) -> npt.NDArray[np.float32]:
    feeds = {node.name: array for node, array in zip(session.get_inputs(), inputs, strict=True)}
    result: npt.NDArray[np.float32] = session.run(None, feeds)[0]
    return result


def _assert_close(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float64]) -> None:
    """1e-4 of the values, which is what an exported graph is held to."""
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", HEAD_KINDS)
def test_a_head_module_equals_the_float64_head(kind: HeadKind) -> None:
    train, validation, test = _made()
    images = _unseen(test)
    head, score = _fit_head(kind, train, validation), _score(images)
    found = HeadModule(head)(*map(torch.from_numpy, (images.embedding, images.gate, score)))
    _assert_close(found.numpy(), head.scores(images.embedding, images.gate, score))


@pytest.mark.parametrize("kind", HEAD_KINDS)
def test_a_head_module_equals_the_float64_head_on_published_embeddings(kind: HeadKind, shared: Path) -> None:
    train, validation, test = _published(shared)
    head, score = _fit_head(kind, train, validation), _score(test)
    found = HeadModule(head)(*map(torch.from_numpy, (test.embedding, test.gate, score)))
    _assert_close(found.numpy(), head.scores(test.embedding, test.gate, score))


@pytest.mark.parametrize("contrast", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("space", SPACES)
def test_the_density_module_equals_the_float64_density(space: KernelSpace, contrast: float) -> None:
    train, validation, test = _made()
    images = _unseen(test)
    model = _fit_density(space, train, validation, contrast)
    found = DensityModule(model)(torch.from_numpy(images.embedding), torch.from_numpy(images.gate))
    expected = model.log_density(images.embedding, images.gate)
    _assert_close(found.numpy(), expected)
    # Far images have log densities of thousands of nats; the known ones must be right by themselves.
    known = expected[: len(test.labels)]
    assert np.abs(found.numpy()[: len(known)] - known).max() <= 1e-4 * np.ptp(known)


@pytest.mark.parametrize("space", SPACES)
def test_the_density_module_equals_the_float64_density_on_published_embeddings(
    space: KernelSpace, shared: Path
) -> None:
    train, validation, test = _published(shared)
    model = _fit_density(space, train, validation)
    found = DensityModule(model)(torch.from_numpy(test.embedding), torch.from_numpy(test.gate))
    _assert_close(found.numpy(), model.log_density(test.embedding, test.gate))


def test_an_embedding_of_zeros_has_a_finite_density() -> None:
    train, validation, _ = _made()
    zeros = np.zeros((2, 32), np.float32)
    model = _fit_density("whitened", train, validation)
    found = DensityModule(model)(torch.from_numpy(zeros), torch.from_numpy(zeros))
    _assert_close(found.numpy(), model.log_density(zeros, zeros))


@pytest.mark.parametrize("auxiliary", [0, 2])
def test_the_posterior_module_equals_the_float64_density(auxiliary: int) -> None:
    images = _unseen(_made()[2])
    model = _fit_posterior(auxiliary)
    found = density_module(model)(torch.from_numpy(images.embedding), torch.from_numpy(images.gate))
    _assert_close(found.numpy(), model.log_density(images.embedding, images.gate))


def _fit_posterior(auxiliary: int, levelled: int = 0) -> PosteriorDensity:
    train, _, _ = _made()
    prototypes = train.embedding[np.linspace(0, len(train.labels) - 1, 15).astype(int)].reshape(5, 3, -1)
    others = prototypes[:auxiliary] + 1.0
    return PosteriorDensity.fit(prototypes, others, 1.3, train.embedding, train.gate, levelled=levelled)


@pytest.mark.parametrize("name", [*HEAD_KINDS[1:], *SPACES, "contrasted", "posterior", "levelled"])
def test_an_exported_graph_is_safe_right_and_bitwise_the_same_in_any_batch(name: str) -> None:
    train, validation, test = _made()
    inputs: Arrays = (test.embedding, test.gate)
    if name in HEAD_KINDS:
        head = _fit_head(cast("HeadKind", name), train, validation)
        inputs = (*inputs, _score(test))
        module, expected = HeadModule(head), head.scores(*inputs)
    elif name in ("posterior", "levelled"):
        posterior = _fit_posterior(2, 7 if name == "levelled" else 0)
        module, expected = density_module(posterior), posterior.log_density(*inputs)
    else:
        contrast, space = (0.2, "whitened") if name == "contrasted" else (0.0, name)
        model = _fit_density(cast("KernelSpace", space), train, validation, contrast)
        module, expected = DensityModule(model), model.log_density(*inputs)
    graph = _export(module, inputs)
    assert inspect_onnx(graph).problems() == []
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    whole = _run(session, inputs)
    _assert_close(whole, expected)
    for size in (1, 2, 3, 5, 16):
        part = _run(session, tuple(array[4 : 4 + size] for array in inputs))
        np.testing.assert_array_equal(part, whole[4 : 4 + size])


@pytest.mark.parametrize("apart", [0.0, 300.0])
def test_the_density_of_many_references_is_as_exact_as_by_differences(apart: float) -> None:
    """Within clusters, whose centres may lie hundreds of bandwidths from one another and from the origin."""
    random = np.random.default_rng(1)
    centres = apart * random.standard_normal((5, 24)) / 5 + 100
    references = centres[random.integers(5, size=MOST_DIFFERENCES + 500)] + random.standard_normal((2500, 24))
    near = centres[random.integers(5, size=40)] + random.standard_normal((40, 24))
    images = np.concatenate([near, random.standard_normal((10, 24)) * 50]).astype(np.float32)
    exact = log_kernel_density(images.astype(np.float64), references, 0.8)
    module = kernel_log_density_module(references, 0.8)
    assert isinstance(module, ClusteredKernelLogDensity)
    found = module(torch.from_numpy(images)).numpy()
    by_differences = KernelLogDensity(references, 0.8)(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(found, exact, rtol=1e-6)
    assert np.abs(found - exact)[:40].max() <= 2 * np.abs(by_differences - exact)[:40].max() + 1e-5
    session = onnxruntime.InferenceSession(_export(module, (images,)))
    alone = np.concatenate([_run(session, (images[index : index + 1],)) for index in range(len(images))])
    np.testing.assert_allclose(
        _run(session, (images,)), alone, rtol=1e-6
    )  # together, a product may be blocked otherwise
    np.testing.assert_allclose(alone, exact, rtol=1e-6)


def test_references_that_no_clusters_make_narrow_are_compared_one_by_one() -> None:
    references = np.random.default_rng(0).standard_normal((MOST_DIFFERENCES + 1, 24)) * 1000
    assert isinstance(kernel_log_density_module(references, 1.0), KernelLogDensity)
