// What the widgets share: elements, sliders, bars, and the model in a worker. A widget is a function that
// fills a box; it is registered under the name that the box asks for, and runs when the box is first seen.

const Live = (() => {
  "use strict";
  const widgets = {};
  const folder = new URL(".", document.currentScript.src).href;

  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (name === "text") made.textContent = value;
      else if (value !== false && value != null) made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children);
    return made;
  }

  // A labeled slider; `show` writes its value beside it.
  function slider(label, { min, max, step = 1, value, show = String }, changed) {
    const output = element("output", { text: show(value) });
    const input = element("input", { type: "range", min, max, step, value, "aria-label": label });
    input.addEventListener("input", () => {
      output.textContent = show(Number(input.value));
      changed(Number(input.value));
    });
    const box = element("label", { class: "live-slider" }, element("span", { text: label }), input, output);
    return { box, get value() { return Number(input.value); }, set value(to) {
      input.value = to;
      output.textContent = show(Number(input.value));
    } };
  }

  function choice(label, options, changed) {
    const select = element("select", { "aria-label": label, onchange: () => changed(select.value) });
    for (const [value, name] of Object.entries(options)) select.append(element("option", { value, text: name }));
    return { box: element("label", { class: "live-slider" }, element("span", { text: label }), select), select };
  }

  function button(label, pressed) {
    return element("button", { type: "button", text: label, onclick: pressed });
  }

  // Rows of a name, a bar and a number; `chosen` makes the rows buttons.
  function bars(rows, { digits = 3, chosen } = {}) {
    const greatest = Math.max(...rows.map((row) => Math.max(row.share, row.behind ?? 0)), 1e-9);
    const list = element("div", { class: "live-bars", role: "list" });
    for (const [place, { name, share, behind, note }] of rows.entries()) {
      const fill = element("span", { class: "fill", style: `width:${(100 * share) / greatest}%` });
      const ghost = element("span", { class: "ghost", style: `width:${(100 * (behind ?? 0)) / greatest}%` });
      const parts = [
        element("span", { class: "name", text: name }),
        element("span", { class: "track", "aria-hidden": "true" }, ghost, fill),
        element("span", { class: "number", text: note ?? share.toFixed(digits) }),
      ];
      const row = chosen
        ? element("button", { type: "button", class: "row", onclick: () => chosen(place) }, ...parts)
        : element("div", { class: "row" }, ...parts);
      list.append(element("div", { role: "listitem" }, row));
    }
    return list;
  }

  // White space made visible in a token's name.
  const visible = (text) => text.replace(/\n/g, "⏎").replace(/\t/g, "⇥").replace(/ /g, "␣") || "∅";

  // ---- the model in a worker ---------------------------------------------------------------------

  // Runs in the worker: answers calls by name, one after the other.
  function server() {
    const live = liveEngine();
    let model, tokenizer, session;
    const piece = (id) => tokenizer.decode([id]);
    const pieces = (ids) => ids.map((id) => piece(id));

    function feed(ids) {
      for (const id of ids) {
        if (session.cache.length === model.context_length) open(session.ids.slice(-128));
        session.logits = model.step(id, session.cache);
        session.ids.push(id);
      }
    }
    function open(ids) {
      session = { ids: [], cache: model.newCache(), logits: null };
      feed(ids);
    }
    function top(shares, count) {
      return Array.from(shares.keys()).sort((one, other) => shares[other] - shares[one]).slice(0, count);
    }

    const calls = {
      load(buffer, config, tokens) {
        model = new live.Model(config, live.readTensors(buffer));
        tokenizer = new live.Tokenizer(tokens);
        return { layers: model.layers, heads: model.heads };
      },
      open(text) {
        const ids = tokenizer.encode(text || "\n").slice(-model.context_length + 1);
        open(ids);
        return pieces(ids);
      },
      // The likeliest next tokens, before and after the rules.
      next(settings, count) {
        const before = live.softmax(session.logits);
        const after = live.shape(session.logits, settings);
        const bars = top(before, count).map((id) => ({ id, name: piece(id), before: before[id], after: after[id] }));
        return { bars, kept: after.filter((share) => share > 0).length };
      },
      choose(id) {
        feed([id]);
        return piece(id);
      },
      // Write on, by darts from a seed; the text so far is decoded as a whole, for letters of several bytes.
      write(settings, count, seed) {
        const dart = live.darts(seed);
        const written = [];
        for (let step = 0; step < count; step++) {
          const id = live.draw(live.shape(session.logits, settings), dart());
          written.push(id);
          feed([id]);
        }
        return { text: tokenizer.decode(written), ids: written };
      },
      // Everything of one pass over a text: attention of every head, the loss of each token, the lens.
      look(text, off) {
        const ids = tokenizer.encode(text).slice(0, 48);
        const cache = model.newCache();
        const weights = {}, losses = [], lens = [];
        let logits = null;
        for (const [place, id] of ids.entries()) {
          if (logits) losses.push(-Math.log(live.softmax(logits)[id]));
          const streams = [];
          const watch = (name, where, numbers) => {
            if (name === "weights") (weights[where] ??= []).push(Array.from(numbers));
            if (name === "stream") streams.push(numbers);
          };
          logits = model.step(id, cache, { watch, off: new Set(off) });
          const target = ids[place + 1];
          lens.push(streams.map((stream) => {
            const shares = live.softmax(model.logits(stream));
            const [best] = top(shares, 1);
            return { best: piece(best), share: shares[best], loss: target === undefined ? null : -Math.log(shares[target]) };
          }));
        }
        const shares = live.softmax(logits);
        const next = top(shares, 5).map((id) => ({ name: piece(id), share: shares[id] }));
        return { pieces: pieces(ids), weights, losses, lens, next };
      },
    };
    self.onmessage = ({ data: { number, call, parameters } }) => {
      try {
        self.postMessage({ number, result: calls[call](...parameters) });
      } catch (error) {
        self.postMessage({ number, error: error.message });
      }
    };
  }

  let model = null; // a promise of a function that asks the worker

  function script(name) {
    return new Promise((done, failed) => {
      const tag = element("script", { src: folder + name, onload: done, onerror: () => failed(new Error(`${name} is not there`)) });
      document.head.append(tag);
    });
  }

  // Load the weights and start the worker, the first time that a widget asks for it.
  function startModel() {
    model ??= script("weights.js").then(() => {
      const { config, tokens, data } = window.LIVE_WEIGHTS;
      const text = atob(data);
      delete window.LIVE_WEIGHTS;
      const bytes = new Uint8Array(text.length);
      for (let place = 0; place < text.length; place++) bytes[place] = text.charCodeAt(place);
      const source = `${liveEngine}\n(${server})();`;
      const worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
      const waiting = new Map();
      let number = 0;
      worker.onmessage = ({ data: { number, result, error } }) => {
        const { done, failed } = waiting.get(number);
        waiting.delete(number);
        if (error) failed(new Error(error));
        else done(result);
      };
      const ask = (call, ...parameters) =>
        new Promise((done, failed) => {
          waiting.set(++number, { done, failed });
          worker.postMessage({ number, call, parameters });
        });
      return ask("load", bytes.buffer, config, tokens).then((shape) => Object.assign(ask, shape));
    });
    return model;
  }

  // A button that brings the model, with what happens said aloud; then `then(ask)`.
  function needsModel(body, label, then) {
    const status = element("p", { class: "live-status", role: "status" });
    const start = button(label, async () => {
      start.disabled = true;
      status.textContent = "Loading the model, 10 MB …";
      try {
        const ask = await startModel();
        status.remove();
        start.remove();
        await then(ask);
      } catch (error) {
        status.textContent = `It did not work: ${error.message}`;
        start.disabled = false;
      }
    });
    body.append(start, status);
  }

  function fill(box) {
    const body = box.querySelector(".live-body");
    body.replaceChildren();
    widgets[box.dataset.widget](body, box);
    box.dataset.ready = "";
  }

  document.addEventListener("DOMContentLoaded", () => {
    const seen = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries)
        if (isIntersecting) {
          seen.unobserve(target);
          fill(target);
        }
    }, { rootMargin: "400px" });
    document.querySelectorAll(".live[data-widget]").forEach((box) => seen.observe(box));
  });

  return { widgets, element, slider, choice, button, bars, visible, startModel, needsModel, script };
})();
