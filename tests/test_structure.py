"""The structure of the package, read from its imports: floors, no circles, and what inference may not need."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.paths import ROOT

PACKAGE = ROOT / "protoleak"
# From the ground up: what stands on a floor imports from floors below it and from its own, never from above.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "version", "arrays", "text"),
    ("choices", "diffusion", "file_locks", "files", "isolation", "progress", "reports", "metrics", "strict_json"),
    ("latent_statistics",),
    ("bundle", "images", "dataset", "dataset_copies"),
    ("runtime", "environment"),
    ("faces",),
    ("video",),
    ("screener", "__init__", "image_records"),
    ("serving", "client"),
    ("model",),
    ("calibration", "training", "distillation"),
    ("bench", "enrolment", "evaluation", "export"),
    ("discovery",),
    ("cli",),
    ("__main__", "pyinstaller"),
)
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}
TORCH_FREE = (
    "arrays",
    "bundle",
    "choices",
    "client",
    "diffusion",
    "enrolment",
    "environment",
    "errors",
    "faces",
    "file_locks",
    "files",
    "images",
    "isolation",
    "latent_statistics",
    "metrics",
    "progress",
    "runtime",
    "strict_json",
    "text",
)
HEAVY = {"torch", "torchvision", "diffusers", "onnx", "onnxscript", "sklearn", "scipy", "safetensors"}


def modules() -> dict[str, Path]:
    """Dotted name → file of every module of the package."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


@cache
def imported(path: Path) -> tuple[tuple[str, bool], ...]:
    """Dotted names that a file imports, with whether that happens when the file itself is imported: not so what stands
    in a function or under TYPE_CHECKING."""
    return tuple(_imported(ast.parse(path.read_text())))


def _imported(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    at_once = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or _is_type_checking(node):
            at_once |= {id(inner) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) not in at_once) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:  # a module of a package, or a name of a module
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else node.module, id(node) not in at_once


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def room(module: str) -> str:
    """The part of the package that a module belongs to."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


@cache
def edges() -> dict[str, set[str]]:
    """Module → modules of the package that it imports anywhere in its text."""
    return {
        module: {name for name, _ in imported(path) if name in MODULES and name != module}
        for module, path in MODULES.items()
    }


def test_every_part_of_the_package_has_its_floor() -> None:
    assert {room(module) for module in MODULES} == set(FLOOR_OF)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_down(module: str) -> None:
    above = sorted(name for name in edges()[module] if FLOOR_OF[room(name)] > FLOOR_OF[room(module)])
    assert not above, f"{module} imports from a higher floor: {', '.join(above)}"


def test_no_circle_among_modules() -> None:
    graph = {module: {name for name in names if name != "protoleak"} for module, names in edges().items()}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " → ".join((*path[path.index(module) :], module))
        if module not in done:
            for name in sorted(graph[module]):
                visit(name, (*path, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())


def test_nothing_below_imports_the_screener() -> None:
    users = sorted(module for module, names in edges().items() if "protoleak.screener" in names)
    assert all(FLOOR_OF[room(module)] >= FLOOR_OF["screener"] for module in users), users


@pytest.mark.parametrize("module", sorted(name for name in MODULES if room(name) in TORCH_FREE))
def test_inference_imports_nothing_heavy(module: str) -> None:
    heavy = sorted({name.split(".")[0] for name, _ in imported(MODULES[module])} & HEAVY)
    assert not heavy, f"{module} imports {', '.join(heavy)}"


def test_importing_the_package_imports_only_what_is_light() -> None:
    assert {name for name, at_once in imported(MODULES["protoleak"]) if at_once and name in MODULES} <= {
        "protoleak.version"
    }
