// Two methods: their mean differences by region and subset, and the difference of every case.
function comparing(box, open) {
  const form = one("form", box), choice = form.elements;
  let of, methods;

  const show = (study) => {
    of = study;
    box.hidden = of.methods.length < 2;
    if (box.hidden) return;
    for (const select of [choice.method, choice.against]) fill(select, indexed(of.methods));
    fill(choice.metric, indexed(of.metrics.map((metric) => metric.title)));
    fill(choice.region, indexed([...of.regions.map((region) => region.name), `mean of ${of.plain}`]));
    fill(choice.subset, indexed([...of.subsets.map((_, subset) => subsetName(of, subset)), "average over all subsets"]));
    if (choice.method.value === choice.against.value) {
      const first = Math.max(0, of.references.findIndex((reference) => reference !== null));
      [choice.method.value, choice.against.value] = of.references[first] === null ? [1, 0] : [first, of.references[first]];
      [choice.region.value, choice.subset.value] = [of.regions.length, of.subsets.length];
    }
    compare();
  };

  function compare() {
    const [method, against, metric, region, subset] = ["method", "against", "metric", "region", "subset"]
      .map((name) => Number(choice[name].value));
    methods = [method, against];
    offer(choice.method, choice.against);
    offer(choice.against, choice.method);
    const cases = differences(metric, region, subset), effect = effectOf(metric, region, subset);
    const { title, up } = of.metrics[metric], names = methods.map((i) => of.methods[i]);
    const where = ["metric", "region", "subset"].map((name) => choice[name].selectedOptions[0].textContent).join(", ");
    const count = (sign) => cases.filter(({ difference }) => Math.sign(rounded(difference)) === (up ? sign : -sign)).length;
    one("#pair-said").textContent = `${names.join(" minus ")}, ${where}: ${signed(effect.mean, 2)}${interval(effect)}. `
      + `Better in ${count(1)} of ${cases.length} cases, worse in ${count(-1)}.`;
    showMeans(metric, `${names.join(" minus ")}: mean difference in ${title} for every subset of modalities.`);
    showCases(cases, effect, up, names, { method, metric, region, subset }, `Each case in ${where}, seeds averaged.`);
  }

  const pairOf = () => of.pairs.find((pair) => methods.every((method) => pair.methods.includes(method)));
  const interval = ({ low, high }) => (low === null ? "" : ` [${print(low, 2)}, ${print(high, 2)}]`);

  // The mean difference with the ends of its interval; of a pair without one, the mean over the cases.
  function effectOf(metric, region, subset) {
    const pair = pairOf();
    if (!pair) {
      const cases = differences(metric, region, subset).map(({ difference }) => difference);
      return { mean: cases.length ? average(cases) : null, low: null, high: null };
    }
    const place = region * (of.subsets.length + 1) + subset, turned = pair.methods[0] !== methods[0];
    const unit = turned ? -100 : 100;
    const ends = pair.effects[metric].map((values) => (values[place] === null ? null : values[place] / unit));
    return turned ? { mean: ends[0], low: ends[2], high: ends[1] } : { mean: ends[0], low: ends[1], high: ends[2] };
  }

  function differences(metric, region, subset) {
    return of.cases.map((name, item) => {
      const [ours, theirs] = methods.map((method) => score(of, metric, region, method, item, subset));
      return { name, item, ours, theirs, difference: ours === null || theirs === null ? null : ours - theirs };
    }).filter(({ difference }) => difference !== null);
  }

  function showMeans(metric, caption) {
    const pair = pairOf();
    const about = pair
      ? `95 % intervals over ${pair.about}; one of twenty such intervals lies beside zero where there is no difference.`
      : "Of so many methods, the page has intervals of each against its baseline alone.";
    const rows = [...of.regions.map((region) => region.name), `Mean of ${of.plain}`].map((name, region) =>
      make("tr", {}, make("th", { scope: "row" }, name), ...[...of.subsets.keys(), of.subsets.length].map((subset) => {
        const effect = effectOf(metric, region, subset);
        return make("td", {}, signed(effect.mean, 2), make("small", {}, interval(effect)));
      })));
    renew(make("table", { class: "scores", id: "pair-means" },
      make("caption", {}, make("span", {}, `${caption} ${about}`)), subsetHead(of, "Region"), make("tbody", {}, ...rows)), box);
  }

  function showCases(cases, effect, up, names, chosen, caption) {
    const most = Math.max(...[...cases.map(({ difference }) => difference), ...Object.values(effect)].map(Math.abs), 0.1);
    const part = (from, to, kind) => make("i", { class: kind,
      style: `left: ${50 + 50 * Math.min(from, to) / most}%; width: ${50 * Math.abs(to - from) / most}%` });
    const drawn = (value, ...more) => make("span", { class: "drawn", "aria-hidden": "true" },
      part(0, value, (up ? value > 0 : value < 0) ? "better" : "worse"), ...more);
    const number = (value) => make("td", { "data-value": value }, print(value));
    const figure = (value, decimals) => make("span", { class: "figure" }, signed(value, decimals));
    const sliced = new Set(of.examples.map((example) => example.case));
    const link = (target, item, text, more) => {
      const made = make("a", { href: target, ...more }, text);
      made.addEventListener("click", () => open({ ...chosen, case: item }));
      return made;
    };
    const rows = cases.map(({ name, item, ours, theirs, difference }) => make("tr", {},
      make("th", { scope: "row" }, link("#one-case", item, name),
        ...(sliced.has(item) ? [" ", link("#slice", item, "slices", { "aria-label": `slices of ${name}` })] : [])),
      make("td", { "data-value": difference }, drawn(difference), figure(difference)), number(ours), number(theirs)));
    const means = ["ours", "theirs"].map((side) => (cases.length ? average(cases.map((item) => item[side])) : null));
    const whisker = effect.low === null ? [] : [part(effect.low, effect.high, "interval")];
    const table = make("table", { class: "scores", id: "pair-cases" },
      make("caption", {}, make("span", {},
        `${caption} Bars are blue where the case is better, orange where it is worse. A link shows the case below.`)),
      make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "Case"),
        ...["Difference", ...names].map((head) => make("th", { scope: "col", "data-column": head }, head)))),
      make("tbody", {}, ...rows),
      make("tfoot", {}, make("tr", {}, make("th", { scope: "row" }, "Mean"),
        make("td", {}, drawn(effect.mean, ...whisker), figure(effect.mean, 2), make("small", {}, interval(effect))),
        ...means.map((mean) => make("td", {}, print(mean))))));
    renew(table, box);
    sortable(table, { column: 1, order: up ? "descending" : "ascending" });
  }

  // Neither list offers what the other has, so that arrow keys go past it.
  function offer({ options }, { value }) {
    for (const option of options) option.disabled = option.value === value;
  }

  form.addEventListener("change", compare);
  choice.swap.addEventListener("click", () => {
    [choice.method.value, choice.against.value] = [choice.against.value, choice.method.value];
    compare();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  return show;
}
