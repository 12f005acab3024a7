// Case by case. Scores are whole hundredths, by metric, region and method, the subsets of one case after another.
const rounded = (value, decimals = 1) => (value === null ? null : Number(value.toFixed(decimals)) + 0);
const print = (value, decimals = 1) => (value === null ? "–" : rounded(value, decimals).toFixed(decimals).replace("-", "−"));
const signed = (value, decimals = 1) => (rounded(value, decimals) > 0 ? "+" : "") + print(value, decimals);
const average = (values) => (values.includes(null) ? null : values.reduce((sum, value) => sum + value, 0) / values.length);
const subsetName = (of, subset) => of.modalities.filter((_, m) => of.subsets[subset][m]).join(" + ");

// A score in the metric's unit; one region beyond the last is the mean of the plain ones, one subset beyond theirs.
function score(of, metric, region, method, item, subset) {
  const regions = region < of.regions.length ? [region] : of.regions.flatMap(({ drawn }, i) => (drawn ? [i] : []));
  return average(regions.map((r) => {
    const values = of.values[metric][r][method].slice(item * of.subsets.length, (item + 1) * of.subsets.length);
    const hundredths = subset < values.length ? values[subset] : average(values);
    return hundredths === null ? null : hundredths / 100;
  }));
}

// The head of a table with a column of dots per subset of modalities, and their average.
function subsetHead(of, title) {
  const names = make("span", { class: "dots", "aria-hidden": "true" }, ...of.modalities.map((m) => make("span", {}, m)));
  const heads = of.subsets.map((dots, subset) => {
    const name = subsetName(of, subset);
    return make("th", { scope: "col", "data-column": name, title: name },
      make("span", { class: "dots", role: "img", "aria-label": name },
        ...dots.map((on) => make("span", { "aria-hidden": "true" }, on ? "●" : "○"))));
  });
  return make("thead", {}, make("tr", {}, make("th", { scope: "col" }, `${title} `, names), ...heads,
    make("th", { scope: "col", "data-column": "average" }, "Average")));
}

async function inflated(script) {
  if (!script.textContent) return { pictures: [], examples: [] };
  const bytes = Uint8Array.from(atob(script.textContent), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).json();
}

// The study that is looked at, unpacked when it is chosen.
function exploring(box) {
  const scripts = all("script.scores"), form = one("#study", box), choice = form.elements.study;
  const browser = browsing(one("#browser", box)), compare = comparing(one("#pair", box), browser.open);
  const show = async () => {
    const script = scripts[choice.value];
    const [scores, slices] = await Promise.all([script, script.nextElementSibling].map(inflated));
    if (script !== scripts[choice.value]) return;
    const study = { ...scores, ...slices };
    browser.show(study);
    compare(study);
    box.hidden = false;
  };
  const tried = () => show().catch((error) => {
    const note = one("#not-unpacked");
    note.textContent = `The scores of the cases cannot be unpacked (${error.message}): `
      + "try a newer browser, or make the report again.";
    note.hidden = false;
  });
  fill(choice, scripts.map((script, i) => [i, script.dataset.title]));
  choice.value = scripts.findIndex((script) => "begin" in script.dataset);
  form.hidden = scripts.length < 2;
  form.addEventListener("change", () => { explored = tried(); });
  return tried();
}

// One case.
const OUTLINES = [["#56B4E9", ""], ["#F0E442", "7 3"], ["#FF6B1A", "2 2"], ["#CC79A7", "8 2 2 2"]];

const WHY = {
  first: "the first test case", worst: "the run's worst case", median: "the run's median case", best: "the run's best case",
};

