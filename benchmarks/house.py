"""Count the house: lines, modules, functions, floors. Usage: house.py [FOLDER of a checkout] ... (one column each)."""

import ast
import statistics
import sys
from pathlib import Path

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def counted(root):
    """Return what is counted of one checkout, by name."""
    package = root / "serbench"
    modules = {path: ast.parse(path.read_text("utf-8")) for path in sorted(package.rglob("*.py"))}
    templates = [path for path in package.rglob("*.*") if path.suffix in (".j2", ".js", ".css")]
    functions = [node for tree in modules.values() for node in ast.walk(tree) if isinstance(node, FUNCTIONS)]
    lengths = sorted(node.end_lineno - node.lineno + 1 for node in functions)
    rooms = graph(package, modules, room_of)
    return {
        "gross lines, templates included": sum(map(n_lines, [*modules, *templates])),
        "of these templates": sum(map(n_lines, templates)),
        "code lines (no blank lines, comments, docstrings)": sum(n_code(path, tree) for path, tree in modules.items()),
        "modules": len(modules),
        "files beside the rooms": sum(path.parent == package for path in modules),
        "functions": len(functions),
        "function length, median": statistics.median(lengths),
        "function length, 95th percentile": lengths[int(0.95 * len(lengths))],
        "classes": sum(isinstance(node, ast.ClassDef) for tree in modules.values() for node in ast.walk(tree)),
        "floors (longest chain of rooms)": max(map(len, chains(rooms))),
        "modules in import circles": sum(len(one) for one in circles(graph(package, modules, lambda name: name))),
        "words of README": len((root / "README.md").read_text("utf-8").split()),
        "lines of tests": sum(map(n_lines, (root / "tests").rglob("*.py"))),
    }


def n_lines(path):
    """Lines of a file as wc counts them."""
    return path.read_text("utf-8").count("\n")


def n_code(path, tree):
    """Lines of a module that are neither blank nor comments nor docstrings."""
    documented = [node for node in ast.walk(tree) if isinstance(node, DOCUMENTED)]
    strings = [n.value for node in documented for n in node.body if is_string(n)]
    prose = {line for s in strings for line in range(s.lineno, s.end_lineno + 1)}
    lines = enumerate(path.read_text("utf-8").splitlines(), start=1)
    return sum(bool(text.strip()) and not text.lstrip().startswith("#") and n not in prose for n, text in lines)


def is_string(node):
    """Whether a statement is a docstring, of a module, a function or a name."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def graph(package, modules, node_of):
    """Return which nodes import which; a node is a module, or its room. Imports for types only do not count."""
    names = {path: ".".join(path.relative_to(package.parent).with_suffix("").parts) for path in modules}
    names = {path: name.removesuffix(".__init__") for path, name in names.items()}
    known = set(names.values())
    found = {node_of(name): set() for name in known}
    for path, tree in modules.items():
        own = node_of(names[path])
        for target in imports(tree):
            while target not in known and "." in target:
                target = target.rpartition(".")[0]
            if target in known and target != "serbench":
                found[own] |= {node_of(target)} - {own}
    return found


def imports(tree):
    """Yield what a module imports from serbench, also inside functions, but for types."""
    typing_only = {id(n) for node in ast.walk(tree) if is_for_types(node) for n in ast.walk(node)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.ImportFrom)
            and (node.module or "").startswith("serbench")
            and id(node) not in typing_only
        ):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_for_types(node):
    """Whether a statement is `if TYPE_CHECKING:`."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def room_of(name):
    """The room of a module, or the file beside the rooms."""
    return ".".join(name.split(".")[:2])


def circles(found):
    """Sets of nodes that reach each other."""
    reach = {node: reached(found, node) for node in found}
    sets = {frozenset(other for other in reach[node] if node in reach[other]) for node in found}
    return [one for one in sets if len(one) > 1]


def reached(found, start):
    """All nodes on paths from one."""
    seen, waiting = {start}, [start]
    while waiting:
        new = found[waiting.pop()] - seen
        seen |= new
        waiting += new
    return seen


def chains(found):
    """Longest chain of imports from every node; nodes of one circle count as one."""
    member = {node: one for one in circles(found) for node in one}
    group = {node: member.get(node, frozenset([node])) for node in found}
    below = {one: {group[t] for node in one for t in found[node]} - {one} for one in set(group.values())}

    def longest(one):
        return [one, *max((longest(other) for other in below[one]), key=len, default=[])]

    return [longest(one) for one in below]


if __name__ == "__main__":
    columns = [counted(Path(folder)) for folder in sys.argv[1:] or [Path(__file__).parent.parent]]
    for name in columns[0]:
        print(f"| {name} | {' | '.join(f'{column[name]:,}' for column in columns)} |")
