// The search page: looks through the sections that sections.js lists, and shows the best with an
// excerpt. It reads no file, so it also works where the book was opened from disk.

const SHOWN = 30;

// Chinese is written without spaces: a run of its characters counts as all pairs of neighbors in it.
function pairs(word) {
  const runs = word.match(/\p{Script=Han}+|[^\p{Script=Han}]+/gu) ?? [];
  return runs.flatMap((run) => {
    const signs = [...run];
    if (signs.length < 3 || !/\p{Script=Han}/u.test(run)) return [run];
    return signs.slice(1).map((sign, place) => signs[place] + sign);
  });
}

function words(text) {
  return (text.toLowerCase().match(/[\p{L}\p{N}_]+/gu) ?? []).flatMap(pairs);
}

// Names in code are found whole and by their parts: KVCache by "KV cache", kv_heads by "heads".
function withParts(text) {
  const found = [];
  for (const name of text.match(/[\p{L}\p{N}_]+/gu) ?? []) {
    const parts = name.match(/\p{Lu}+(?!\p{Ll})|\p{Lu}?\p{Ll}+|\p{N}+|[^\p{Lu}\p{Ll}\p{N}_]+/gu) ?? [];
    if (parts.length > 1) found.push(...parts.map((part) => part.toLowerCase()));
    if (parts.length !== 1 || parts[0] !== name) found.push(name.toLowerCase());
    else found.push(...parts.map((part) => part.toLowerCase()));
  }
  return found;
}

// "Caching" finds "cache": words are compared by their stems, which Sphinx's script for the language
// knows to find.
let stemmer = null;
const stems = new Map();

function stem(word) {
  if (!stems.has(word)) stems.set(word, stemmer.stemWord(word));
  return stems.get(word);
}

// Where almost every term is named once more, and none is explained.
const LATE = ["Exercises", "Recap", "What you may have read", "Break it"];

function read() {
  return BOOK_SECTIONS.map(([page, anchor, title, text]) => {
    const counts = new Map();
    const body = withParts(text).map(stem);
    for (const word of body) counts.set(word, (counts.get(word) ?? 0) + 1);
    const heading = withParts(title).map(stem);
    const [address, pageTitle] = BOOK_PAGES[page];
    const chapter = words(pageTitle).map(stem);
    return { address, anchor, title, text, pageTitle, body, counts, heading, chapter };
  });
}

let entries = null;
let meanLength = 0;

// How often a word, or one that begins with it, stands in a section; the exact word counts more.
function frequency(entry, term) {
  let count = entry.counts.get(term) ?? 0;
  if (term.length >= 4)
    for (const [word, times] of entry.counts)
      if (word !== term && word.startsWith(term)) count += times / 4;
  return count;
}

function occurrences(list, phrase) {
  let count = 0;
  for (let place = 0; place + phrase.length <= list.length; place++)
    if (phrase.every((word, step) => list[place + step] === word)) count++;
  return count;
}