function browsing(box) {
  const choice = Object.fromEntries(all("select", box).map((select) => [select.name, select]));
  all("form", box).forEach((form) => form.addEventListener("submit", (event) => event.preventDefault()));
  let of;

  const show = (study) => {
    of = study;
    const kept = new Set(of.examples.map((example) => example.case));
    fill(choice.case, of.cases.map((name, i) => [i, kept.has(i) ? `${name} (slices)` : name]));
    if (kept.size) choice.case.value = Math.min(...kept);
    fill(choice.region, indexed(of.regions.map((region) => region.name)));
    fill(choice.metric, indexed(of.metrics.map((metric) => metric.title)));
    fill(choice.subset, of.subsets.map((_, subset) => [subset, subsetName(of, subset)]));
    choice.subset.value = of.subsets.length - 1;
    fill(choice.ground, indexed(of.modalities));
    showCase();
  };
  const examples = () => of.examples.filter((example) => example.case === Number(choice.case.value));
  const showCase = () => {
    fill(choice.method, examples().map((example) => [example.method, of.methods[example.method]]));
    showScores();
    showSlice();
  };
  // What another part of the page has chosen; a mean of regions or subsets leaves these as they are.
  const open = (chosen) => {
    choice.case.value = chosen.case;
    choice.metric.value = chosen.metric;
    if (chosen.region < of.regions.length) choice.region.value = chosen.region;
    if (chosen.subset < of.subsets.length) choice.subset.value = chosen.subset;
    showCase();
    if (examples().some((example) => example.method === chosen.method)) choice.method.value = chosen.method;
    showSlice();
    sayScores();
  };

  function showScores() {
    const [item, metric, region] = ["case", "metric", "region"].map((name) => Number(choice[name].value));
    const rows = of.methods.map((_, method) => [...of.subsets.keys(), of.subsets.length].map((subset) =>
      rounded(score(of, metric, region, method, item, subset))));
    const best = rows[0].map((_, column) => {
      const values = rows.map((row) => row[column]).filter((value) => value !== null);
      return new Set(values).size > 1 ? (of.metrics[metric].up ? Math.max : Math.min)(...values) : null;
    });
    const caption = `${of.metrics[metric].title} of case ${of.cases[item]} in ${of.regions[region].name} `
      + "for every subset of modalities, seeds averaged.";
    const table = make("table", { class: "scores", id: "case-scores" },
      make("caption", {}, make("span", {}, caption)), subsetHead(of, "Method"),
      make("tbody", {}, ...rows.map((row, method) => make("tr", {}, make("th", { scope: "row" }, of.methods[method]),
        ...row.map((value, column) => make("td", value === null ? {} : { "data-value": value },
          value !== null && value === best[column] ? make("b", {}, print(value)) : print(value)))))));
    renew(table, box);
    sortable(table);
  }

  // On a black line, or in grey it could not be seen on grey.
  const draw = (svg, d, look) => svg.append(make("path", { d, class: "halo" }), make("path", { d, ...look }));

  function showSlice() {
    const figure = one("#slice", box);
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
    const name = subsetName(of, subset);
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
    const mean = example.trainings > 1 ? `, mean of ${example.trainings} trainings` : "";
    const legend = make("ul", {}, ...regions.map((region, i) => {
      const value = print(score(of, 0, region.i, example.method, example.case, subset));
      return line(...OUTLINES[i % OUTLINES.length], `${region.name}: ${of.metrics[0].title} ${value} of the whole case${mean}`);
    }), line("#fff", "", "label, outermost", true));
    const why = example.roles.map((role) => WHY[role]).join(" and ");
    figure.replaceChildren(svg, make("figcaption", {}, make("p", {}, make("b", {}, of.methods[example.method]),
      ` (seed ${example.seed}), ${predicted ? `prediction from ${name}` : `this case has not ${name}`}, `
      + `slice ${example.place}${picture ? "" : "; the case lacks the chosen ground"}. It is ${why}.`), legend));
  }

  const sayScores = () => say(one("#case-scores caption", box).textContent);
  const saySlice = () => say(one("#slice figcaption", box).firstChild.textContent);
  const react = (names, ...steps) => names.forEach((name) =>
    choice[name].addEventListener("change", () => steps.forEach((step) => step())));
  react(["case"], showCase, sayScores);
  react(["region", "metric"], showScores, sayScores);
  react(["method", "subset", "ground"], showSlice, saySlice);
  return { show, open };
}
