"""The live parts: equal to the package, and used as readers use them, from disk."""

from __future__ import annotations

import functools
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import chapters as toc
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from live_counts import LETTERS, count_pairs, letters_only
from playwright.sync_api import Browser, BrowserContext, Page, expect
from test_pages import AXE
from views import VIEWS, View

from mini_gpt import BPETokenizer, SampleConfig, from_pretrained, generate
from mini_gpt.sampling import apply_rules
from mini_gpt.support.corpus import load_documents
from rendered import ROOT

Visit = Callable[[str], Page]
LIVE = ROOT / "book" / "_static" / "live"
PROMPT = "ROMEO.\nBut soft, what light through yonder window breaks?"
# Letters of several scripts, white space of all kinds, signs, and what is rarely typed.
ALPHABET = [
    *map(chr, range(1, 0x250)),
    *map(chr, range(0x370, 0x400)),
    *map(chr, range(0x900, 0x970)),
    *"你好世界\u2028\u0085\u200d\ufeff\U0001f600",
]


@pytest.fixture(scope="module")
def engine(site: Path, browser: Browser) -> Iterator[Page]:
    """A page with the engine and the shipped weights, and nothing else."""
    page = browser.new_page()
    for name in ("model.js", "weights.js"):
        page.add_script_tag(content=(site / "_static" / "live" / name).read_text(encoding="utf-8"))
    page.evaluate("""() => {
      const { config, tokens, data } = window.LIVE_WEIGHTS;
      window.live = liveEngine();
      const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
      window.model = new live.Model(config, live.readTensors(bytes.buffer));
      window.tokenizer = new live.Tokenizer(tokens);
    }""")
    yield page
    page.close()


@pytest.fixture(scope="module")
def shipped() -> tuple[Any, Any]:
    return from_pretrained("shakespeare")


class TestEngine:
    def test_ids_are_the_packages_on_2000_texts(self, engine: Page, shipped: Any) -> None:
        _, tokenizer = shipped
        choose = random.Random(0)
        words = [*"  \n\t'", "the", "'ll", " ROMEO", "12", "é", "..."]
        texts = [
            "".join(
                choose.choice(ALPHABET if choose.random() < 0.5 else words)
                for _ in range(choose.randrange(40))
            )
            for _ in range(2000)
        ]
        theirs = engine.evaluate("texts => texts.map((text) => tokenizer.encode(text))", texts)
        ours = [list(map(int, tokenizer.encode(text))) for text in texts]
        assert [
            text for text, one, other in zip(texts, ours, theirs, strict=True) if one != other
        ] == []

    def test_decoding_gives_the_text_back(self, engine: Page) -> None:
        texts = ["ROMEO. 你好, é", "a\n\n b", ""]
        back = "texts => texts.map((text) => tokenizer.decode(tokenizer.encode(text)))"
        assert engine.evaluate(back, texts) == texts

    def test_logits_are_the_packages_to_a_thousandth(self, engine: Page, shipped: Any) -> None:
        model, tokenizer = shipped
        ids = list(map(int, tokenizer.encode(PROMPT)))
        with torch.no_grad():
            ours = model(torch.tensor([ids]))[0]
        steps = (
            "ids => { const c = model.newCache(); return ids.map((id) => [...model.step(id, c)]); }"
        )
        theirs = torch.tensor(engine.evaluate(steps, ids))
        assert theirs.shape == ours.shape
        assert (theirs - ours).abs().max() < 1e-3

    def test_greedy_text_is_the_packages_for_200_tokens(self, engine: Page, shipped: Any) -> None:
        model, tokenizer = shipped
        ids = list(map(int, tokenizer.encode(PROMPT)))
        settings = SampleConfig(max_new_tokens=200, temperature=0.0)
        ours = generate(model, tokenizer, [PROMPT], settings)[0].text
        write = """([ids, count]) => {
          const cache = model.newCache();
          let logits, text = [];
          for (const id of ids) logits = model.step(id, cache);
          for (let step = 0; step < count; step++) {
            text.push(live.draw(live.shape(logits, { temperature: 0 }), 0));
            logits = model.step(text.at(-1), cache);
          }
          return tokenizer.decode(text);
        }"""
        assert engine.evaluate(write, [ids, 200]) == ours

    def test_a_trained_tokenizer_is_the_packages(self, engine: Page) -> None:
        text = (ROOT / "README.md").read_text(encoding="utf-8")[:6000]
        ours = BPETokenizer.train(text, vocab_size=360)
        train = "text => live.Tokenizer.train(text, 359).encode(text)"
        assert engine.evaluate(train, text) == list(map(int, ours.encode(text)))

    @pytest.mark.parametrize(
        ("rules", "ours"),
        [
            ({"temperature": 0.7}, {"temperature": 0.7}),
            ({"temperature": 1.5, "topK": 7}, {"temperature": 1.5, "top_k": 7}),
            ({"topP": 0.8}, {"temperature": 1.0, "top_p": 0.8}),
            ({"topK": 20, "topP": 0.6}, {"temperature": 1.0, "top_k": 20, "top_p": 0.6}),
            ({"minP": 0.1}, {"temperature": 1.0, "min_p": 0.1}),
            ({"temperature": 0}, {"temperature": 0.0}),
        ],
    )
    def test_rules_leave_what_the_package_leaves(
        self, engine: Page, rules: dict[str, float], ours: dict[str, Any]
    ) -> None:
        logits = torch.randn(1, 50, generator=torch.Generator().manual_seed(1)) * 2
        right = apply_rules(logits, SampleConfig(**ours)).softmax(-1)[0]
        shape = "([logits, rules]) => [...live.shape(Float32Array.from(logits), rules)]"
        theirs = engine.evaluate(shape, [logits[0].tolist(), rules])
        assert np.allclose(theirs, right.numpy(), atol=1e-5)

    def test_the_counted_table_is_the_chapters(self) -> None:
        stored = (LIVE / "counts.js").read_text(encoding="utf-8").partition(" = ")[2]
        table = json.loads(stored.rstrip(";\n"))
        text = letters_only("\n\n".join(load_documents("shakespeare")[:-4]))
        assert table["letters"] == LETTERS
        assert table["counts"] == count_pairs(text)


