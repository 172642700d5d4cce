// The widgets that run the model: choosing a token, looking inside, and three sentences on the cover.

(() => {
  "use strict";
  const { widgets, element, slider, button, bars, visible, needsModel } = Live;
  const percent = (share) => `${(100 * share).toFixed(1)}%`;

  // ---- choosing a token ---------------------------------------------------------------------------

  widgets.sampling = (body) => {
    const prompt = element("input", { type: "text", value: "ROMEO. But soft, what", "aria-label": "Prompt", maxlength: 300 });
    body.append(prompt);
    needsModel(body, "Ask the model", async (ask) => {
      const settings = { temperature: 1, topK: 0, topP: 1, minP: 0 };
      let text = "";
      let seed = 1;
      const page = element("p", { class: "live-text", "aria-live": "polite" });
      const list = element("div");
      const note = element("p", { class: "live-note" });
      const draw = async () => {
        const { bars: best, kept } = await ask("next", settings, 10);
        page.replaceChildren(element("span", { class: "given", text: prompt.value }), text);
        list.replaceChildren(bars(best.map(({ name, before, after }) => ({
          name: visible(name), share: after, behind: before, note: `${percent(before)} → ${percent(after)}`,
        })), { chosen: async (place) => {
          text += await ask("choose", best[place].id);
          await draw();
        } }));
        note.textContent = `${kept.toLocaleString("en")} tokens are left in play. Press a row to choose its token yourself.`;
      };
      const set = (name) => (value) => { settings[name] = value; draw(); };
      const two = (x) => x.toFixed(2);
      const start = async () => {
        text = "";
        await ask("open", prompt.value);
        await draw();
      };
      const write = async (count) => {
        text += (await ask("write", settings, count, seed++)).text;
        await draw();
      };
      prompt.addEventListener("change", start);
      body.append(
        slider("temperature", { min: 0, max: 3, step: 0.05, value: 1, show: two }, set("temperature")).box,
        slider("top-k", { min: 0, max: 50, value: 0, show: (k) => (k ? String(k) : "off") }, set("topK")).box,
        slider("top-p", { min: 0.05, max: 1, step: 0.05, value: 1, show: two }, set("topP")).box,
        slider("min-p", { min: 0, max: 0.5, step: 0.01, value: 0, show: two }, set("minP")).box,
        list, note,
        element("div", { class: "live-row" }, button("draw one", () => write(1)), button("draw forty", () => write(40)), button("start over", start)),
        page,
      );
      await start();
    });
  };

  // ---- looking inside ------------------------------------------------------------------------------

  widgets.inside = (body) => {
    const text = element("input", { type: "text", value: "ROMEO. I am the king, and you are the king", "aria-label": "Sentence", maxlength: 200 });
    body.append(text);
    needsModel(body, "Look inside", async (ask) => {
      const off = new Set();
      let layer = 0;
      let head = 0;
      let position = null;
      let seen = null;
      const colored = element("div", { class: "live-tokens", role: "group", "aria-label": "The sentence; each token is colored by its loss" });
      const weights = element("div", { "aria-live": "polite" });
      const lens = element("div");
      const note = element("p", { class: "live-note", "aria-live": "polite" });
      const draw = () => {
        position = Math.min(position ?? seen.pieces.length - 1, seen.pieces.length - 1);
        colored.replaceChildren(...seen.pieces.map((piece, place) => {
          const loss = place ? seen.losses[place - 1] : null;
          const strength = loss === null ? 0 : Math.min(loss / 8, 1);
          return element("button", {
            type: "button", class: "token", style: `--strength:${strength.toFixed(2)}`,
            "aria-pressed": place === position, title: loss === null ? "the first: no loss" : `loss ${loss.toFixed(2)} nats`,
            text: visible(piece), onclick: () => { position = place; draw(); },
          });
        }));
        const row = seen.weights[`${layer}.${head}`][position];
        weights.replaceChildren(
          element("p", { class: "live-note", text: `Layer ${layer}, head ${head}: where position ${position} (${visible(seen.pieces[position])}) looks.` }),
          bars(row.map((share, place) => ({ name: visible(seen.pieces[place]), share })), { digits: 2 }),
        );
        lens.replaceChildren(
          element("p", { class: "live-note", text: `What the stream at position ${position} would say next, after each layer:` }),
          bars(seen.lens[position].map(({ best, share, loss }, place) => ({
            name: `${place}: ${visible(best)}`, share, note: loss === null ? share.toFixed(2) : `loss ${loss.toFixed(2)}`,
          }))),
        );
        const mean = seen.losses.reduce((sum, loss) => sum + loss, 0) / Math.max(seen.losses.length, 1);
        const without = off.size ? ` without ${[...off].map((name) => (name.includes(".") ? `head ${name}` : `layer ${name}`)).join(", ")}` : "";
        note.textContent = `Mean loss${without}: ${mean.toFixed(3)} nats a token. Next: ${seen.next.map(({ name, share }) => `${visible(name)} ${percent(share)}`).join(", ")}`;
      };
      const run = async () => {
        seen = await ask("look", text.value || "\n", [...off]);
        draw();
      };
      const switches = element("fieldset", { class: "live-row" }, element("legend", { text: "switched off" }));
      const toggle = (name, label) => {
        const box = element("input", { type: "checkbox", onchange: () => {
          if (box.checked) off.add(name);
          else off.delete(name);
          run();
        } });
        return element("label", {}, box, ` ${label} `);
      };
      for (let one = 0; one < ask.layers; one++) {
        const row = element("div", {}, toggle(`${one}`, `layer ${one}`));
        for (let other = 0; other < ask.heads; other++) row.append(toggle(`${one}.${other}`, `head ${one}.${other}`));
        switches.append(row);
      }
      text.addEventListener("change", () => { position = null; run(); });
      body.append(
        colored, note,
        slider("layer", { min: 0, max: ask.layers - 1, value: 0 }, (value) => { layer = value; draw(); }).box,
        slider("head", { min: 0, max: ask.heads - 1, value: 0 }, (value) => { head = value; draw(); }).box,
        weights, lens, switches,
      );
      await run();
    });
  };

  // ---- on the cover ----------------------------------------------------------------------------------

  widgets.cover = (body) => {
    const prompts = ["ROMEO. But soft, what light", "KING HENRY. Once more", "HAMLET. To be, or not"];
    const page = element("p", { class: "live-text", "aria-live": "polite" });
    let seed = 0;
    needsModel(body, "Let it write", async (ask) => {
      const go = async (prompt) => {
        page.replaceChildren(element("span", { class: "given", text: prompt }));
        await ask("open", prompt);
        for (let part = 0; part < 12; part++) page.append((await ask("write", { temperature: 0.8, topP: 0.95 }, 5, ++seed)).text);
      };
      body.append(element("div", { class: "live-row" }, ...prompts.map((prompt) => button(`${prompt} …`, () => go(prompt)))), page);
      await go(prompts[0]);
    });
  };
})();
