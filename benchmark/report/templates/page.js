"use strict";
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const one = (selector, within = document) => within.querySelector(selector);
const make = (name, attributes = {}, ...children) => {
  const svg = ["svg", "path", "image"].includes(name);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
};

// Sorting: a button in each head; rows stay within their block, a third press restores the order.
function sortable(table) {
  const heads = all("thead th", table);
  const bodies = [...table.tBodies].map((body) => ({ body, rows: [...body.rows] }));
  heads.forEach((head, column) => {
    const differ = bodies.some(({ rows }) => new Set(rows.map((row) => row.cells[column].textContent)).size > 1);
    if (!differ) return;
    const button = make("button", { type: "button" });
    button.append(...head.childNodes);
    head.append(button);
    if (head.dataset.column) button.setAttribute("aria-label", `Sort by ${head.dataset.column}`);
    button.addEventListener("click", () => {
      const order = { none: "descending", descending: "ascending", ascending: "none" }[head.ariaSort || "none"];
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      if (order !== "none") head.setAttribute("aria-sort", order);
      for (const { body, rows } of bodies) body.append(...(order === "none" ? rows : sorted(rows, column, order)));
    });
  });
}

function sorted(rows, column, order) {
  const value = (row) => {
    const cell = row.cells[column];
    const number = parseFloat(cell.dataset.value ?? (cell.className === "n" ? cell.textContent : "x"));
    return { number, text: cell.textContent.trim() };
  };
  const sign = order === "ascending" ? 1 : -1;
  return rows.map((row) => [value(row), row]).sort(([a], [b]) => {
    if (isNaN(a.number) && isNaN(b.number)) return sign * a.text.localeCompare(b.text, "en", { numeric: true });
    if (isNaN(a.number) || isNaN(b.number)) return isNaN(a.number) - isNaN(b.number);
    return sign * (a.number - b.number);
  }).map(([, row]) => row);
}

// Filtering: rows of a region or method, columns of a region, items of a metric.
function filtering(form) {
  const fields = form.elements;
  const regions = new Set([...fields.region.options].map((option) => option.value).filter(Boolean));
  const tables = all(".item table");
  const apply = () => {
    const { region, metric, method } = Object.fromEntries(new FormData(form));
    all(".item[data-metric]").forEach((item) => { item.hidden = Boolean(metric) && item.dataset.metric !== metric; });
    let shown = 0;
    for (const table of tables) {
      const rows = all("tbody tr", table);
      for (const row of rows) {
        row.hidden = Boolean((region && row.dataset.region && row.dataset.region !== region)
          || (method && row.dataset.method !== method));
      }
      all("thead th", table).forEach((head, column) => {
        const other = Boolean(region) && regions.has(head.dataset.column) && head.dataset.column !== region;
        for (const row of table.rows) row.cells[column].hidden = other;
      });
      const item = table.closest(".item");
      if (!item.hidden) item.hidden = rows.every((row) => row.hidden);
      shown += !item.hidden;
    }
    fields.shown.value = region || metric || method ? `${shown} of ${tables.length} tables shown` : "";
  };
  form.addEventListener("change", apply);
  form.addEventListener("reset", () => setTimeout(apply));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  apply();
}

// The case browser.
const OUTLINES = [["#56B4E9", ""], ["#F0E442", "7 3"], ["#FF6B1A", "2 2"], ["#CC79A7", "8 2 2 2"]];

const WHY = {
  first: "the first test case", worst: "the run's worst case", median: "the run's median case", best: "the run's best case",
};

