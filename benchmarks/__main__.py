"""List the benchmarks."""

import ast
from pathlib import Path


def main() -> None:
    """Print each benchmark's command and its first line of description."""
    for path in sorted(Path(__file__).parent.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body) and path.stem[0] != "_":
            summary = (ast.get_docstring(tree) or "").splitlines()[0]
            print(f"python -m lrscape.benchmarks.{path.stem:<20} {summary}")


if __name__ == "__main__":
    main()
