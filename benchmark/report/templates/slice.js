// What a slice is drawn from: its classes out of runs of a letter and a length, and the border of a region.
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
