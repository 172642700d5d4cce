// The book's model and its tokenizer, whole, in plain JavaScript: what mini_gpt computes, for pages that
// are read from disk, without a network. No library. The tests hold it to the package: the same ids, the
// same logits to a thousandth, the same greedy text.
//
// Everything is in one function, so that its text can be handed to a worker: a page that was opened from
// disk may start a worker from text, but not from a file.

function liveEngine() {
  "use strict";

  // ---- the tokenizer (chapters 2 and 3) -----------------------------------------------------------

  // What Python's regex calls white space; JavaScript's \s is another set.
  const WHITE = "\\t-\\r \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
  const PATTERNS = {
    "GPT-2": new RegExp(
      `'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^${WHITE}\\p{L}\\p{N}]+` +
        `|[${WHITE}]+(?![^${WHITE}])|[${WHITE}]+`,
      "gu",
    ),
    words: new RegExp(`[${WHITE}]*[^${WHITE}]+|[${WHITE}]+`, "gu"),
    none: /[^]+/gu,
  };

  // Bytes as a text of as many characters: what a Map can be asked for.
  const latin = (bytes) => String.fromCharCode(...bytes);
  const utf8 = new TextEncoder();

  class Tokenizer {
    // tokens: the bytes of each token, as hexadecimal digits, in the order of their ids
    constructor(tokens, pattern = "GPT-2") {
      this.bytes = tokens.map((hex) => Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16)));
      this.ids = new Map(this.bytes.map((bytes, id) => [latin(bytes), id]));
      this.pattern = PATTERNS[pattern];
    }

    pretokens(text) {
      return text.toWellFormed?.().match(this.pattern) ?? text.match(this.pattern) ?? [];
    }

    encode(text) {
      return this.pretokens(text).flatMap((part) => this.encodePart(utf8.encode(part)));
    }

    // Merge the neighbors whose union has the smallest id, until none has one.
    encodePart(bytes) {
      const parts = Array.from(bytes, (byte) => String.fromCharCode(byte));
      for (;;) {
        let best = Infinity;
        let place = -1;
        for (let left = 0; left + 1 < parts.length; left++) {
          const id = this.ids.get(parts[left] + parts[left + 1]);
          if (id !== undefined && id < best) [best, place] = [id, left];
        }
        if (place < 0) return parts.map((part) => this.ids.get(part));
        parts.splice(place, 2, parts[place] + parts[place + 1]);
      }
    }

    decode(ids) {
      const bytes = ids.flatMap((id) => [...this.bytes[id]]);
      return new TextDecoder("utf-8").decode(Uint8Array.from(bytes));
    }

    // Learn merges from a text (chapter 2's naive trainer, over counted pretokens).
    static train(text, vocabSize, pattern = "GPT-2") {
      const counts = new Map();
      for (const part of text.match(PATTERNS[pattern]) ?? [])
        counts.set(part, (counts.get(part) ?? 0) + 1);
      const words = [...counts].map(([part, count]) => ({ ids: [...utf8.encode(part)], count }));
      const tokens = Array.from({ length: 256 }, (_, byte) => [byte]);
      while (tokens.length < vocabSize) {
        const pairs = new Map();
        for (const { ids, count } of words)
          for (let left = 0; left + 1 < ids.length; left++) {
            const pair = ids[left] * 65536 + ids[left + 1];
            pairs.set(pair, (pairs.get(pair) ?? 0) + count);
          }
        let [best, most] = [-1, 1];
        for (const [pair, count] of pairs)
          if (count > most || (count === most && most > 1 && pair < best)) [best, most] = [pair, count];
        if (best < 0) break; // no pair occurs twice
        const [first, second] = [Math.floor(best / 65536), best % 65536];
        for (const { ids } of words)
          for (let left = 0; left + 1 < ids.length; left++)
            if (ids[left] === first && ids[left + 1] === second) ids.splice(left, 2, tokens.length);
        tokens.push([...tokens[first], ...tokens[second]]);
      }
      const hex = (bytes) => bytes.map((byte) => byte.toString(16).padStart(2, "0")).join("");
      return new Tokenizer(tokens.map(hex), pattern);
    }
  }

  // ---- the numbers ----------------------------------------------------------------------------------

  // Every number of half precision, computed once: sign, five bits of exponent, ten of fraction.
  const HALVES = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const exponent = (bits >> 10) & 31;
    const fraction = (bits & 1023) / 1024;
    const size =
      exponent === 0 ? fraction * 2 ** -14
      : exponent === 31 ? (fraction ? NaN : Infinity)
      : (1 + fraction) * 2 ** (exponent - 15);
    HALVES[bits] = bits >> 15 ? -size : size;
  }

  // A safetensors file: a length, that many bytes of JSON, the numbers. All of ours are halves.
  function readTensors(buffer) {
    const length = Number(new DataView(buffer).getBigUint64(0, true));
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
    const tensors = {};
    for (const [name, { dtype, data_offsets: place }] of Object.entries(header)) {
      if (name === "__metadata__") continue;
      if (dtype !== "F16") throw new Error(`${name} holds ${dtype}, not F16`);
      const halves = new Uint16Array(buffer.slice(8 + length + place[0], 8 + length + place[1]));
      tensors[name] = Float32Array.from(halves, (bits) => HALVES[bits]);
    }
    return tensors;
  }

  // weight (rows x columns) times a vector, plus a bias
  function linear(weight, bias, vector) {
    const columns = vector.length;
    const result = new Float32Array(weight.length / columns);
    for (let row = 0, place = 0; row < result.length; row++, place += columns) {
      let [one, two, three, four] = [0, 0, 0, 0]; // four sums that do not wait for each other
      for (let column = 0; column < columns; column += 4) {
        one += weight[place + column] * vector[column];
        two += weight[place + column + 1] * vector[column + 1];
        three += weight[place + column + 2] * vector[column + 2];
        four += weight[place + column + 3] * vector[column + 3];
      }
      result[row] = one + two + three + four + (bias ? bias[row] : 0);
    }
    return result;
  }

  function layerNorm(vector, weight, bias, epsilon = 1e-5) {
    const mean = vector.reduce((sum, x) => sum + x, 0) / vector.length;
    const variance = vector.reduce((sum, x) => sum + (x - mean) ** 2, 0) / vector.length;
    const scale = 1 / Math.sqrt(variance + epsilon);
    return vector.map((x, i) => (x - mean) * scale * weight[i] + bias[i]);
  }

  const gelu = (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));

  function softmax(scores) {
    const greatest = scores.reduce((one, other) => Math.max(one, other), -Infinity);
    const powers = Float64Array.from(scores, (score) => Math.exp(score - greatest));
    const sum = powers.reduce((one, other) => one + other, 0);
    return powers.map((power) => power / sum);
  }

  // ---- the model (chapters 7 to 12) -----------------------------------------------------------------

  class Model {
    constructor(config, tensors) {
      Object.assign(this, config, { tensors, headWidth: config.width / config.heads });
    }

    newCache() {
      const rows = () => Array.from({ length: this.layers }, () => []);
      return { length: 0, keys: rows(), values: rows() };
    }

    part(name, layer) {
      const whole = layer === undefined ? name : `decoder.blocks.${layer}.${name}`;
      return [this.tensors[`${whole}.weight`], this.tensors[`${whole}.bias`]];
    }

    // Turn each pair of neighboring dimensions by an angle that grows with the position (chapter 8).
    rotate(vector, position) {
      const turned = new Float32Array(vector.length);
      for (let at = 0; at < vector.length; at += 2) {
        const angle = position * 10000 ** (-(at % this.headWidth) / this.headWidth);
        const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
        turned[at] = vector[at] * cos - vector[at + 1] * sin;
        turned[at + 1] = vector[at + 1] * cos + vector[at] * sin;
      }
      return turned;
    }

    // One token more: its logits, from its id and what the cache keeps of those before it. `watch` is
    // called with the name, the layer and the numbers of everything on the way; `off` names heads
    // ("2.1") and layers ("2") that add nothing.
    step(id, cache, { watch = () => {}, off = new Set() } = {}) {
      const { width, heads, headWidth, layers } = this;
      const table = this.tensors["token_embedding.weight"];
      let stream = table.slice(id * width, (id + 1) * width);
      watch("embedding", 0, stream);
      for (let layer = 0; layer < layers; layer++) {
        const read = layerNorm(stream, ...this.part("attention_norm", layer));
        const features = linear(...this.part("attention.query_key_value", layer), read);
        const query = this.rotate(features.subarray(0, width), cache.length);
        cache.keys[layer].push(this.rotate(features.subarray(width, 2 * width), cache.length));
        cache.values[layer].push(features.slice(2 * width));
        const mixed = new Float32Array(width);
        for (let head = 0; head < heads; head++) {
          const from = head * headWidth;
          const scores = cache.keys[layer].map((key) => {
            let score = 0;
            for (let i = from; i < from + headWidth; i++) score += query[i] * key[i];
            return score / Math.sqrt(headWidth);
          });
          const weights = softmax(scores);
          watch("weights", `${layer}.${head}`, weights);
          if (off.has(`${layer}.${head}`)) continue;
          weights.forEach((weight, place) => {
            const value = cache.values[layer][place];
            for (let i = from; i < from + headWidth; i++) mixed[i] += weight * value[i];
          });
        }
        const attended = linear(...this.part("attention.output", layer), mixed);
        watch("attention", layer, attended);
        if (!off.has(`${layer}`)) stream = stream.map((x, i) => x + attended[i]);
        const again = layerNorm(stream, ...this.part("feed_forward_norm", layer));
        const hidden = linear(...this.part("feed_forward.expand", layer), again).map(gelu);
        const written = linear(...this.part("feed_forward.contract", layer), hidden);
        watch("feed_forward", layer, written);
        if (!off.has(`${layer}`)) stream = stream.map((x, i) => x + written[i]);
        watch("stream", layer, stream);
      }
      cache.length++;
      return this.logits(stream);
    }

    // What a stream says of the next token. After an inner layer this is the logit lens (chapter 22).
    logits(stream) {
      const read = layerNorm(stream, ...this.part("decoder.final_norm"));
      return linear(this.tensors["token_embedding.weight"], null, read);
    }
  }

  // ---- choosing a token (chapter 18) ---------------------------------------------------------------

  // Probabilities after the rules, in the package's order: temperature, top-k, top-p, min-p.
  function shape(logits, { temperature = 1, topK = 0, topP = 1, minP = 0 } = {}) {
    if (temperature === 0) {
      const best = logits.indexOf(logits.reduce((one, other) => Math.max(one, other), -Infinity));
      return Float64Array.from(logits, (_, id) => (id === best ? 1 : 0));
    }
    const before = softmax(logits.map((logit) => logit / temperature));
    let order = Array.from(before.keys()).sort((one, other) => before[other] - before[one]);
    if (topK) order = order.slice(0, topK);
    let whole = order.reduce((sum, id) => sum + before[id], 0);
    let sum = 0;
    // A token stays while those before it have not reached p of what top-k has left.
    order = order.filter((id, rank) => {
      const stays = rank === 0 || sum < topP * whole;
      sum += before[id];
      return stays;
    });
    order = order.filter((id) => before[id] >= minP * before[order[0]]);
    whole = order.reduce((sum, id) => sum + before[id], 0);
    const kept = new Float64Array(before.length);
    for (const id of order) kept[id] = before[id] / whole;
    return kept;
  }

  // Random numbers that the same seed gives again (mulberry32, by Tommy Ettinger, public domain).
  function darts(seed) {
    let state = seed >>> 0;
    return () => {
      state = (state + 0x6d2b79f5) | 0;
      let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
      mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
    };
  }

  // Where a dart lands among shares laid end to end.
  function draw(shares, dart) {
    let left = dart;
    for (let id = 0; id < shares.length; id++) if ((left -= shares[id]) < 0) return id;
    return shares.findLastIndex((share) => share > 0);
  }

  return { PATTERNS, Tokenizer, readTensors, softmax, Model, shape, darts, draw };
}
