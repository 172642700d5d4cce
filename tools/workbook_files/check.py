"""Try what you have written in a chapter, and say what comes next.

    python check.py attention                       export the chapter's cells, run its tests
    python check.py attention --hint                more about the first thing that is not right
    python check.py                                 all chapters that you have begun
    python check.py --use-solution bpe tokenizer    go on with the book's version of these
    python check.py --start-at attention            take the book's version of all before it

The cells that begin with `#| export` are written to `my_gpt/STEM.py`; what is finished is noted in
`progress.md`. `--all-tests` runs the slow ones too.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import inspect
import io
import json
import os
import re
import sys
import textwrap
from pathlib import Path

try:
    import pytest

except ModuleNotFoundError:
    pytest = None
if pytest is None or importlib.util.find_spec("mini_gpt") is None:
    sys.exit("what the tests need is not installed; run: pip install -r requirements.txt")

from cells import HERE, NOTEBOOKS, PACKAGE, Stuck, definitions, export, use_solution

PROGRESS = HERE / "progress.json"
UNWRITTEN = re.compile(r"write ([\w.]+)$")  # what a stub's error says
MOST_LINES = 12  # of a failing test's message


# ---- testing -------------------------------------------------------------------------------------


class Results:
    """What pytest found, in words; a plugin of it."""

    def __init__(self) -> None:
        self.passed: dict[str, int] = {}
        self.failed: list[tuple[str, str, str, str]] = []  # stem, test, message, its source
        self.waiting: dict[str, list[str]] = {}  # what is not written: tests that need it
        self.stuck = ""

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: object) -> None:
        """Import your package once jaxtyping watches its shapes."""
        try:
            importlib.import_module("my_gpt")
        except Exception as error:
            self.stuck = f"your package does not import: {told(error)}{reader_line(error)}"
            raise pytest.exit.Exception(self.stuck) from None

    def pytest_runtest_makereport(self, item: object, call: object) -> None:
        stem = item.path.stem.removeprefix("test_")
        if call.excinfo is None:
            if call.when == "call":
                self.passed[stem] = self.passed.get(stem, 0) + 1
        elif not call.excinfo.errisinstance((pytest.skip.Exception, pytest.xfail.Exception)):
            self.note(stem, words(item.nodeid), call.excinfo.value, source_of(item.function))

    def pytest_collectreport(self, report: object) -> None:
        if report.failed:
            stem = Path(report.nodeid.split("::")[0]).stem.removeprefix("test_")
            lines = str(report.longrepr).strip().splitlines()
            text = next((one[4:] for one in reversed(lines) if one.startswith("E ")), lines[-1])
            match = UNWRITTEN.search(text)
            if match:
                self.waiting.setdefault(match[1], []).append("what the tests share")
            else:
                self.failed.append((stem, "what the tests share", text, ""))

    def note(self, stem: str, test: str, error: BaseException, source: str) -> None:
        """Tell a stub that was called from what is wrong."""
        cause: BaseException | None = error
        while cause is not None:
            match = UNWRITTEN.search(str(cause))
            if isinstance(cause, NotImplementedError) and match:
                self.waiting.setdefault(match[1], []).append(test)
                return
            cause = cause.__cause__ or cause.__context__
        self.failed.append((stem, test, told(error) + reader_line(error), source))


def words(nodeid: str) -> str:
    """A test's name as a sentence: `TestX::test_a_row_sums_to_one[3]` says "a row sums to one"."""
    name, _, case = nodeid.split("::")[-1].removeprefix("test_").partition("[")
    return name.replace("_", " ") + (f" (case {case.rstrip(']')})" if case else "")


def told(error: BaseException) -> str:
    said = (str(error) or "no message").replace("Use -v to get more diff", "")
    lines = [line for line in said.splitlines() if line.strip()]
    cut = lines[:MOST_LINES] + ["..."] * (len(lines) > MOST_LINES)
    kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
    return kind + "\n    ".join(cut)


def reader_line(error: BaseException) -> str:
    """The innermost line of your own code in an error's traceback."""
    place, trace = "", error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if Path(code.co_filename).parent == PACKAGE and not code.co_filename.endswith(
            "__init__.py"
        ):
            lines = Path(code.co_filename).read_text(encoding="utf-8").splitlines()
            line = lines[trace.tb_lineno - 1].strip()
            place = f"\n    in {Path(code.co_filename).stem}.{code.co_name}: {line}"
        trace = trace.tb_next
    return place


def source_of(function: object) -> str:
    with contextlib.suppress(OSError, TypeError):
        inner = getattr(getattr(function, "hypothesis", None), "inner_test", function)
        return inspect.getsource(inspect.unwrap(inner))
    return ""


def run_tests(stems: list[str], all_tests: bool) -> Results:
    """Run the chapters' tests against your package.

    Raises:
        Stuck: if it cannot be imported.
    """
    os.environ["MY_GPT_UNDER_TEST"] = " ".join(stems)
    sys.path[:0] = [str(HERE)]
    results = Results()
    files = [str(HERE / "tests" / f"test_{stem}.py") for stem in stems]
    options = ["-q", "--no-header", "-p", "no:cacheprovider", "--tb=short"]
    options += ["--continue-on-collection-errors"]
    options += ["--rootdir", str(HERE), "-c", str(HERE / "pytest.ini")]
    options += [] if all_tests else ["-m", "not slow"]
    with contextlib.redirect_stdout(io.StringIO()):
        pytest.main([*options, *files], plugins=[results])
    if results.stuck:
        raise Stuck(results.stuck)
    return results


