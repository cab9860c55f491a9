"""The graphs as served: the noising inside, batched by faces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from protoleak.bundle.bundle import Bundle
from protoleak.bundle.graph_check import inspect_onnx
from protoleak.choices import Look
from protoleak.errors import ParityError
from protoleak.runtime.noising import Noising
from protoleak.serving.triton.graphs import ServedGraphs, output_shapes, served_graphs
from protoleak.serving.triton.parity import check_parity, open_served
from tests.tiny_bundle import COMPONENTS, tiny_bundle_files, write

LOOKS: tuple[Look, ...] = ("face", "native", "image")


def served(bundle: Bundle) -> ServedGraphs:
    variant = bundle.variant("fp32")
    noising = Noising.of(bundle.manifest, bundle.noise_bank)
    return served_graphs(variant.latent_encoder, variant.attributor, bundle.manifest, noising)


@pytest.mark.parametrize("components", [COMPONENTS, None], ids=["low frequency", "plain"])
@pytest.mark.parametrize("looks", [("image",), LOOKS], ids=["one look", "three looks"])
def test_they_compute_what_the_runtime_computes(
    tmp_path: Path, looks: tuple[Look, ...], components: int | None
) -> None:
    bundle = Bundle.load(write(tmp_path / "bundle", *tiny_bundle_files(looks, components)))
    parity = check_parity(bundle, bundle.variant("fp32"), served(bundle))
    assert set(parity.relative) == set(output_shapes(bundle.manifest))
    assert parity.largest[1] <= 1e-5  # a batch of another size may be summed in another order


def test_the_default_bundle_passes_the_gate() -> None:
    bundle = Bundle.load()
    assert check_parity(bundle, bundle.variant("fp32"), served(bundle)).largest[1] <= 1e-5


def test_other_noise_does_not_pass_the_gate(tiny_bundle: Path) -> None:
    bundle = Bundle.load(tiny_bundle)
    variant = bundle.variant("fp32")
    noising = Noising.of(bundle.manifest, bundle.noise_bank)
    other = replace(noising, noise_term=noising.noise_term + np.float32(0.5))
    graphs = served_graphs(variant.latent_encoder, variant.attributor, bundle.manifest, other)
    with pytest.raises(ParityError, match="nothing was written"):
        check_parity(bundle, variant, graphs)


def test_the_batch_is_faces_and_the_log_density_has_two_axes(tiny_look_bundle: Path) -> None:
    bundle = Bundle.load(tiny_look_bundle)
    graphs = served(bundle)
    faces = np.random.default_rng(1).integers(0, 256, (5, 3, 64, 64, 3), dtype=np.uint8)
    run = open_served(graphs)
    together = run(faces)
    assert {name: values.shape[1:] for name, values in together.items()} == output_shapes(bundle.manifest)
    assert together["log_density"].shape == (5, 1)
    alone = run(faces[3:4])
    for name, values in alone.items():
        np.testing.assert_allclose(together[name][3:4], values, rtol=1e-4, atol=1e-5)


def test_nothing_in_them_is_random(tiny_bundle: Path) -> None:
    graphs = served(Bundle.load(tiny_bundle))
    for graph in (graphs.latent_encoder, graphs.attributor):
        assert inspect_onnx(graph).problems() == []