def live(page: Page, widget: str) -> Any:
    """A live part, scrolled to and filled."""
    part = page.locator(f".live[data-widget={widget}]")
    part.scroll_into_view_if_needed()
    expect(part).to_have_attribute("data-ready", "")
    return part


class TestWidgets:
    def test_tokens(self, visit: Visit) -> None:
        part = live(visit(toc.chapter("bpe").page), "tokens")
        part.locator("textarea").fill("the cat, the cat")
        slider = part.get_by_role("slider", name="merges")
        slider.fill("0")
        expect(part.locator(".token")).to_have_count(16)
        slider.fill("60")
        assert part.locator(".token").count() < 8
        slider.focus()
        slider.press("ArrowLeft")
        expect(part.locator("output")).to_have_text("59")
        part.locator("textarea").fill("é")
        slider.fill("0")
        expect(part.locator(".token")).to_have_text(["c3", "a9"])

    def test_tokens_without_a_cut_reach_across_words(self, visit: Visit) -> None:
        part = live(visit(toc.chapter("tokenizer").page), "tokens")
        part.get_by_role("slider", name="merges").fill("120")
        part.locator("select").select_option("none")
        texts = part.locator(".token").all_text_contents()
        assert any("␣" in text.strip("␣") for text in texts)

    def test_counting(self, visit: Visit) -> None:
        part = live(visit(toc.chapter("loss").page), "counting")
        part.get_by_role("button", name="q", exact=True).hover()
        expect(part.locator(".live-bars .name").first).to_have_text("u")
        part.get_by_role("button", name="sixty letters").click()
        assert len(part.locator(".live-text").inner_text()) >= 59
        part.get_by_role("slider", name="temperature").fill("0.1")
        part.get_by_role("button", name="q", exact=True).focus()
        expect(part.locator(".live-bars .number").first).to_have_text("1.000")

    def test_she(self, visit: Visit) -> None:
        part = live(visit(toc.chapter("attention").page), "she")
        numbers = part.locator(".live-bars .number")
        expect(numbers.first).to_have_text("4.00 → 0.76")
        part.get_by_role("slider", name="divide by").fill("2")
        expect(numbers.first).to_have_text("2.00 → 0.50")
        part.get_by_role("checkbox", name="Ann").uncheck()
        expect(numbers.first).to_have_text("−∞ → 0.00")

    def test_hands(self, visit: Visit) -> None:
        part = live(visit(toc.chapter("position").page), "hands")
        said = part.locator(".live-note")
        product = said.inner_text().split("product is ")[1]
        part.get_by_role("button", name="both one on").click()
        expect(said).to_contain_text("Query at 6, key at 3, 3 apart")
        assert said.inner_text().split("product is ")[1] == product
        part.get_by_role("slider", name="position of the key").fill("0")
        assert said.inner_text().split("product is ")[1] != product

    def test_sampling(self, visit: Visit, shipped: Any) -> None:
        model, tokenizer = shipped
        part = live(visit(toc.chapter("sampling").page), "sampling")
        part.get_by_role("button", name="Ask the model").click()
        rows = part.locator(".live-bars .row")
        expect(rows).to_have_count(10)
        with torch.no_grad():
            logits = model(torch.tensor([tokenizer.encode("ROMEO. But soft, what")]))[0, -1]
        best = tokenizer.decode([int(logits.argmax())])
        expect(rows.first.locator(".name")).to_have_text(best.replace(" ", "␣"))
        part.get_by_role("slider", name="top-k").fill("3")
        expect(part).to_contain_text("3 tokens are left in play")
        part.get_by_role("slider", name="temperature").fill("0")
        expect(rows.first.locator(".number")).to_contain_text("→ 100.0%")
        rows.nth(1).click()
        expect(part.locator(".live-text")).to_contain_text("ROMEO. But soft, what")
        part.get_by_role("button", name="draw forty").click()
        written = "() => document.querySelector('.live .live-text').textContent.length > 60"
        part.page.wait_for_function(written)

    def test_inside(self, visit: Visit, shipped: Any) -> None:
        model, tokenizer = shipped
        part = live(visit(toc.chapter("inspection").page), "inside")
        text = part.get_by_role("textbox", name="Sentence").input_value()
        part.get_by_role("button", name="Look inside").click()
        ids = torch.tensor([tokenizer.encode(text)])
        tokens = part.locator(".live-tokens .token")
        expect(tokens).to_have_count(ids.shape[1])
        with torch.no_grad():
            loss = float(F.cross_entropy(model(ids)[0, :-1], ids[0, 1:]))
        note = part.locator(".live-note").first
        expect(note).to_contain_text(f"Mean loss: {loss:.3f} nats")
        part.get_by_role("checkbox", name="head 0.3").check()
        expect(note).to_contain_text("without head 0.3")
        tokens.nth(2).click()
        expect(part).to_contain_text("where position 2 ")
        part.get_by_role("slider", name="layer").fill("3")
        expect(part).to_contain_text("Layer 3, head 0")

    def test_cover(self, visit: Visit) -> None:
        part = live(visit("book/index"), "cover")
        part.get_by_role("button", name="Let it write").click()
        part.get_by_role("button", name="KING HENRY").click()
        expect(part.locator(".live-text")).to_contain_text("KING HENRY. Once more")
        part.page.wait_for_function(
            "() => document.querySelector('.live .live-text').textContent.length > 120"
        )


