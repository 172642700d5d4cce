// What the theme leaves to us. No framework, and nothing is fetched.

// What is wide scrolls in its own box. The keyboard must reach it too, so a box that has something to
// scroll becomes a stop of the Tab key, and is none when it has not.
function markScrollable() {
  const boxes = document.querySelectorAll("pre, .math, .pst-scrollable-table-container");
  for (const box of boxes) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}

window.addEventListener("load", () => {
  // Formulas take their size when MathJax is done.
  const typeset = window.MathJax?.startup?.promise ?? Promise.resolve();
  typeset.then(markScrollable);
  window.addEventListener("resize", markScrollable);
  // What was folded has no width until it is shown.
  document.addEventListener("click", () => setTimeout(markScrollable, 50));
});

// ---- code on a narrow screen -------------------------------------------------------------------
// Each line becomes a box of its own, which the style sheet lets wrap, with a mark where it goes on.
// Outputs keep their columns, unless a line is longer than any table of the book.

const LONGEST_ROW = 100;

function boxLines(pre) {
  const lines = [document.createElement("span")];
  for (const node of [...pre.childNodes])
    for (const [place, text] of node.textContent.split("\n").entries()) {
      if (place) lines.push(document.createElement("span"));
      const part = node.nodeType === Node.TEXT_NODE ? new Text(text) : node.cloneNode(false);
      if (node.nodeType !== Node.TEXT_NODE) part.textContent = text;
      if (text) lines.at(-1).append(part);
    }
  if (!lines.at(-1).childNodes.length) lines.pop(); // the text ends with a line break
  for (const line of lines) {
    line.className = "code-line";
    line.append("\n"); // copied with the line
  }
  pre.replaceChildren(...lines);
  pre.classList.add("lines");
}

const narrow = window.matchMedia("(max-width: 700px)");

function wrapLines() {
  if (narrow.matches)
    document.querySelectorAll("div.highlight pre:not(.lines)").forEach((pre) => {
      if (!pre.closest(".cell_output")) boxLines(pre);
    });
}

function wrapLongOutputs() {
  document.querySelectorAll("div.cell_output pre:not(.lines)").forEach((pre) => {
    const long = pre.textContent.split("\n").some((line) => line.length > LONGEST_ROW);
    if (long && !pre.querySelector("*:not(span)")) {
      boxLines(pre);
      pre.classList.add("wide");
    }
  });
}

// ---- docstrings of exported cells ------------------------------------------------------------------
// What a docstring says of arguments and errors is folded behind a button; what it does stays.

const SECTION = /^\s*(Args|Attributes|Returns|Yields|Raises|Example):\s*$/;

function foldDocstrings() {
  for (const pre of document.querySelectorAll("div.cell.exported > div.cell_input pre")) {
    if (!/\b(Args|Attributes|Returns|Yields|Raises|Example):\n/.test(pre.textContent)) continue;
    if (!pre.classList.contains("lines")) boxLines(pre);
    let fold = null;
    for (const line of [...pre.children]) {
      const said = line.textContent;
      if (fold && said.trim() === '"""') fold = null;
      if (!fold && SECTION.test(said) && line.querySelector(".sd")) {
        fold = document.createElement("span");
        fold.className = "doc-rest";
        fold.hidden = true;
        const button = document.createElement("button");
        button.className = "doc-fold";
        button.type = "button";
        button.setAttribute("aria-expanded", "false");
        button.dataset.names = "";
        button.style.marginLeft = `${said.search(/\S/)}ch`;
        const rest = fold;
        button.addEventListener("click", () => {
          rest.hidden = !rest.hidden;
          button.setAttribute("aria-expanded", String(!rest.hidden));
        });
        line.before(button, fold);
      }
      if (fold) {
        if (SECTION.test(said)) {
          const button = fold.previousElementSibling;
          button.dataset.names += `${button.dataset.names && ", "}${said.trim().slice(0, -1)}`;
          button.setAttribute("aria-label", `More of the docstring: ${button.dataset.names}`);
        }
        fold.append(line);
      }
    }
  }
}

// ---- terms and symbols -------------------------------------------------------------------------
// Where a section first mentions one, it is a link with its meaning as the title. The meaning is shown
// in a box on hover and on focus; a tap shows it first, and a second tap follows the link.

function showMeanings() {
  const box = document.createElement("div");
  box.className = "meaning";
  box.id = "meaning";
  box.setAttribute("role", "tooltip");
  box.hidden = true;
  document.body.append(box);
  let shown = null;
  const hide = () => {
    shown?.removeAttribute("aria-describedby");
    shown = null;
    box.hidden = true;
  };
  const show = (term) => {
    if (shown === term) return;
    hide();
    shown = term;
    box.textContent = term.dataset.meaning;
    box.hidden = false;
    term.setAttribute("aria-describedby", box.id);
    const place = term.getBoundingClientRect();
    const left = Math.min(place.left, document.documentElement.clientWidth - box.offsetWidth - 8);
    box.style.left = `${Math.max(8, left) + window.scrollX}px`;
    const above = place.top - box.offsetHeight - 6;
    box.style.top = `${(above > 60 ? above : place.bottom + 6) + window.scrollY}px`;
  };
  for (const term of document.querySelectorAll("a.term")) {
    term.dataset.meaning = term.title;
    term.removeAttribute("title");
    if (term.querySelector(".math")) term.setAttribute("aria-label", term.dataset.meaning);
    term.addEventListener("mouseenter", () => show(term));
    term.addEventListener("mouseleave", hide);
    term.addEventListener("focus", () => show(term));
    term.addEventListener("blur", hide);
    let touched = false;
    term.addEventListener("pointerdown", (event) => {
      touched = event.pointerType === "touch" && shown !== term;
    });
    term.addEventListener("click", (event) => {
      if (touched) {
        event.preventDefault();
        show(term);
      }
      touched = false;
    });
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide();
  });
}

// ---- the arrow keys turn the pages ---------------------------------------------------------------
// Not where a key has a use already: in a field, on a slider, in a box that scrolls.

document.addEventListener("keydown", (event) => {
  const way = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
  if (!way || event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const focused = document.activeElement;
  if (focused?.closest("input, textarea, select, dialog, [tabindex], [contenteditable], [role]:not(main)")) return;
  document.querySelector(`.prev-next-footer a.${way === "prev" ? "left" : "right"}-${way}`)?.click();
});

document.addEventListener("DOMContentLoaded", () => {
  wrapLongOutputs();
  foldDocstrings();
  wrapLines();
  narrow.addEventListener("change", wrapLines);
  showMeanings();
});

// ---- on paper --------------------------------------------------------------------------------------
// What is folded is opened for the printer, and folded again afterwards.

let openedForPaper = [];

window.addEventListener("beforeprint", () => {
  openedForPaper = [...document.querySelectorAll(".bd-article details:not([open])")];
  for (const fold of openedForPaper) fold.open = true;
});

window.addEventListener("afterprint", () => {
  for (const fold of openedForPaper) fold.open = false;
  openedForPaper = [];
});
