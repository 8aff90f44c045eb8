"""Who may import whom: the table, and a reader of imports that names every breach."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass

# Free for all, as `from auformer import __version__` is; `data.atomic` is the one way to write a file.
FREE = {"numpy", "tqdm", "yaml", "auformer.errors", "auformer.aus", "auformer.files"}

# The file contracts: `data.manifest` and the modules it is made of.
TABLES = {"auformer.data.manifest", "auformer.data.table_file", "auformer.data.schema"}

# Packages that an extra brings, or that is slow and rarely needed: only inside functions, by whoever may import them at all.
INSIDE_FUNCTIONS_ONLY = {
    "albumentations", "defusedxml", "huggingface_hub", "mediapipe", "onnx", "onnxruntime", "onnxscript", "openpyxl", "openvino",
    "peft", "ray", "scipy", "tensorboard", "xlrd",
}  # fmt: skip

ON_STDLIB_ALONE = ("auformer.errors", "auformer.aus", "auformer.files")

# What only the ends of the chain may import.
ENDS = ("auformer.scoring", "auformer.predict")
ENDS_USERS = ("auformer.cli", "auformer.commands", "experiments", "tests")

ANYTHING = {"*"}
_SCORING = {"pandas", "auformer.metrics", *TABLES, "auformer.data.splits", "auformer.report", "auformer.report.html"}
_RUNNING = {
    "torch",
    "pytorch_lightning",
    "pandas",
    "auformer.models",
    "auformer.training",
    "auformer.training.baselines",
    "auformer.data",
}

# Module or package -> what it may import besides FREE and its own package; the longest matching name counts.
RULES: dict[str, set[str]] = {
    "auformer.losses": {"torch"},
    "auformer.metrics": {"sklearn"},
    "auformer.models": {"torch", "timm", "safetensors", "huggingface_hub"},
    "auformer.models.export": {"torch", "onnx", "onnxruntime", "onnxscript"},
    "auformer.models.export": {"torch", "onnxruntime"},
    "auformer.models.baselines": {"peft"},
    "auformer.data": {"torch", "pytorch_lightning", "cv2", "pandas"},
    "auformer.data.manifest": {"pandas"},
    "auformer.data.splits": {"pandas"},
    "auformer.data.datamodule": {"torch", "pytorch_lightning", "cv2", "pandas", "auformer.losses"},  # `au_weights`, which has one home
    "auformer.data.images": {"cv2"},
    "auformer.data.transforms": {"cv2", "albumentations"},
    "auformer.faces": {"cv2"},
    "auformer.faces.table": {"cv2", "pandas"},
    "auformer.synthetic": {"cv2", "pandas", "auformer.faces.align", *TABLES},
    "auformer.training": {"torch", "pytorch_lightning", "torchmetrics", "auformer.models", "auformer.losses", "auformer.metrics"},
    "auformer.training.baselines": {"torch", "pytorch_lightning", "auformer.models", "auformer.training"},
    "auformer.training": {"torch", "pytorch_lightning", "jsonargparse", "auformer.models", "auformer.training", "auformer.training.baselines",
                          "auformer.data", "pandas", "tensorboard"},
    "auformer.scoring": _SCORING,
    "auformer.predict.manifest": _RUNNING,
    "auformer.benchmark.suite": {*_SCORING, "auformer.training.config"},  # the YAML that `auformer fit` takes
    "auformer.benchmark.suite": {*_SCORING, "auformer.training.config"},
    "auformer.benchmark.store": {*_SCORING, "auformer.training.run_folder"},
    "auformer.benchmark.jobs": {*_SCORING, "auformer.training.run_folder"},
    "auformer.benchmark.older_lines": {*_SCORING, "auformer.training.config"},
    "auformer.benchmark.jobs": {*_RUNNING, "auformer.training"},
    "auformer.benchmark.runner": {*_RUNNING, "auformer.training"},
    "auformer.benchmark.workers": {*_RUNNING, "auformer.training", "cv2"},  # how many threads it takes
    "auformer.predict": {"torch", "av", "cv2", "pandas", "auformer.models", "auformer.faces", *TABLES,
                           "auformer.data.images", "auformer.data.transforms", "auformer.report", "auformer.report.html"},
    "auformer.predict.cluster.ray": {"ray"},
    "auformer.report": {"matplotlib", "pandas"},
    "auformer.report.html": {"matplotlib", "pandas"},
    "data_prep": {"pandas", "cv2", "av", "openpyxl", "defusedxml", "xlrd", "scipy", "auformer"},
    "auformer.cli": ANYTHING,
    "auformer.commands": ANYTHING,
    "auformer.__main__": {"auformer.cli"},
    "auformer": set(),
    "experiments": ANYTHING,
}  # fmt: skip

# These start with every command: at the top of a module they import the free ones only.
LATE = ("auformer.cli", "auformer.commands")


@dataclass(frozen=True)
class Import:
    """One imported module: its dotted name, the line, and whether it is met inside a function or only by type checkers."""

    target: str
    line: int
    inside: bool
    typing_only: bool


def imports(module: str, source: str, *, package: bool = False) -> Iterator[Import]:
    """All imports of a module, those through `importlib.import_module` and `errors.require` with a literal name among them."""

    def walk(node: ast.AST, inside: bool, typing_only: bool) -> Iterator[Import]:
        for target in _targets(node, module, package):
            yield Import(target, node.lineno, inside, typing_only)  # type: ignore[attr-defined]
        inside = inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        guarded = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in ast.iter_child_nodes(node):
            yield from walk(child, inside, typing_only or (guarded and child not in node.orelse))  # type: ignore[attr-defined]

    yield from walk(ast.parse(source), False, False)


def _targets(node: ast.AST, module: str, package: bool) -> list[str]:
    """Dotted names that one statement or call imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            parts = module.split(".")
            parents = parts[: len(parts) - node.level + (1 if package else 0)]
            base = ".".join([*parents, *([node.module] if node.module else [])])
        return [f"{base}.{alias.name}" for alias in node.names]
    if (
        isinstance(node, ast.Call)
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    ):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called in ("import_module", "require", "__import__"):
            return [node.args[0].value]
    return []


