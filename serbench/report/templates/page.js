"use strict";
// Sorts, selects and unfolds what the report worked out; every number and mark comes from the model, as text.
(() => {
  const byId = (id) => document.getElementById(id);
  const model = JSON.parse(byId("model").textContent);
  const blocks = [...document.querySelectorAll(".matrix")];
  const originalRows = blocks.map((block) => [...block.querySelectorAll(".cells tr")]);
  const boxes = [...document.querySelectorAll("#corpora input")];
  const state = { metric: "uar", rule: "nested", variant: 0, left: new Set(), sort: null, cell: "" };

  const matrix = () => model.matrices[state.variant];
  const view = () => matrix().views[`${state.metric} ${state.rule}`];
  const block = () => blocks[state.variant];

  function make(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name.startsWith("--")) element.style.setProperty(name, value);
      else if (value !== null) element.setAttribute(name, value);
    }
    element.append(...children.flat().filter((child) => child !== null));
    return element;
  }

  // --- the table ---------------------------------------------------------------------------------------------

  function fill() {
    const shown = view();
    block().querySelector(".what").textContent = shown.caption;
    block().querySelector(".reading").textContent = shown.reading;
    block().querySelector("caption").textContent = `${shown.caption}. ${matrix().title}. Headers sort; a cell opens what stands behind it.`;
    for (const button of block().querySelectorAll(".cells button")) {
      const [text, told, , step, best, mark, interval] = shown.rows[button.dataset.row][button.dataset.column];
      button.querySelector(".value").textContent = text;
      button.querySelector(".mark").textContent = mark;
      button.querySelector(".interval").textContent = interval;
      button.querySelector(".told").textContent = told ? `, ${told}` : "";
      button.parentElement.className = (step === null ? "empty" : `s${step}`) + (best ? " best" : "");
    }
    const chance = block().querySelector(".chance");
    chance.hidden = !shown.chance.length;
    chance.querySelectorAll("[data-column]").forEach((place, i) => { place.textContent = shown.chance[i] ?? ""; });
    block().querySelector(".low").textContent = shown.ends[0];
    block().querySelector(".high").textContent = shown.ends[1];
    block().querySelector(".notes").replaceChildren(...shown.notes.map((note) => make("li", null, note)));
  }

  // What a row is sorted by: the words in front, or the value of a corpus; what is missing comes last either way.
  function sortValue(row, column) {
    return column < 2 ? matrix().rows[row][column] : view().rows[row][column - 2][2];
  }

  function compare(a, b, sign) {
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (typeof a === "string" ? a.localeCompare(b, "en") : a - b);
  }

  function sortedOrder() {
    const order = originalRows[state.variant].map((_, row) => row);
    if (!state.sort) return order;
    const { column, direction } = state.sort;
    const sign = direction === "ascending" ? 1 : -1;
    return order.sort((a, b) => compare(sortValue(a, column), sortValue(b, column), sign));
  }

  function sort() {
    block().querySelector(".cells").append(...sortedOrder().map((row) => originalRows[state.variant][row]));
    for (const header of block().querySelectorAll("thead th")) {
      const isSorted = state.sort && Number(header.dataset.sort) === state.sort.column;
      if (isSorted) header.setAttribute("aria-sort", state.sort.direction);
      else header.removeAttribute("aria-sort");
    }
  }

  // Numbers begin with the best, words with A; a third time gives the order of the report back.
  function sortNext(column) {
    const directions = column < 2 ? ["ascending", "descending"] : ["descending", "ascending"];
    const current = state.sort && state.sort.column === column ? directions.indexOf(state.sort.direction) : -1;
    state.sort = current === 1 ? null : { column, direction: directions[current + 1] };
  }

  const isShown = (column) => !state.left.has(matrix().corpora[column]);

  function showColumns() {
    for (const place of block().querySelectorAll("th[data-column], td[data-column]")) {
      place.hidden = !isShown(Number(place.dataset.column));
    }
    for (const box of boxes) box.checked = !state.left.has(box.value);
  }

  function offerDownloads() {
    const { csv, tex, file } = view();
    const offered = { csv: ["text/csv", csv], tex: ["application/x-tex", tex], svg: ["image/svg+xml", heatMapSvg()] };
    for (const [ending, [type, text]] of Object.entries(offered)) {
      const link = block().querySelector(`.downloads .${ending}`);
      link.href = `data:${type};charset=utf-8,${encodeURIComponent(text)}`;
      link.download = `${file}.${ending}`;
    }
  }

  // The heat map as it stands: sorted, with the corpora chosen, in light colours.
  function heatMapSvg() {
    const clean = (text) => String(text).replace(/[&<>"]/g, (hit) => `&#${hit.charCodeAt(0)};`);
    const shown = view();
    const columns = matrix().corpora.map((_, i) => i).filter(isShown);
    const widest = (texts) => 16 + 7.5 * Math.max(...texts.map((text) => text.length), 8);
    const first = widest(matrix().rows.map((row) => row[0]));
    const left = first + widest(matrix().rows.map((row) => row[1]));
    const width = Math.max(96, widest(columns.map((i) => matrix().corpora[i])));
    const rows = sortedOrder();
    const size = [Math.max(left + columns.length * width, 8 * shown.caption.length), 60 + rows.length * 30];
    const text = (x, y, words, more = "") => `<text x="${x}" y="${y}" ${more}>${clean(words)}</text>`;
    const drawn = [text(0, 16, shown.caption, 'font-weight="600"')];
    columns.forEach((i, at) => drawn.push(text(left + (at + 0.5) * width, 46, matrix().corpora[i], 'text-anchor="middle" font-weight="600"')));
    rows.forEach((row, at) => {
      const y = 56 + at * 30;
      drawn.push(text(0, y + 19, matrix().rows[row][0]), text(first, y + 19, matrix().rows[row][1]));
      columns.forEach((i, place) => {
        const [value, , , step, best, mark] = shown.rows[row][i];
        const [fill, ink] = step === null ? ["#ffffff", "#000000"] : model.colours[step];
        drawn.push(`<rect x="${left + place * width}" y="${y}" width="${width - 2}" height="28" fill="${fill}"/>`);
        const weight = best ? ' font-weight="700"' : "";
        drawn.push(text(left + (place + 0.5) * width, y + 19, `${value} ${mark}`.trim(), `text-anchor="middle" fill="${ink}"${weight}`));
      });
    });
    const head = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size[0]} ${size[1]}" width="${size[0]}" height="${size[1]}"`;
    return `${head} font-family="sans-serif" font-size="13">${drawn.join("")}</svg>`;
  }

  // --- a cell ------------------------------------------------------------------------------------------------

  const percent = (share) => `${Math.round(100 * share)} %`;
  const number = (value) => value.toFixed(3);
  const interval = (low, high) => (low === null ? "" : `${low.toFixed(2)} to ${high.toFixed(2)}`);
  const header = (...names) => make("thead", null, make("tr", null, names.map((name, i) => typeof name === "string" ? make("th", { scope: "col", class: i ? null : "words" }, name) : name)));

  function part(title, ...children) {
    return make("section", null, make("h3", null, title), ...children);
  }

  function scoresOf(of) {
    const entries = Object.entries(of.scores).map(([metric, [value, low, high, sd]]) =>
      make("div", null, make("dt", null, model.metrics[metric] ?? metric), make("dd", null, number(value),
        make("small", null, interval(low, high) + (sd === null ? "" : `; sd ${sd.toFixed(2)}`)))));
    return make("dl", { class: "figures" }, entries);
  }

  function confusionOf(cell, of) {
    const steps = model.colours.length - 1;
    const rows = of.confusion.map((counts, i) => {
      const total = counts.reduce((sum, n) => sum + n, 0);
      const places = counts.map((n, j) => {
        const share = total ? n / total : 0;
        return make("td", { class: `s${Math.round(share * steps)}${i === j ? " right" : ""}` }, percent(share), make("small", null, String(n)));
      });
      return make("tr", null, make("th", { scope: "row" }, cell.emotions[i]), places, make("td", { class: "total" }, String(total)));
    });
    const caption = make("caption", { class: "told" }, "Rows are the truth, columns the predictions: shares of the row, and counts.");
    const table = make("table", { class: "confusion" }, caption, header("truth \\ prediction", ...cell.emotions, "utterances"), make("tbody", null, rows));
    return part("Confusion matrix", make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": "Confusion matrix" }, table),
      make("p", { class: "notes" }, "Rows are the truth, columns the predictions: shares of the row, and counts below."));
  }

  const axis = () => make("th", { scope: "col", class: "axis" }, make("b", { class: "told" }, "on a scale from 0 to 1"), make("span", { "aria-hidden": "true" }, ["0", "0.5", "1"].map((tick) => make("i", null, tick))));
  const track = (...marks) => make("td", { class: "track" }, make("div", null, marks));

  function recallsOf(cell, of) {
    const rows = cell.emotions.map((emotion, i) => {
      const total = of.confusion[i].reduce((sum, n) => sum + n, 0);
      const recall = total ? of.confusion[i][i] / total : 0;
      return make("tr", null, make("th", { scope: "row" }, emotion), track(make("i", { class: "length", "--value": recall })),
        make("td", null, number(recall)), make("td", null, `${of.confusion[i][i]} of ${total}`));
    });
    return part("Recall per emotion", make("table", { class: "track-table recalls" }, header("emotion", axis(), "recall", "utterances"), make("tbody", null, rows)));
  }

  function peopleOf(cell, of) {
    const [value, low, high] = of.scores.uar;
    const pooled = () => [low === null ? null : make("i", { class: "interval", "--low": low, "--high": high }), make("i", { class: "pooled", "--value": value })];
    const people = [...of.people].sort((a, b) => b[1] - a[1]);
    const rows = people.map(([name, uar, n]) => make("tr", null, make("th", { scope: "row" }, name),
      track(...pooled(), make("i", { class: "dot", "--value": uar })), make("td", null, number(uar)), make("td", null, String(n))));
    const band = low === null ? "" : ` Band: its 95 % interval, ${interval(low, high)}, over ${cell.unit}s.`;
    return part(`UAR per ${cell.person}`,
      make("table", { class: "track-table people" }, header(cell.person, axis(), "UAR", "utterances"), make("tbody", null, rows)),
      make("p", { class: "notes" }, `Each dot: recall averaged over the emotions of that ${cell.person}. Line: the value of the pool, ${number(value)}.${band}`));
  }

  function settingsOf(cell, of) {
    if (!of.settings.length) return "";
    const rows = of.settings.map(([setting, folds, stopped]) => make("tr", null, make("th", { scope: "row" }, setting),
      make("td", null, `${folds} of ${cell.folds}`), make("td", null, stopped ? `${stopped} folds` : "none")));
    return part("Settings chosen", make("table", { class: "settings" }, header("setting", "folds", "not converged"), make("tbody", null, rows)));
  }

  function madeOf(cell) {
    const lines = cell.made.map(([name, text]) => make("div", null, make("dt", null, name), make("dd", null, text)));
    return part("Provenance", make("dl", { class: "made" }, lines));
  }

  function cellBody(cell) {
    const rule = cell.rules[state.rule] ? state.rule : Object.keys(cell.rules)[0];
    const of = cell.rules[rule];
    const why = cell.reasons[state.rule];
    const warnings = [...(why ? [`No ${state.rule} value: ${why}`] : []), ...cell.notes];
    const told = warnings.map((text) => make("p", { class: "warning" }, text));
    if (!of) return [...told, madeOf(cell)];
    const by = make("p", { class: "by" }, model.rules[rule]);
    return [by, ...told, scoresOf(of), confusionOf(cell, of), recallsOf(cell, of), peopleOf(cell, of), settingsOf(cell, of), madeOf(cell)];
  }

  function open(key) {
    const cell = Object.hasOwn(model.cells, key) ? model.cells[key] : undefined;
    const dialog = byId("cell");
    if (!cell) return;
    state.cell = key;
    byId("cell-title").textContent = `${cell.corpus}, ${cell.features}, ${cell.classifier}`;
    byId("cell-body").replaceChildren(...cellBody(cell));
    hideTip();
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
    byId("cell-title").focus();
    writeHash();
  }

  function afterClosing() {
    const button = block().querySelector(`button[data-key="${CSS.escape(state.cell)}"]`);
    state.cell = "";
    writeHash();
    if (button) button.focus();
  }

  // --- hints -------------------------------------------------------------------------------------------------

  function showTip(button) {
    const tip = byId("tip");
    const row = matrix().rows[button.dataset.row];
    const [text, told] = view().rows[button.dataset.row][button.dataset.column];
    const lines = told.split("; ").map((line) => make("div", null, line));
    tip.replaceChildren(make("b", null, `${matrix().corpora[button.dataset.column]}, ${row.join(", ")}: ${text}`), ...lines);
    tip.hidden = false;
    const at = button.getBoundingClientRect();
    const above = at.top - tip.offsetHeight - 8;
    tip.style.top = `${above > 0 ? above : at.bottom + 8}px`;
    tip.style.left = `${Math.max(8, Math.min(at.left, innerWidth - tip.offsetWidth - 8))}px`;
  }

  const hideTip = () => { byId("tip").hidden = true; };

  // A cell that was reached by keyboard scrolls into view: its hint goes with it.
  function followTip() {
    const button = document.activeElement?.closest(".cells button");
    if (button && !byId("tip").hidden) showTip(button);
    else hideTip();
  }

  // Arrows lead from cell to cell, beside the tab key.
  function step(event) {
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const button = event.target.closest(".cells button");
    if (!button || !moves[event.key]) return;
    const rows = [...block().querySelectorAll(".cells tr")].map((row) => [...row.querySelectorAll("td:not([hidden]) button")]);
    const row = rows.findIndex((of) => of.includes(button));
    const next = rows[row + moves[event.key][0]]?.[rows[row].indexOf(button) + moves[event.key][1]];
    event.preventDefault();
    if (next) next.focus();
  }

  // --- the state in the address ------------------------------------------------------------------------------

  function writeHash() {
    const said = new URLSearchParams();
    if (state.metric !== "uar") said.set("metric", state.metric);
    if (state.rule !== "nested") said.set("rule", state.rule);
    if (state.variant) said.set("variant", matrix().title);
    for (const corpus of state.left) said.append("without", corpus);
    if (state.sort) said.set("sort", `${state.sort.column} ${state.sort.direction}`);
    if (state.cell) said.set("cell", state.cell);
    history.replaceState(null, "", `#${said}`);
  }

  // The address may name a section instead, which the browser goes to: what the table shows stays.
  const isAnchor = () => Boolean(document.getElementById(location.hash.slice(1)));

  function readHash() {
    const said = new URLSearchParams(location.hash.slice(1));
    const known = (value, values, otherwise) => (values.includes(value) ? value : otherwise);
    state.metric = known(said.get("metric"), Object.keys(model.metrics), "uar");
    state.rule = known(said.get("rule"), [...byId("rule").options].map((option) => option.value), "nested");
    state.variant = Math.max(0, model.matrices.findIndex((of) => of.title === said.get("variant")));
    state.left = new Set(said.getAll("without").filter((corpus) => boxes.some((box) => box.value === corpus)));
    const sorted = /^(\d+) (ascending|descending)$/.exec(said.get("sort") ?? "");
    const isColumn = sorted && Number(sorted[1]) < matrix().corpora.length + 2;
    state.sort = isColumn ? { column: Number(sorted[1]), direction: sorted[2] } : null;
    update();
    if (said.get("cell")) open(said.get("cell"));
    else if (byId("cell").open) byId("cell").close();
  }

  function update() {
    for (const name of ["metric", "rule", "variant"]) byId(name).value = state[name];
    blocks.forEach((of, i) => { of.hidden = i !== state.variant; });
    fill();
    sort();
    showColumns();
    offerDownloads();
    writeHash();
  }

  function announce() {
    const sorted = state.sort ? `, sorted by ${["features", "classifier", ...matrix().corpora][state.sort.column]}, ${state.sort.direction}` : "";
    byId("status").textContent = `${view().caption}${sorted}`;
  }

  function choose(change) {
    change();
    update();
    announce();
  }

  function setTheme(theme) {
    document.documentElement.dataset.theme = theme;
    byId("theme").setAttribute("aria-pressed", String(theme === "dark"));
  }

  // --- what users do -----------------------------------------------------------------------------------------

  document.body.classList.remove("still");
  byId("theme").setAttribute("aria-pressed", String(matchMedia("(prefers-color-scheme: dark)").matches));
  byId("theme").addEventListener("click", () => setTheme(byId("theme").getAttribute("aria-pressed") === "true" ? "light" : "dark"));
  if (!model.matrices.length) return;

  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("metric").addEventListener("change", (event) => choose(() => { state.metric = event.target.value; }));
  byId("rule").addEventListener("change", (event) => choose(() => { state.rule = event.target.value; }));
  byId("variant").addEventListener("change", (event) => choose(() => { state.variant = Number(event.target.value); state.sort = null; }));
  byId("corpora").addEventListener("change", (event) => choose(() => { state.left[event.target.checked ? "delete" : "add"](event.target.value); }));
  byId("scores").addEventListener("click", (event) => {
    const sorting = event.target.closest("thead button");
    if (sorting) choose(() => sortNext(Number(sorting.parentElement.dataset.sort)));
    const button = event.target.closest(".cells button");
    if (button) open(button.dataset.key);
  });
  byId("scores").addEventListener("keydown", step);
  for (const [event, act] of [["pointerover", showTip], ["focusin", showTip], ["pointerout", hideTip], ["focusout", hideTip]]) {
    byId("scores").addEventListener(event, ({ target }) => {
      const button = target.closest(".cells button");
      if (button && (act === hideTip || !byId("cell").open)) act(button);
    });
  }
  addEventListener("scroll", followTip, { passive: true, capture: true });
  addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });
  byId("close").addEventListener("click", () => byId("cell").close());
  byId("cell").addEventListener("click", (event) => { if (event.target === byId("cell")) byId("cell").close(); });
  byId("cell").addEventListener("close", afterClosing);
  addEventListener("hashchange", () => { if (!isAnchor()) readHash(); });
  readHash();
})();
