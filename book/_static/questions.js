// Small questions: an answer is checked here, with a reason, and kept in this browser only.

document.addEventListener("DOMContentLoaded", () => {
  const store = {
    key: (form) => `question:${location.pathname.split("/").pop()}#${form.id}`,
    // A page from disk may be without storage; then nothing is kept.
    read: (form) => { try { return localStorage.getItem(store.key(form)); } catch { return null; } },
    write: (form, value) => { try { localStorage.setItem(store.key(form), value); } catch { /* not kept */ } },
  };

  // A number as people write it: 196,608 or 196 608, 7,39 or 7.39, and a minus sign of any kind.
  const plain = (text) => {
    const written = text.trim().replace(/[−–]/g, "-").replace(/[\s_]/g, "");
    const grouped = /^-?[1-9]\d{0,2}(,\d{3})+(\.\d+)?$/.test(written);
    return grouped ? written.replaceAll(",", "") : written.replace(",", ".");
  };

  for (const form of document.querySelectorAll("form.question")) {
    const { kind, answer, tolerance } = JSON.parse(form.dataset.question);
    const said = form.querySelector(".question-said");
    const folded = form.querySelector("details");
    const reasons = [...folded.querySelectorAll("li")];
    const inputs = [...form.querySelectorAll("input, select")];

    const given = () => {
      if (kind === "options") return form.querySelector("input:checked")?.value ?? "";
      if (kind === "number") return plain(inputs[0].value);
      const ranks = inputs.map((select) => Number(select.value));
      return ranks.includes(0) ? "" : [...inputs].sort((one, other) => one.value - other.value).map((select) => select.dataset.item).join("|");
    };
    const isRight = (value) =>
      kind === "options" ? Number(value) === answer
      : kind === "number" ? value !== "" && Math.abs(Number(value) - answer) <= tolerance + 1e-12
      : value === answer.join("|");
    const check = () => {
      const value = given();
      said.replaceChildren();
      if (value === "" || (kind === "number" && Number.isNaN(Number(value)))) {
        said.textContent = kind === "number" ? "Give a number." : "Choose first.";
        return;
      }
      if (kind === "order" && new Set(inputs.map((select) => select.value)).size < inputs.length) {
        said.textContent = "Each place is given once.";
        return;
      }
      const right = isRight(value);
      form.dataset.result = right ? "right" : "wrong";
      const word = document.createElement("strong");
      word.textContent = right ? "Right. " : "Not so. ";
      const why = document.createElement("span");
      if (kind === "options") why.append(...[...reasons[Number(value)].childNodes].map((node) => node.cloneNode(true)));
      else if (right) why.append(...[...reasons[0].childNodes].map((node) => node.cloneNode(true)));
      else why.textContent = "Try once more, or open the answer.";
      said.append(word, why);
      store.write(form, right ? "right" : "tried");
    };

    const button = document.createElement("button");
    button.type = "submit";
    button.textContent = "Check";
    form.insertBefore(button, said);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      check();
    });
    const before = store.read(form);
    if (before === "right") {
      form.dataset.result = "right";
      said.textContent = "You have answered this one.";
    }
  }
});
