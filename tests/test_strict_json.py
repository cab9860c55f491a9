"""JSON as it is written to files."""

from __future__ import annotations

import json

import numpy as np
import pytest

from protoleak.strict_json import json_bytes


def test_what_is_written_ends_a_line_and_holds_numpys_numbers_as_pythons() -> None:
    written = json_bytes({"ü": np.float64(1.5), "n": [np.int64(3), np.float32(0.25)], "yes": np.bool_(True)})
    assert written.endswith(b"}\n")
    assert json.loads(written) == {"ü": 1.5, "n": [3, 0.25], "yes": True}


def test_what_has_no_form_in_json_is_an_error_that_names_its_type() -> None:
    with pytest.raises(NotImplementedError, match="object has no form in JSON"):
        json_bytes({"what": object()})
