"""JSON as it is written to files, and as it is taken from strangers: nested no deeper than anybody follows."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
import pytest

from protoleak.strict_json import DEEPEST, decode_json, json_bytes


def test_what_is_written_ends_a_line_and_holds_numpys_numbers_as_pythons() -> None:
    written = json_bytes({"ü": np.float64(1.5), "n": [np.int64(3), np.float32(0.25)], "yes": np.bool_(True)})
    assert written.endswith(b"}\n")
    assert json.loads(written) == {"ü": 1.5, "n": [3, 0.25], "yes": True}


def test_what_has_no_form_in_json_is_an_error_that_names_its_type() -> None:
    with pytest.raises(NotImplementedError, match="object has no form in JSON"):
        json_bytes({"what": object()})


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
@pytest.mark.parametrize("depth", [DEEPEST + 1, 900, 100_000])
def test_what_is_nested_more_deeply_than_ours_is_one_line(opening: bytes, closing: bytes, depth: int) -> None:
    with pytest.raises(msgspec.DecodeError, match="nested too deeply"):
        decode_json(opening * depth + b"1" + closing * depth, Any)


def test_brackets_in_texts_and_beside_each_other_are_no_depth() -> None:
    wide = [["[" * 100 + '\\"{{'] for _ in range(200)]
    assert decode_json(msgspec.json.encode(wide), Any) == wide
    deep = b"[" * DEEPEST + b"]" * DEEPEST
    assert decode_json(deep + b" ", Any) is not None