// BM25 (Robertson and Zaragoza, 2009) over the text, and more for words of the headings and for the
// words side by side; a section without all of the words counts less by the square of their share.
function find(query) {
  const terms = words(query).map(stem);
  if (!terms.length) return [];
  const tables = terms.map((term) => entries.map((entry) => frequency(entry, term)));
  const inHeading = (entry, term) => entry.heading.some((word) => word.startsWith(term));
  const rarity = tables.map((table) => {
    const holding = table.filter((count) => count > 0).length;
    return Math.log(1 + (entries.length - holding + 0.5) / (holding + 0.5));
  });
  // The share of a word's mentions that a page has: the chapter that is about it speaks of it most.
  const perPage = tables.map((table) => {
    const shares = new Map(entries.map((entry) => [entry.address, 0]));
    const total = table.reduce((sum, count) => sum + count, 0) || 1;
    table.forEach((count, place) => {
      const { address } = entries[place];
      shares.set(address, shares.get(address) + count / total);
    });
    return shares;
  });
  const scored = entries.map((entry, place) => {
    let score = 0;
    let matched = 0;
    terms.forEach((term, number) => {
      const count = tables[number][place];
      const heading = inHeading(entry, term);
      if (count || heading) matched += rarity[number];
      const length = 0.4 + 0.6 * (entry.body.length / meanLength);
      score += (rarity[number] * count * 2.2) / (count + 1.2 * length);
      if (heading) score += 2 * rarity[number];
      if (entry.chapter.includes(term)) score += rarity[number];
    });
    score += 1.5 * Math.log1p(occurrences(entry.body, terms));
    if (occurrences(entry.heading, terms)) score += 3;
    const share = matched / rarity.reduce((sum, one) => sum + one, 0);
    score += terms.reduce((sum, _, number) => sum + 2 * rarity[number] * perPage[number].get(entry.address), 0);
    // Who asks for a word wants it explained; the reference only tells how it is called.
    const lower = LATE.includes(entry.title) ? 0.6 : entry.address.startsWith("book/reference_") ? 0.4 : 1;
    return { entry, score: score * share ** 2 * lower };
  });
  const best = Math.max(...scored.map((one) => one.score));
  // What the glossary says of just this term comes first.
  const defines = ({ entry }) => entry.address.endsWith("glossary.html") && entry.heading.join() === terms.join();
  return scored
    .filter((one) => one.score > 0.15 * best)
    .sort((one, other) => defines(other) - defines(one) || other.score - one.score)
    .map((one) => one.entry);
}

// About 200 characters around the place where most of the words stand together.
function excerpt(text, query) {
  const wanted = words(query).map(stem);
  const lower = text.toLowerCase();
  const places = [];
  for (const word of wanted)
    for (let at = lower.indexOf(word); at >= 0; at = lower.indexOf(word, at + 1))
      places.push([at, word]);
  places.sort((one, other) => one[0] - other[0]);
  let best = 0;
  let start = 0;
  for (const [from] of places) {
    const near = new Set(places.filter(([at]) => at >= from && at < from + 160).map(([, w]) => w));
    if (near.size > best) [best, start] = [near.size, from];
  }
  let first = Math.max(0, start - 60);
  if (first) first = text.indexOf(" ", first) + 1;
  return `${first ? "… " : ""}${text.slice(first, first + 220)}${first + 220 < text.length ? " …" : ""}`;
}

function withMarks(text, query, parent) {
  const pattern = words(query).map(stem).sort((a, b) => b.length - a.length);
  const escaped = pattern.map((word) => word.replace(/[^\p{L}\p{N}]/gu, "\\$&"));
  for (const [place, part] of text.split(new RegExp(`(${escaped.join("|")})`, "giu")).entries()) {
    const node = place % 2 ? document.createElement("mark") : document.createTextNode("");
    node.textContent = part;
    parent.append(node);
  }
}

function show(query) {
  const results = document.getElementById("search-results");
  results.replaceChildren();
  const found = find(query);
  const heading = document.createElement("h2");
  heading.textContent = "Search results";
  const summary = document.createElement("p");
  summary.className = "search-summary";
  summary.setAttribute("role", "status");
  const number = found.length === 1 ? "1 section" : `${found.length} sections`;
  summary.textContent = found.length
    ? `${number} matching the search query${found.length > SHOWN ? `, the first ${SHOWN} shown` : ""}.`
    : "No section matches the search query. Try fewer words, or another spelling.";
  const list = document.createElement("ol");
  list.className = "section-results";
  for (const entry of found.slice(0, SHOWN)) {
    const item = document.createElement("li");
    const link = document.createElement("a");
    link.href = entry.anchor ? `${entry.address}#${entry.anchor}` : entry.address;
    link.textContent = entry.title;
    const where = document.createElement("span");
    where.className = "where";
    where.textContent = entry.anchor ? ` ${entry.pageTitle}` : "";
    const text = document.createElement("p");
    withMarks(excerpt(entry.text, query), query, text);
    item.append(link, where, text);
    list.append(item);
  }
  results.append(heading, summary, list);
}

// Sphinx's own script asks for this when the page is ready; ours runs in its place.
document.addEventListener("DOMContentLoaded", () => {
  stemmer = new Stemmer(); // from language_data.js, which is loaded after this script
  entries = read();
  meanLength = entries.reduce((sum, entry) => sum + entry.body.length, 0) / entries.length;
  Search.performSearch = show;
});
