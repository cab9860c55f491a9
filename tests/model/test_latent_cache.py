"""Latents are encoded once per image, view and encoder, and a cache is never trusted blindly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from protoleak.errors import CheckpointError, MediaError
from protoleak.images.framing import Framing
from protoleak.model.latent_cache import LatentItem, cached_latents, latent_key
from protoleak.model.latent_encoder import LatentEncoder

UInt8Array = npt.NDArray[np.uint8]


class _Counted:
    """Counts how often images are loaded."""

    def __init__(self) -> None:
        self.loads = 0

    def item(self, number: int, view: str = "centre", size: int = 32, looks: int = 1) -> LatentItem:
        def load() -> UInt8Array:
            self.loads += 1
            return np.random.default_rng(number).integers(0, 256, (looks, size, size, 3), dtype=np.uint8)

        framing = Framing(("image", "face")[:looks], size)
        return LatentItem(latent_key(f"{number:064x}", view, framing), load)


def _broken() -> UInt8Array:
    raise MediaError("b.png is truncated")


def test_a_second_run_decodes_nothing_and_gives_the_same_latents(light_encoder: LatentEncoder, tmp_path: Path) -> None:
    counted = _Counted()
    items = [counted.item(number) for number in range(5)]
    first = cached_latents(light_encoder, items, tmp_path, batch_size=2)
    assert (counted.loads, first.hits) == (5, 0)
    second = cached_latents(light_encoder, items, tmp_path, batch_size=2)
    assert (counted.loads, second.hits) == (5, 5)
    np.testing.assert_array_equal(first.latents, second.latents)
    direct = light_encoder.encode(np.concatenate([item.load() for item in items[:2]]))
    np.testing.assert_array_equal(first.latents[:2, 0], direct)


def test_new_items_are_encoded_among_cached_ones_in_their_own_places(
    light_encoder: LatentEncoder, tmp_path: Path
) -> None:
    counted = _Counted()
    cached_latents(light_encoder, [counted.item(number) for number in (1, 3)], tmp_path)
    mixed = cached_latents(light_encoder, [counted.item(number) for number in range(4)], tmp_path)
    assert (counted.loads, mixed.hits) == (4, 2)
    fresh = cached_latents(light_encoder, [counted.item(number) for number in range(4)], None)
    # The images were encoded in batches of another size, which may sum in another order: float32 rounding.
    np.testing.assert_allclose(mixed.latents, fresh.latents, atol=1e-5)


def test_another_view_size_or_encoder_has_another_entry(
    light_encoder: LatentEncoder, light_encoder_folder: Path, tmp_path: Path
) -> None:
    from protoleak.model.latent_encoder import load_latent_encoder
    from protoleak.model.light_encoder import LightEncoder

    changed = LightEncoder.load(light_encoder_folder)
    changed.latent_mean += 1
    changed.save(tmp_path / "changed")
    counted = _Counted()
    for encoder in (light_encoder, load_latent_encoder(tmp_path / "changed")):
        for item in (counted.item(1), counted.item(1, view="left"), counted.item(1, size=64), counted.item(1, looks=2)):
            assert cached_latents(encoder, [item], tmp_path / "cache").hits == 0


def _cut_short(entry: Path) -> None:
    entry.write_bytes(entry.read_bytes()[:-10])


def _poison(entry: Path) -> None:
    latent = np.load(entry)
    latent[0, 0, 0, 0] = np.nan
    np.save(entry, latent)


@pytest.mark.parametrize(
    "damage",
    [_cut_short, _poison, lambda entry: entry.write_bytes(b""), lambda entry: entry.write_bytes(b"PK\x03\x04")],
)
def test_a_damaged_entry_is_encoded_again(
    damage: Callable[[Path], object], light_encoder: LatentEncoder, tmp_path: Path
) -> None:
    counted = _Counted()
    first = cached_latents(light_encoder, [counted.item(1)], tmp_path)
    (entry,) = tmp_path.rglob("*.npy")
    damage(entry)
    again = cached_latents(light_encoder, [counted.item(1)], tmp_path)
    assert (again.hits, counted.loads) == (0, 2)
    np.testing.assert_array_equal(again.latents, first.latents)
    assert cached_latents(light_encoder, [counted.item(1)], tmp_path).hits == 1  # and it was mended


def test_an_unreadable_image_is_reported_and_the_others_are_encoded(
    light_encoder: LatentEncoder, tmp_path: Path
) -> None:
    counted = _Counted()
    items = [counted.item(0), LatentItem("broken", _broken), counted.item(2)]
    result = cached_latents(light_encoder, items, tmp_path, batch_size=2)
    assert result.indices.tolist() == [0, 2]
    assert result.latents.shape == (2, 1, 4, 4, 4)
    assert [(index, str(error)) for index, error in result.failures] == [(1, "b.png is truncated")]


def test_an_interrupted_run_goes_on_where_it_was(light_encoder: LatentEncoder, tmp_path: Path) -> None:
    counted = _Counted()

    def interrupt() -> UInt8Array:
        raise KeyboardInterrupt

    items = [counted.item(0), counted.item(1), LatentItem("interrupt", interrupt)]
    with pytest.raises(KeyboardInterrupt):
        cached_latents(light_encoder, items, tmp_path, batch_size=1)
    assert cached_latents(light_encoder, items[:2], tmp_path).hits == 2


def test_progress_counts_every_item_once(light_encoder: LatentEncoder, tmp_path: Path) -> None:
    counted, seen = _Counted(), list[int]()
    cached_latents(light_encoder, [counted.item(0)], tmp_path)
    items = [counted.item(0), counted.item(1), LatentItem("broken", _broken), counted.item(3)]
    cached_latents(light_encoder, items, tmp_path, batch_size=2, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == len(items)


def test_no_images_give_no_latents(light_encoder: LatentEncoder) -> None:
    result = cached_latents(light_encoder, [LatentItem("broken", _broken)], None)
    assert (len(result.latents[:, 0]), len(result.failures)) == (0, 1)


def test_a_cache_that_cannot_be_written_is_an_error_with_the_remedy(
    light_encoder: LatentEncoder, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match="PROTOLEAK_CACHE"):
        cached_latents(light_encoder, [_Counted().item(1)], tmp_path / "file")
