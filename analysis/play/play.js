// The playable part of the report: rows for the charts, details of a pair, tables. Names come from data and are
// only ever set as text.
(async () => {
  "use strict";
  const by = (id) => document.getElementById(id);
  const MINUS = "\u2212";

  function element(tag, text, attributes = {}) {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  }

  // What gzip and base64 hold, as text.
  async function unpacked(base64) {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  }

  const plain = (value) => String(value).replace("-", MINUS);

  function signed(value, digits = 2) {
    if (value === null || value === undefined) return "unknown";
    const text = Math.abs(value).toFixed(digits);
    const sign = Number(text) === 0 ? "+" : value < 0 ? MINUS : "+";
    return sign + text;
  }

  // The columns of pair_data as rows of the charts (see chart.py).
  function cellRows(data) {
    const { cells } = data;
    return cells.method.map((method, i) => {
      const [source, target] = [cells.source[i], cells.target[i]];
      const row = {
        shots: data.shots[cells.shots[i]],
        method: data.methods[method],
        source: data.tasks[source],
        target: data.tasks[target],
        verdict: data.verdicts[cells.verdict[i]] ?? "",
        n: cells.n[i],
        diverged: cells.diverged[i],
        q: cells.q[i],
      };
      cells.values.forEach(([value, low, high], k) => {
        Object.assign(row, { [`v${k}`]: value[i], [`l${k}`]: low[i], [`h${k}`]: high[i] });
      });
      cells.measures.forEach((values, k) => { row[`m${k}`] = values[i]; });
      const clusters = data.clusters[`${cells.shots[i]} ${method}`] ?? data.orders[0].places;
      const orders = [["cluster", clusters], ...data.orders.map((order, k) => [k, order.places])];
      for (const [name, places] of orders) {
        row[`s${name}`] = places[source];
        row[`t${name}`] = places[target];
      }
      return row;
    });
  }

  // Numbers of the rows in `columns` by their shots, method, source and target.
  function indexed(columns) {
    const found = new Map();
    (columns.method ?? []).forEach((method, i) => {
      const key = [columns.shots[i], method, columns.source[i], columns.target[i]].join(" ");
      if (!found.has(key)) found.set(key, []);
      found.get(key).push(i);
    });
    return found;
  }

  async function heatmap() {
    const data = JSON.parse(await unpacked(by("play-data").textContent));
    const specs = JSON.parse(by("play-charts").textContent);
    const rows = cellRows(data);
    const [runs, curves] = [indexed(data.runs), indexed(data.curves)];
    const cellOf = new Map(rows.map((row) => [[row.shots, row.method, row.source, row.target].join("\n"), row]));

    by("play").hidden = false;
    const targets = new Set(data.cells.target).size;
    by("play-map").style.minWidth = `${130 + 11 * targets}px`;
    const room = by("play-map").clientWidth - 130;
    const step = Math.max(11, Math.min(28, room / targets));
    specs.heatmap.height = { step };
    specs.heatmap.config.axis = { labelFontSize: step < 13 ? 8 : 10 };
    specs.heatmap.datasets = { cells: rows };
    specs.scatter.datasets = { cells: rows };
    specs.curves.datasets = { curves: [] };
    const look = { renderer: "svg", actions: false };
    const download = { export: true, source: false, compiled: false, editor: false };
    const { view } = await vegaEmbed("#play-map", specs.heatmap, { ...look, actions: download, bind: "#play-menus" });
    const scatter = data.measures.length
      ? (await vegaEmbed("#pair-scatter", specs.scatter, { ...look, bind: "#pair-measure" })).view : null;
    const lines = curves.size ? (await vegaEmbed("#pair-curves", specs.curves, look)).view : null;
    let picked = null;

    function seedTable(numbers) {
      const table = element("table");
      table.append(element("caption", "Scores of the seeds, %"));
      const head = table.createTHead().insertRow();
      for (const name of ["seed", "score", "scratch", "difference"]) {
        head.append(element("th", name, { scope: "col", class: "number" }));
      }
      for (const i of numbers) {
        const [score, scratch] = [data.runs.score[i], data.runs.scratch[i]];
        const known = score !== null && scratch !== null;
        const shown = [data.runs.seed[i], score === null ? "diverged" : (100 * score).toFixed(2),
          scratch === null ? "unknown" : (100 * scratch).toFixed(2), known ? signed(100 * (score - scratch)) : ""];
        const row = table.insertRow();
        for (const text of shown) row.append(element("td", text, { class: "number" }));
      }
      return table;
    }

    function promptLinks(row, seeds) {
      const list = element("p");
      const link = (group, start, seed, said) => {
        const names = { method: row.method, group, start, shots: row.shots, seed };
        const path = data.prompts.pattern.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(names[name]));
        list.append(element("a", `${said}, seed ${seed}`, { href: path, download: "" }), " ");
      };
      for (const seed of seeds) {
        if (data.prompts.sources.includes(row.source)) link(row.source, data.prompts.start, seed, `prompt of ${row.source}`);
        if (data.prompts.pairs) link(row.target, row.source, seed, "prompt of the pair");
      }
      return list;
    }

    function showPair() {
      if (picked === null) return;
      const [method, shots, kind] = ["method", "shots", "kind"].map((name) => view.signal(name));
      const [source, target] = picked;
      const row = cellOf.get([shots, method, source, target].join("\n"));
      const about = by("pair-about");
      about.replaceChildren(element("h3", `${source} \u2192 ${target}`));
      by("pair").hidden = false;
      if (!row) {
        about.append(element("p", `${method} has no such pair.`));
        return;
      }
      const { label, unit, scale } = data.kinds[kind];
      const [value, low, high] = ["v", "l", "h"].map((letter) => row[letter + kind]).map((x) => x === null ? null : scale * x);
      const said = [`${method}${shots ? `, ${shots} shots` : ""}: ${label} ${value === null ? "unknown" : `${signed(value)} ${unit}`}`];
      if (low !== null && high !== null) said.push(`95% interval ${signed(low)} to ${signed(high)}`);
      if (row.q !== null) said.push(`q ${plain(row.q)}`);
      if (row.n !== null) said.push(`${row.n} ${row.n === 1 ? "seed" : "seeds"}`);
      if (row.diverged) said.push(`${row.diverged} diverged`);
      if (row.verdict) said.push(`verdict: ${row.verdict}`);
      about.append(element("p", `${said.join("; ")}.`));
      const alike = data.measures.map((name, k) => [name, row[`m${k}`]]).filter((pair) => pair[1] !== null);
      if (alike.length) about.append(element("p", `Similarity: ${alike.map(([name, x]) => `${name} ${plain(x)}`).join("; ")}.`, { class: "note" }));

      const [k, m] = [data.shots.indexOf(shots), data.methods.indexOf(method)];
      const [s, t] = [data.tasks.indexOf(source), data.tasks.indexOf(target)];
      const numbers = runs.get([k, m, s, t].join(" ")) ?? [];
      if (numbers.length) about.append(seedTable(numbers));
      if (data.prompts && numbers.length) about.append(promptLinks(row, numbers.map((i) => data.runs.seed[i])));
      if (lines) {
        const points = [];
        for (const [start, from] of [["transfer", s], ["scratch", -1]]) {
          for (const i of curves.get([k, m, from, t].join(" ")) ?? []) {
            data.curves.sets[data.curves.steps[i]].forEach((step, j) => {
              const score = data.curves.scores[i][j];
              if (score !== null) points.push({ start, seed: data.curves.seed[i], step, score: 100 * score });
            });
          }
        }
        lines.data("curves", points).resize().runAsync();
      }
      if (scatter) {
        for (const [name, given] of Object.entries({ method, shots, kind, picked_source: source, picked_target: target })) {
          scatter.signal(name, given);
        }
        scatter.resize().runAsync();
      }
    }

    function pick(source, target) {
      picked = [source, target];
      view.signal("picked_source", source).signal("picked_target", target).runAsync();
      showPair();
    }

    view.addEventListener("click", (_, item) => {
      if (item?.datum?.source !== undefined) pick(item.datum.source, item.datum.target);
    });
    for (const name of ["method", "shots", "kind"]) view.addSignalListener(name, showPair);

    const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    by("play-map").addEventListener("keydown", (event) => {
      const move = moves[event.key];
      if (!move || event.target !== by("play-map")) return;
      event.preventDefault();
      const axes = [view.scale("y").domain(), view.scale("x").domain()];
      const [down, across] = axes.map((names, i) => {
        const at = picked === null ? 0 : names.indexOf(picked[i]) + move[i];
        return names[Math.max(0, Math.min(names.length - 1, at))];
      });
      pick(down, across);
    });
  }

  // ---- tables ----------------------------------------------------------------------------------------------

  // Rows of a CSV text (RFC 4180).
  function parsed(text) {
    const rows = [];
    let row = [];
    for (const [, quoted, bare, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/g)) {
      row.push(quoted === undefined ? bare : quoted.replaceAll('""', '"'));
      if (end === ",") continue;
      if (row.length > 1 || row[0] !== "") rows.push(row);
      row = [];
    }
    return rows;
  }

  function written(rows) {
    const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    return rows.map((row) => `${row.map(cell).join(",")}\n`).join("");
  }

  const STEP = 100; // rows shown at a time

  async function openTable(link, place) {
    const [head, ...all] = parsed(await unpacked(link.href.split(",")[1]));
    const name = link.download.replace(/\.csv\.gz$/, "");
    const number = head.map((_, i) => all.some((row) => row[i] !== "") && all.every((row) => row[i] === "" || !Number.isNaN(Number(row[i]))));
    let [shown, limit, sorted] = [all, STEP, null];

    const filter = element("input", undefined, { type: "search", placeholder: "words, or column>number" });
    const label = element("label", `Rows of ${name} with `);
    label.append(filter);
    const save = element("button", "Save these rows", { type: "button" });
    const more = element("button", "More rows", { type: "button" });
    const close = element("button", "Close", { type: "button" });
    const count = element("span", "", { role: "status" });
    const table = element("table");
    const scroll = element("div", undefined, { class: "scroll", tabindex: "0", role: "region", "aria-label": `table ${name}` });
    scroll.append(table);
    const bar = element("p");
    bar.append(label, " ", count, " ", save, " ", close);
    place.replaceChildren(bar, scroll, more);

    const heads = table.createTHead().insertRow();
    head.forEach((title, i) => {
      const cell = element("th", undefined, { scope: "col", ...(number[i] && { class: "number" }) });
      const button = element("button", title, { type: "button" });
      button.addEventListener("click", () => {
        sorted = { column: i, down: sorted?.column === i ? !sorted.down : number[i] };
        draw();
      });
      cell.append(button);
      heads.append(cell);
    });
    const body = table.createTBody();

    // Every word must be in a cell; column>number and column<number compare.
    function wanted(row) {
      return filter.value.trim().toLowerCase().split(/\s+/).every((word) => {
        const [, column, sign, bound] = word.match(/^(\w+)([<>])(-?[\d.]+(?:e-?\d+)?)$/) ?? [];
        const i = head.indexOf(column);
        if (i < 0) return row.some((cell) => cell.toLowerCase().includes(word));
        return row[i] !== "" && (sign === ">" ? Number(row[i]) > Number(bound) : Number(row[i]) < Number(bound));
      });
    }

    function draw() {
      shown = all.filter(wanted);
      if (sorted) {
        const { column: i, down } = sorted;
        shown.sort((a, b) => {
          if (a[i] === "" || b[i] === "") return (a[i] === "") - (b[i] === "");
          const order = number[i] ? a[i] - b[i] : a[i].localeCompare(b[i]);
          return down ? -order : order;
        });
        [...heads.cells].forEach((cell, j) => {
          if (j === i) cell.setAttribute("aria-sort", down ? "descending" : "ascending");
          else cell.removeAttribute("aria-sort");
        });
      }
      body.replaceChildren();
      for (const row of shown.slice(0, limit)) {
        const line = body.insertRow();
        row.forEach((text, i) => line.append(element("td", text, number[i] ? { class: "number" } : {})));
      }
      count.textContent = `${shown.length} of ${all.length} rows`;
      more.hidden = shown.length <= limit;
    }

    filter.addEventListener("input", () => { limit = STEP; draw(); });
    more.addEventListener("click", () => { limit += 5 * STEP; draw(); });
    close.addEventListener("click", () => { place.replaceChildren(); link.focus(); });
    save.addEventListener("click", () => {
      const url = URL.createObjectURL(new Blob([written([head, ...shown])], { type: "text/csv" }));
      element("a", undefined, { href: url, download: `${name}.csv` }).click();
      setTimeout(() => URL.revokeObjectURL(url), 1000);
    });
    draw();
    filter.focus();
  }

  function tables() {
    for (const link of document.querySelectorAll('a[download$=".csv.gz"]')) {
      const button = element("button", "open", { type: "button", "aria-label": `open ${link.download.replace(/\.gz$/, "")}` });
      button.addEventListener("click", () => openTable(link, link.closest("section").querySelector(".opened")));
      link.after(" ", button);
    }
  }

  if (typeof DecompressionStream === "undefined") return; // an old browser: the figures and links are there
  tables();
  await heatmap();
  document.documentElement.dataset.played = "yes"; // for tests: all is drawn
})();
