// The widgets that need no model: tokens, the counted table, she, the turning hands.

(() => {
  "use strict";
  const { widgets, element, slider, choice, button, bars, visible } = Live;
  const engine = liveEngine();

  // ---- tokens: a text, its pieces, and how many merges have been learned -----------------------------

  const SAMPLE =
    "the cat sat on the mat, and the cat ate. the rat sat there, and the cat that sat there ate the rat. " +
    "thou art that cat, thou art the hat that the rat hath eaten. ";

  widgets.tokens = (body) => {
    let pattern = "GPT-2";
    let merges = 20;
    const text = element("textarea", { rows: 3, "aria-label": "Your text", maxlength: 2000 });
    text.value = SAMPLE.slice(0, 100);
    const shown = element("p", { class: "live-tokens", "aria-live": "polite" });
    const counted = element("p", { class: "live-note" });
    let learned = null;
    // Merges come from the sample and the reader's own text, so that every text has some.
    const learn = () => (learned = engine.Tokenizer.train(SAMPLE.repeat(4) + text.value, 256 + 120, pattern));
    const draw = () => {
      const part = new engine.Tokenizer([], pattern);
      part.bytes = learned.bytes.slice(0, 256 + merges);
      part.ids = new Map([...learned.ids].filter(([, id]) => id < 256 + merges));
      const ids = part.encode(text.value);
      shown.replaceChildren(
        ...ids.map((id, place) => {
          const bytes = part.bytes[id];
          const name = new TextDecoder().decode(bytes);
          const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
          const label = name.includes("�") ? hex : visible(name);
          return element("span", { class: `token tone-${place % 3}`, title: `id ${id}, bytes ${hex}`, text: label });
        }),
      );
      const size = new TextEncoder().encode(text.value).length;
      counted.textContent = ids.length
        ? `${size} bytes, ${ids.length} tokens: ${(size / ids.length).toFixed(2)} bytes a token. ` +
          `Ids: ${ids.slice(0, 24).join(" ")}${ids.length > 24 ? " …" : ""}`
        : "Type something.";
    };
    text.addEventListener("input", () => { learn(); draw(); });
    const count = slider("merges", { min: 0, max: 120, value: merges }, (value) => { merges = value; draw(); });
    const cut = choice("cut first by", { "GPT-2": "GPT-2's pattern", words: "white space", none: "nothing" }, (value) => {
      pattern = value;
      learn();
      draw();
    });
    body.append(text, count.box, cut.box, shown, counted);
    learn();
    draw();
  };

  // ---- the counted table -----------------------------------------------------------------------------

  widgets.counting = async (body) => {
    if (!window.LIVE_COUNTS) await Live.script("counts.js");
    const { letters, counts } = window.LIVE_COUNTS;
    const rows = counts.map((row) => row.map((count) => count + 1)); // as in the chapter: nothing is impossible
    let chosen = letters.indexOf("t");
    let heat = 1;
    let dart = engine.darts(1);
    let written = "";
    const shares = (row) => {
      const powers = rows[row].map((count) => count ** (1 / heat));
      const sum = powers.reduce((one, other) => one + other, 0);
      return powers.map((power) => power / sum);
    };
    const table = element("div", { class: "live-table", role: "group", "aria-label": "The rows of the table" });
    const row = element("div", { "aria-live": "polite" });
    const text = element("p", { class: "live-text" });
    const name = (letter) => (letter === " " ? "␣" : letter);
    const draw = () => {
      const all = letters.split("").map((letter, place) => ({ name: name(letter), share: shares(chosen)[place] }));
      const best = all.sort((one, other) => other.share - one.share).slice(0, 8);
      row.replaceChildren(element("p", { class: "live-note", text: `After ${name(letters[chosen])}:` }), bars(best));
      text.textContent = written || " ";
      [...table.children].forEach((cell, place) => cell.setAttribute("aria-pressed", place === chosen));
    };
    for (const [place, letter] of [...letters].entries()) {
      const pick = () => { chosen = place; draw(); };
      table.append(element("button", { type: "button", text: name(letter), "aria-label": letter === " " ? "space" : letter, onclick: pick, onmouseenter: pick, onfocus: pick }));
    }
    const degree = slider("temperature", { min: 0.1, max: 3, step: 0.1, value: 1, show: (x) => x.toFixed(1) }, (value) => { heat = value; draw(); });
    const write = (count) => {
      for (let step = 0; step < count; step++) {
        chosen = engine.draw(shares(chosen), dart());
        written += letters[chosen];
      }
      written = written.slice(-400);
      draw();
    };
    const again = () => { written = ""; dart = engine.darts(Date.now()); draw(); };
    body.append(table, degree.box, row, element("div", { class: "live-row" }, button("one letter", () => write(1)), button("sixty letters", () => write(60)), button("start over", again)), text);
    draw();
  };

  // ---- she: one query, five keys -----------------------------------------------------------------------

  widgets.she = (body) => {
    const words = ["Ann", "met", "Tom", "and", "she"];
    const scores = [4, 0, 2, 0, 2];
    const seen = words.map(() => true);
    let divisor = 1;
    const rows = element("div", { "aria-live": "polite" });
    const draw = () => {
      const divided = scores.map((score, place) => (seen[place] ? score / divisor : -Infinity));
      const weights = engine.softmax(divided);
      rows.replaceChildren(bars(words.map((name, place) => ({
        name,
        share: weights[place],
        note: `${seen[place] ? divided[place].toFixed(2) : "−∞"} → ${weights[place].toFixed(2)}`,
      }))));
    };
    const one = slider("score of Ann", { min: -6, max: 10, step: 0.5, value: 4, show: (x) => x.toFixed(1) }, (value) => { scores[0] = value; draw(); });
    const by = slider("divide by", { min: 0.25, max: 8, step: 0.25, value: 1, show: (x) => x.toFixed(2) }, (value) => { divisor = value; draw(); });
    const mask = element("fieldset", { class: "live-row" }, element("legend", { text: "she may look at" }));
    words.forEach((word, place) => {
      const box = element("input", { type: "checkbox", checked: true, onchange: () => {
        if (!box.checked && seen.filter(Boolean).length === 1) box.checked = true; // something must be left
        seen[place] = box.checked;
        draw();
      } });
      mask.append(element("label", {}, box, ` ${word} `));
    });
    body.append(one.box, by.box, mask, rows);
    draw();
  };

  // ---- rotary hands ----------------------------------------------------------------------------------

  widgets.hands = (body) => {
    const width = 8;
    const svgSpace = "http://www.w3.org/2000/svg";
    const svg = (tag, attributes) => {
      const made = document.createElementNS(svgSpace, tag);
      for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
      return made;
    };
    const clocks = element("div", { class: "live-clocks" });
    const said = element("p", { class: "live-note", "aria-live": "polite" });
    let query = 5;
    let key = 2;
    const draw = () => {
      clocks.replaceChildren();
      let product = 0;
      for (let pair = 0; pair < width / 2; pair++) {
        const speed = 10000 ** ((-2 * pair) / width);
        const face = svg("svg", { viewBox: "-50 -50 100 118", role: "img" });
        const turns = (position) => ((position * speed) / (2 * Math.PI)) * 360;
        face.setAttribute("aria-label", `pair ${pair}: query ${turns(query).toFixed(0)} degrees, key ${turns(key).toFixed(0)} degrees`);
        face.append(svg("circle", { r: 44, class: "face" }));
        for (const [position, kind] of [[query, "query"], [key, "key"]]) {
          const angle = position * speed;
          face.append(svg("line", { x1: 0, y1: 0, x2: 40 * Math.cos(angle), y2: -40 * Math.sin(angle), class: `hand ${kind}` }));
        }
        const label = svg("text", { y: 64, "text-anchor": "middle" });
        label.textContent = `${speed >= 0.01 ? speed.toFixed(2) : speed.toFixed(3)} a step`;
        face.append(label);
        clocks.append(face);
        product += Math.cos((query - key) * speed);
      }
      const apart = query - key;
      said.textContent = `Query at ${query}, key at ${key}, ${apart} apart: their product is ${product.toFixed(3)}. Move both by the same step and it stays.`;
    };
    const one = slider("position of the query", { min: 0, max: 60, value: query }, (value) => { query = value; draw(); });
    const two = slider("position of the key", { min: 0, max: 60, value: key }, (value) => { key = value; draw(); });
    const both = (step) => {
      if (Math.min(query, key) + step < 0 || Math.max(query, key) + step > 60) return;
      query += step;
      key += step;
      one.value = query;
      two.value = key;
      draw();
    };
    body.append(one.box, two.box, element("div", { class: "live-row" }, button("both one back", () => both(-1)), button("both one on", () => both(1))), clocks, said);
    draw();
  };
})();