# ---- telling -------------------------------------------------------------------------------------


def read_progress() -> dict[str, dict[str, str]]:
    kept = json.loads(PROGRESS.read_text(encoding="utf-8")) if PROGRESS.is_file() else {}
    return {"done": {}, **kept}


def report(stem: str, results: Results, hint: bool) -> bool:
    """Say how a chapter stands; returns whether it is done."""
    asked = definitions(stem)
    left = [name for name, (_, _, written) in asked.items() if not written]
    failed = [one for one in results.failed if one[0] == stem]
    passed = results.passed.get(stem, 0)
    print(f"{NOTEBOOKS[stem].stem}: {len(asked) - len(left)} of {len(asked)} written, ", end="")
    print(f"{passed} tests pass" + (f", {len(failed)} fail" if failed else ""))
    if failed:
        _, test, message, source = failed[0]
        print(f'  not yet: "{test}"\n    {message}')
        if hint and source:
            print("  the test:\n\n" + indented(source))
    if left:
        place, text, _ = asked[left[0]]
        print(f"  next: {left[0]}, in section {place.section!r} of {NOTEBOOKS[stem].name}")
        print(indented(text if hint else text.split("\n\n")[0]))
    elif helpers := sorted(name for name in results.waiting if name not in asked):
        test = results.waiting[helpers[0]][0]
        print(f'  next: {helpers[0]}, which is called in "{test}", or code that does without it')
    if (failed or left) and not hint:
        print(f"  more: python check.py {stem} --hint")
    return not failed and not left and passed > 0 and not results.waiting


def indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in textwrap.dedent(text).splitlines())


def note_progress(kept: dict[str, dict[str, str]]) -> None:
    """Write what is finished, for programs and for you."""
    PROGRESS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    rows, following = [], ""
    for stem, path in NOTEBOOKS.items():
        asked = definitions(stem)
        written = sum(one[2] for one in asked.values())
        state = kept["done"].get(stem, "begun" if written else "")
        if state == "begun" and written == len(asked):
            state = "to be checked"
        count = "" if state == "the book's" else f"{written} of {len(asked)}"
        rows.append(f"| [{path.stem}]({path.name}) | {state} | {count} |")
        left = [name for name, one in asked.items() if not one[2]]
        if not following and left and stem not in kept["done"]:
            place, text, _ = asked[left[0]]
            first = " ".join(text.split("\n\n")[0].split())
            following = f"**Next:** `{left[0]}`, section *{place.section}* of [{path.stem}]"
            following += f"({path.name}). {first}"
    own = sum(state == "done" for state in kept["done"].values())
    lent = len(kept["done"]) - own
    said = f"{own} of {len(NOTEBOOKS)} chapters are yours" + (f", {lent} the book's" * bool(lent))
    head = ["# Progress", "", f"{said}.", "", following, "", "| chapter | state | written |"]
    text = "\n".join([*head, "|---|---|---|", *rows]) + "\n"
    HERE.joinpath("progress.md").write_text(text, encoding="utf-8")


def known(stems: list[str]) -> list[str]:
    """The stems, in the order of the book.

    Raises:
        Stuck: if one is of no chapter.
    """
    for stem in stems:
        if stem not in NOTEBOOKS:
            raise Stuck(f"there is no chapter {stem!r}; there are {', '.join(NOTEBOOKS)}")
    return [stem for stem in NOTEBOOKS if stem in stems]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stems", nargs="*", metavar="CHAPTER")
    parser.add_argument("--hint", action="store_true")
    parser.add_argument("--all-tests", action="store_true")
    parser.add_argument("--use-solution", nargs="+", default=[], metavar="CHAPTER")
    parser.add_argument("--start-at", metavar="CHAPTER")
    given = parser.parse_args()
    kept = read_progress()
    try:
        lent = known(given.use_solution)
        if given.start_at:
            order = list(NOTEBOOKS)
            before = order[: order.index(known([given.start_at])[0])]
            lent += [stem for stem in before if stem not in kept["done"]]
        for stem in lent:
            use_solution(stem)
            kept["done"][stem] = "the book's"
        stems = known(given.stems)
        if not stems and not lent:
            begun = [s for s in NOTEBOOKS if any(one[2] for one in definitions(s).values())]
            stems = [stem for stem in begun if kept["done"].get(stem) != "the book's"]
            if not stems:
                raise Stuck(
                    f"nothing is written yet: begin with {next(iter(NOTEBOOKS.values())).name}"
                )
        for stem in stems:
            export(stem)
        results = run_tests(stems, given.all_tests) if stems else Results()
        done = {stem: report(stem, results, given.hint) for stem in stems}
    except Stuck as fault:
        print(fault)
        return 1
    kept["done"] = {s: state for s, state in kept["done"].items() if s not in done}
    kept["done"] |= {stem: "done" for stem, right in done.items() if right}
    note_progress(kept)
    print(f"{len(kept['done'])} of {len(NOTEBOOKS)} chapters; see progress.md")
    return int(not all(done.values()))


if __name__ == "__main__":
    sys.exit(main())
