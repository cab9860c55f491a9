"""Images in `data:` URIs: as the standard library reads them, in as little memory as they have."""

from __future__ import annotations

import tracemalloc
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protoleak.errors import MediaError
from protoleak.images.sources import read_data_uri


@given(st.text(st.sampled_from("%aF0z é%4"), max_size=40))
def test_percent_signs_are_read_as_the_standard_library_reads_them(payload: str) -> None:
    assert read_data_uri(f"data:image/png,{payload}") == unquote_to_bytes(payload)


def test_a_lone_surrogate_is_no_traceback() -> None:
    assert read_data_uri("data:image/png,\ud800") == b"\xed\xa0\x80"


def test_millions_of_percent_signs_take_little_memory() -> None:
    text = "data:," + "%" * 2_000_000
    tracemalloc.start()
    try:
        assert len(read_data_uri(text)) == 2_000_000
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 80_000_000  # cut at every sign they would be a list of 200 MB


@pytest.mark.parametrize("text", ["data:", "data:image/png;base64,%%%", "data:;base64,A", "data:;base64,\ud800"])
def test_what_is_none_is_one_line(text: str) -> None:
    with pytest.raises(MediaError):
        read_data_uri(text)
