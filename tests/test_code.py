"""What must not stand in the code, found in its syntax."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path for name in ("pipeline", "models", "config", "daemon") for path in (ROOT / name).rglob("*.py"))
SAFE_LOADERS = {"SafeLoader", "CSafeLoader"}
FORBIDDEN_IMPORTS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "telnetlib", "ftplib"}
FORBIDDEN_CALLS = {
    *("eval", "exec", "compile", "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"),
    *("pickle.load", "pickle.loads", "numpy.load_pickle", "tempfile.mktemp", "asyncio.create_subprocess_shell"),
    *("joblib.load", "torch.jit.load", "ssl._create_unverified_context", "yaml.unsafe_load", "yaml.full_load"),
}


def dotted(node: ast.expr) -> str:
    """`a.b.c` of an expression; empty where it is none."""
    if isinstance(node, ast.Attribute):
        head = dotted(node.value)
        return f"{head}.{node.attr}" if head else ""
    return node.id if isinstance(node, ast.Name) else ""


def complaints(tree: ast.AST) -> Iterator[str]:
    """What is wrong with a module: objects made from untrusted bytes, shells, and certificates that nobody checks."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (f"imports {a.name}" for a in node.names if a.name.partition(".")[0] in FORBIDDEN_IMPORTS)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in FORBIDDEN_IMPORTS:
            # To know a pickle's error is not to load one.
            yield from (f"imports {node.module}.{a.name}" for a in node.names if a.name != "UnpicklingError")
        elif isinstance(node, ast.Call):
            given = {keyword.arg or "": keyword.value for keyword in node.keywords}
            yield from of_call(dotted(node.func), node.args, given)


def of_call(name: str, arguments: list[ast.expr], given: dict[str, ast.expr]) -> Iterator[str]:
    """What is wrong with one call."""
    if name in FORBIDDEN_CALLS:
        yield f"calls {name}"
    if name in {"yaml.load", "yaml.compose", "yaml.load_all"}:
        loader = given.get("Loader", arguments[1] if len(arguments) > 1 else None)
        if loader is None or dotted(loader).rpartition(".")[2] not in SAFE_LOADERS:
            yield f"calls {name} without a safe loader"
    if "allow_pickle" in given and not _is(given["allow_pickle"], value=False):
        yield f"{name} with pickle"
    if name == "torch.load" and not _is(given.get("weights_only"), value=True):
        yield "loads torch files with pickle"
    if "shell" in given and not _is(given["shell"], value=False):
        yield f"{name} with a shell"
    if any(_is(given.get(key), value=False) for key in ("verify_ssl", "ssl", "verify")):
        yield f"{name} without checking certificates"


def _is(node: ast.expr | None, *, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_pickle_no_unsafe_yaml_no_shell(path: Path) -> None:
    """Nothing is executed that came from a file or from the network."""
    assert list(complaints(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from pickle import loads",
        "import yaml\nyaml.load(x)",
        "yaml.load(x, Loader=yaml.Loader)",
        "yaml.compose(x)",
        "subprocess.run('x', shell=True)",
        "subprocess.run('x', shell=flag)",
        "os.system('x')",
        "np.load(f, allow_pickle=True)",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "eval('1')",
        "http.get(url, ssl=False)",
        "asyncio.create_subprocess_shell('x')",
    ],
)
def test_the_check_finds_what_it_looks_for(text: str) -> None:
    """Each of these is found."""
    assert list(complaints(ast.parse(text))) != []


def test_the_check_lets_good_code_pass() -> None:
    """What is safe is not complained about."""
    good = "yaml.load(x, Loader=yaml.SafeLoader); yaml.safe_load(x); np.load(f); subprocess.run(['x']); json.loads(x)"
    assert list(complaints(ast.parse(good))) == []