function browsing(box, studies) {
  const choice = Object.fromEntries(all("select", box).map((select) => [select.name, select]));
  const study = () => studies[choice.study.value];
  const fill = (select, entries) => {
    const before = select.selectedOptions[0]?.textContent;
    select.replaceChildren(...entries.map(([value, text]) => make("option", { value }, text)));
    const same = [...select.options].find((option) => option.textContent === before);
    if (same) same.selected = true;
  };
  const indexed = (names) => names.map((name, i) => [i, name]);
  const subsetName = (dots) => study().modalities.filter((_, m) => dots[m]).join(" + ");

  const newStudy = () => {
    const of = study();
    const kept = new Set(of.examples.map((example) => example.case));
    fill(choice.case, of.cases.map((name, i) => [i, kept.has(i) ? `${name} (slices)` : name]));
    if (kept.size) choice.case.value = Math.min(...kept);
    fill(choice.region, indexed(of.regions.map((region) => region.name)));
    fill(choice.metric, indexed(of.metrics.map((metric) => metric.title)));
    fill(choice.subset, indexed(of.subsets.map(subsetName)));
    choice.subset.value = of.subsets.length - 1;
    fill(choice.ground, indexed(of.modalities));
    newCase();
  };
  const examples = () => study().examples.filter((example) => example.case === Number(choice.case.value));
  const newCase = () => {
    fill(choice.method, examples().map((example) => [example.method, study().methods[example.method]]));
    showScores();
    showSlice();
  };

  const scores = (method, metric = choice.metric.value, region = choice.region.value) => {
    const of = study(), width = of.subsets.length, first = choice.case.value * width;
    return of.values[metric][region][method].slice(first, first + width);
  };
  const print = (tenths) => (tenths === null ? "–" : (tenths / 10).toFixed(1).replace("-", "−"));

  function showScores() {
    const of = study(), up = of.metrics[choice.metric.value].up;
    const rows = of.methods.map((_, method) => {
      const own = scores(method);
      return [...own, own.includes(null) ? null : own.reduce((sum, value) => sum + value, 0) / own.length];
    });
    const best = rows[0].map((_, column) => {
      const values = rows.map((row) => row[column]).filter((value) => value !== null).map(Math.round);
      return new Set(values).size > 1 ? (up ? Math.max : Math.min)(...values) : null;
    });
    const names = make("span", { class: "dots", "aria-hidden": "true" }, ...of.modalities.map((m) => make("span", {}, m)));
    const heads = of.subsets.map((dots) => make("th", { scope: "col", "data-column": subsetName(dots), title: subsetName(dots) },
      make("span", { class: "dots", role: "img", "aria-label": subsetName(dots) },
        ...dots.map((on) => make("span", { "aria-hidden": "true" }, on ? "●" : "○")))));
    const table = make("table", { class: "scores", id: "case-scores" },
      make("caption", {}, make("span", {},
        `${of.metrics[choice.metric.value].title} of case ${of.cases[choice.case.value]} in ${of.regions[choice.region.value].name} `
        + "for every subset of modalities, seeds averaged.")),
      make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "Method ", names), ...heads,
        make("th", { scope: "col", "data-column": "average" }, "Average"))),
      make("tbody", {}, ...rows.map((row, method) => make("tr", {}, make("th", { scope: "row" }, of.methods[method]),
        ...row.map((value, column) => {
          const cell = make("td", value === null ? {} : { "data-value": value / 10 });
          const mark = value !== null && Math.round(value) === best[column];
          cell.append(mark ? make("b", {}, print(value)) : print(value));
          return cell;
        })))));
    one("#case-scores").replaceWith(table);
    sortable(table);
  }

  // On a black line, or in grey it could not be seen on grey.
  const draw = (svg, d, look) => svg.append(make("path", { d, class: "halo" }), make("path", { d, ...look }));

  function showSlice() {
    const of = study(), figure = one("#slice", box);
    const example = examples().find((found) => found.method === Number(choice.method.value));
    choice.method.form.hidden = !example;
    if (!example) {
      const kept = [...new Set(of.examples.map((found) => of.cases[found.case]))];
      figure.replaceChildren(make("figcaption", {}, kept.length
        ? `No slices were kept of this case. There are slices of ${kept.join(", ")}.`
        : "No slices of this study are in this page."));
      return;
    }
    const [height, width] = example.size;
    const label = unpack(example.label, width * height);
    const subset = choice.subset.value, packed = example.predictions[subset];
    const predicted = packed ? unpack(packed, width * height) : null;
    const picture = of.pictures[example.pictures][choice.ground.value];
    const regions = of.regions.map((region, i) => ({ ...region, i })).filter((region) => region.drawn);
    const name = subsetName(of.subsets[subset]);
    const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img",
      "aria-label": `Slice of case ${of.cases[example.case]} with outlines of label and prediction` });
    if (picture) svg.append(make("image", { href: picture, width, height }));
    regions.forEach((region, i) => {
      const [colour, dash] = OUTLINES[i % OUTLINES.length];
      const inside = (map) => map.map((value) => region.classes.includes(value));
      if (predicted) draw(svg, outline(inside(predicted), width), { stroke: colour, "stroke-dasharray": dash });
    });
    draw(svg, outline(label.map((value) => value > 0), width), { stroke: "#fff", style: "stroke-width: 1.5" });
    const line = (colour, dash, text, thin) => make("li", {},
      make("svg", { viewBox: "0 0 48 14", "aria-hidden": "true" },
        make("path", { d: "M2 7H46", stroke: colour, "stroke-dasharray": dash, style: thin ? "stroke-width: 1.5" : "" })), text);
    const legend = make("ul", {}, ...regions.map((region, i) => {
      const value = scores(example.method, 0, region.i)[subset];
      return line(...OUTLINES[i % OUTLINES.length], `${region.name}: ${of.metrics[0].title} ${print(value)} of the whole case`);
    }), line("#fff", "", "label, outermost", true));
    figure.replaceChildren(svg, make("figcaption", {},
      make("b", {}, of.methods[example.method]),
      ` (seed ${example.seed}), ${predicted ? `prediction from ${name}` : `this case has not ${name}`}, `
      + `slice ${example.place}${picture ? "" : "; the case lacks the chosen ground"}. It is ${example.roles.map((role) => WHY[role]).join(" and ")}.`,
      legend));
  }

  choice.study.addEventListener("change", newStudy);
  choice.case.addEventListener("change", newCase);
  for (const name of ["region", "metric"]) choice[name].addEventListener("change", showScores);
  for (const name of ["method", "subset", "ground"]) choice[name].addEventListener("change", showSlice);
  all("form", box).forEach((form) => form.addEventListener("submit", (event) => event.preventDefault()));
  fill(choice.study, studies.map((of, i) => [i, of.title]));
  choice.study.value = Math.max(0, studies.findIndex((of) => of.examples.length));
  box.hidden = false;
  newStudy();
}

