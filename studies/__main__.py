"""Claims that anyone can measure again.

python -m studies                       what there is, one line each
python -m studies NAME [NAME ...]       run some; the exit status is 1 where a claim fails
python -m studies all [--full]          run all, at the size that takes minutes, or the long one
"""

from __future__ import annotations

import argparse
import ast
import inspect
import shutil
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console

from studies.harness import Study, conduct


def summaries() -> dict[str, str]:
    """Each study's name and claim, read off the files of this folder without importing them."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        tree = ast.parse(path.read_text())
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
        if any(isinstance(base, ast.Name) and base.id == "Study" for node in classes for base in node.bases):
            found[path.stem] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return found


def load(name: str) -> type[Study]:
    """The study of that name."""
    module = import_module(f"studies.{name}")
    (study,) = (
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, Study) and member.__module__ == module.__name__
    )
    return study


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the studies that are named; 0 where every claim holds."""
    known = summaries()
    parser = argparse.ArgumentParser(
        "python -m studies", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="studies to run, or all")
    parser.add_argument("--full", action="store_true", help="the long size")
    parser.add_argument("--seeds", type=int, metavar="N", help="how many seeds, from 0 on")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the study")
    parser.add_argument("--out", type=Path, default=Path("runs/studies"), metavar="DIR", help="results: DIR/NAME/")
    parser.add_argument("--figures", type=Path, metavar="DIR", help="copy each figure to DIR/NAME.png as well")
    args = parser.parse_args(arguments)
    console = Console() if sys.stdout.isatty() else Console(width=140)
    if not args.names:
        width = max(map(len, known))
        console.print("\n".join(f"{name:{width}}  {claim}" for name, claim in known.items()), soft_wrap=True)
        return 0
    names = list(known) if "all" in args.names else list(dict.fromkeys(args.names))
    unknown = [name for name in names if name not in known]
    if unknown:
        parser.error(f"no study is named {', '.join(unknown)}; there are: {', '.join(known)}")
    if args.seeds is not None and args.seeds < 1:
        parser.error(f"--seeds {args.seeds}: at least 1")
    failed = []
    for name in names:
        study = load(name)
        changes = (study.FULL if args.full else {}) | _parsed(args.set, study, parser)
        changes |= {} if args.seeds is None else {"seeds": args.seeds}
        try:
            holds = conduct(name, replace(study(), **changes), args.out / name, console)
        except Exception:  # one study that breaks does not keep the others from running
            console.print_exception()
            holds = False
        if not holds:
            failed.append(name)
        if args.figures is not None and (args.out / name / "figure.png").exists():
            args.figures.mkdir(parents=True, exist_ok=True)
            shutil.copy(args.out / name / "figure.png", args.figures / f"{name}.png")
    if len(names) > 1:
        console.print(f"failed: {', '.join(failed)}" if failed else f"all {len(names)} hold")
    return int(bool(failed))


def _parsed(settings: Sequence[str], study: type[Study], parser: argparse.ArgumentParser) -> dict[str, Any]:
    known = [f.name for f in fields(study)]
    values = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        if name not in known:
            parser.error(f"--set {setting}: the parameters of {study.__name__} are {', '.join(known)}")
        try:
            values[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            parser.error(f"--set {setting}: the value must be a Python literal")
    return values


if __name__ == "__main__":
    raise SystemExit(main())
