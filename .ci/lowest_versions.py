"""Prints the lowest declared version of everything that the installed protoleak depends on, for pip install."""

from __future__ import annotations

from importlib.metadata import requires

from packaging.requirements import Requirement

for text in requires("protoleak") or []:
    requirement = Requirement(text)
    if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
        [lowest] = [one.version for one in requirement.specifier if one.operator == ">="]
        print(f"{requirement.name}=={lowest}")