class TestManners:
    def test_weights_are_not_loaded_before_they_are_asked_for(self, site: Path, page: Page) -> None:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto((site / f"{toc.chapter('sampling').page}.html").as_uri())
        live(page, "sampling")
        assert not any("weights.js" in url for url in asked)
        page.locator(".live button").first.click()
        expect(page.locator(".live .live-bars .row").first).to_be_visible()
        assert sum("weights.js" in url for url in asked) == 1
        assert all(url.startswith(("file:", "blob:", "data:")) for url in asked)

    def test_works_over_http_too(self, site: Path, browser: Browser) -> None:
        handler = functools.partial(SimpleHTTPRequestHandler, directory=str(site))
        handler.log_message = lambda *_: None  # type: ignore[attr-defined]
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = browser.new_page()
        try:
            address = f"http://127.0.0.1:{server.server_port}"
            page.goto(f"{address}/{toc.chapter('sampling').page}.html")
            live(page, "sampling").get_by_role("button", name="Ask the model").click()
            expect(page.locator(".live .live-bars .row").first).to_be_visible(timeout=20_000)
        finally:
            page.close()
            server.shutdown()

    def test_without_scripts_there_is_a_text(self, site: Path, browser: Browser) -> None:
        plain = browser.new_context(java_script_enabled=False)
        page = plain.new_page()
        page.goto((site / f"{toc.chapter('attention').page}.html").as_uri())
        expect(page.locator(".live-still")).to_contain_text("With scripts switched on")
        plain.close()

    @pytest.mark.parametrize("view", VIEWS, ids=lambda view: f"{view.mode}-{view.width}")
    def test_fits_and_is_accessible(
        self, site: Path, context: Callable[[View], BrowserContext], view: View
    ) -> None:
        page = context(view).new_page()
        for stem in ("bpe", "loss", "position", "attention"):
            page.goto((site / f"{toc.chapter(stem).page}.html").as_uri())
            part = page.locator(".live").first
            part.scroll_into_view_if_needed()
            expect(part).to_have_attribute("data-ready", "")
            wide = part.evaluate(
                "box => [...box.querySelectorAll('*')].filter((inner) => inner"
                ".getBoundingClientRect().right > box.getBoundingClientRect().right + 1).length"
            )
            assert wide == 0, stem
            page.evaluate(AXE.read_text(encoding="utf-8"))
            result = page.evaluate("axe.run('.live', {preload: false})")
            serious = [
                (violation["id"], node["html"][:120])
                for violation in result["violations"]
                if violation["impact"] in ("serious", "critical")
                for node in violation["nodes"]
            ]
            assert serious == [], stem
        page.close()

    def test_the_first_answer_comes_soon(self, visit: Visit) -> None:
        """Seconds are printed; only an answer that no reader would wait for is a fault."""
        part = live(visit(toc.chapter("sampling").page), "sampling")
        start = time.perf_counter()
        part.get_by_role("button", name="Ask the model").click()
        expect(part.locator(".live-bars .row").first).to_be_visible(timeout=20_000)
        print(f"first answer after {time.perf_counter() - start:.2f} s")
