// Two things that the theme leaves to us. No framework, and nothing is fetched.

// A page that was opened from disk may not read other files, and the search page's summaries would try
// to. Without them the search still finds and lists everything.
if (window.location.protocol === "file:") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}

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