function unpack(runs, length) {
  const map = new Uint8Array(length);
  let at = 0;
  for (const [, letter, count] of runs.matchAll(/([a-z])(\d+)/g)) {
    map.fill(letter.charCodeAt(0) - 97, at, at + Number(count));
    at += Number(count);
  }
  return [...map];
}

// The border of a mask as closed paths along pixel edges, the inside on the right.
function outline(mask, width) {
  const next = new Map(), corner = (x, y) => y * (width + 1) + x;
  const at = (x, y) => x >= 0 && x < width && mask[y * width + x];
  const edge = (x0, y0, x1, y1) => {
    const from = corner(x0, y0);
    next.set(from, [...(next.get(from) || []), corner(x1, y1)]);
  };
  for (let i = 0; i < mask.length; i++) {
    if (!mask[i]) continue;
    const x = i % width, y = (i - x) / width;
    if (!at(x, y - 1)) edge(x, y, x + 1, y);
    if (!at(x + 1, y)) edge(x + 1, y, x + 1, y + 1);
    if (!at(x, y + 1)) edge(x + 1, y + 1, x, y + 1);
    if (!at(x - 1, y)) edge(x, y + 1, x, y);
  }
  let path = "";
  for (const start of next.keys()) {
    while (next.get(start).length) {
      let here = start;
      path += "M";
      do {
        path += `${here % (width + 1)} ${Math.floor(here / (width + 1))} `;
        here = next.get(here).pop();
      } while (here !== start);
      path += "Z";
    }
  }
  return path;
}

all("table.scores:not(#case-scores), table.sortable").forEach(sortable);
filtering(one("#filter"));
const studies = JSON.parse(one("#data").textContent);
if (studies.length) browsing(one("#browser"), studies);