def breaches(module: str, source: str, *, package: bool = False) -> list[str]:
    """What a module imports and may not, one message each."""
    found = []
    for item in imports(module, source, package=package):
        reason = _reason(module, item)
        if reason:
            found.append(f"{module}:{item.line} imports {item.target}: {reason}")
    return found


def _reason(module: str, item: Import) -> str:
    """Why an import is not allowed; empty when it is."""
    root = item.target.split(".")[0]
    if root in sys.stdlib_module_names or item.target == "auformer.__version__":
        return ""
    if any(_under(item.target, (end,)) and not _under(module, (*ENDS_USERS, end)) for end in ENDS):
        return "only cli, commands, experiments and tests import evaluation and inference"
    if root == "tests" and module != "experiments.speed.bench":
        return "tests.helpers are for tests and benches"
    if (
        root in INSIDE_FUNCTIONS_ONLY
        and not item.inside
        and not item.typing_only
        and not module.startswith("experiments")
    ):
        return "optional packages are imported inside functions"
    if module in ON_STDLIB_ALONE:
        return "this module rests on the standard library alone"
    if _under(item.target, FREE) or _own_package(module, item.target):
        return ""
    if item.typing_only and root not in ("auformer", "data_prep"):
        return ""
    if item.typing_only and (module == "auformer" or _under(module, LATE)):
        return ""
    if _under(module, LATE) and not item.inside:
        return "the command line imports what it needs inside functions"
    allowed = RULES[max((name for name in RULES if _under(module, (name,))), key=len)]
    return "" if "*" in allowed or _under(item.target, allowed) else "not in the table of who may import whom"


def _own_package(module: str, target: str) -> bool:
    """Whether a target lies in the package of the module below `auformer`, or in `data_prep` for its own."""
    parts = module.split(".")
    if parts[0] == "auformer" and len(parts) > 1:
        return _under(target, (".".join(parts[:2]),))
    return parts[0] == "data_prep" and _under(target, ("data_prep",))


def _under(name: str, roots: set[str] | tuple[str, ...]) -> bool:
    """Whether a dotted name is one of the roots or lies below one."""
    return any(name == root or name.startswith(root + ".") for root in roots)
