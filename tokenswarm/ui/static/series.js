// A search for a capacity or a comparison: started with choices of the server's lists, watched, stopped. Text of others goes in as text.
"use strict";
(() => {
  const PERIOD_MS = 1000;
  const TITLES = { capacity: "Capacity", compare: "Comparison" };
  const UNITS = { users: " users", requests_s: " requests/s" };
  const STATES = { pass: "surely passes", fail: "surely fails", undecided: "not decided", limited: "limited by the load generator" };
  const HINTS = {
    capacity: "Runs at several loads on the engine of this page, until the highest one that meets the SLOs of the scenario is known.",
    compare: "Runs of both sides in turn, in pairs with the same work. An engine other than the one of this page is started for it, on this machine.",
  };
  const form = $("series-form");
  let known = false;
  let shownState = null;

  function fill(name, values, label = (value) => value, chosen) {
    form.elements[name].replaceChildren(...values.map((value) => {
      const option = element("option", label(value));
      option.value = value;
      option.selected = value === chosen;
      return option;
    }));
  }

  function offer(choices) {
    if (known || !choices) return;
    known = true;
    $("series").hidden = false;
    const engine = (name) => (name === "this" ? "this engine" + (choices.this ? " (" + choices.this + ")" : "") : (choices.titles || {})[name] || name);
    fill("scenario", choices.scenario, undefined, choices.chosen);
    fill("a", choices.engine, engine, "this");
    fill("b", choices.engine, engine, choices.other || undefined);
    fill("duration", choices.duration, (value) => (value === "scenario" ? "as the scenario says" : value));
    fill("repeats", choices.repeats, undefined, choices.repeats.at(-1));
    fill("budget", choices.budget, (value) => (value === "none" ? "not set (a capacity: 2 h, simulated 10 min)" : value), "15m");
    change();
  }

  function change() {
    const kind = form.elements.kind.value;
    for (const label of form.querySelectorAll(".for-compare")) label.hidden = kind !== "compare";
    $("series-hint").textContent = HINTS[kind];
  }

  const minutes = (seconds) => (seconds < 90 ? count(seconds) + " s" : count(seconds / 60) + " min");

  function facts(now) {
    const progress = now.progress, bracket = progress && progress.bracket;
    const said = [minutes((now.state === "running" ? now.at : progress ? progress.updated_at : now.at) - now.began) + " spent"];
    if (progress && progress.left && progress.left.seconds !== null && now.state === "running") said.push(minutes(progress.left.seconds) + " left at most");
    if (progress) said.push(count(progress.runs) + (progress.runs === 1 ? " run" : " runs"));
    // A comparison tells which run it is at in what it prints, and how far that is.
    if (!progress && now.state === "running") {
      const began = now.lines.findLastIndex((line) => /^run \d+ of \d+: /.test(line));
      if (began >= 0) said.push(now.lines[began]);
      const along = now.lines.slice(Math.max(began, 0)).filter((line) => /^\s*\d+\/\d+ s  /.test(line)).at(-1);
      if (along) said.push("measured " + along.trim().split("  ")[0]);
    }
    if (!bracket) return said;
    const unit = UNITS[bracket.unit] || "";
    if (bracket.sure_pass !== null) said.push(number(bracket.sure_pass, 0) + unit + " surely pass");
    if (bracket.sure_fail !== null) said.push(number(bracket.sure_fail, 0) + unit + " surely fail");
    if (bracket.estimate !== null) said.push("estimate " + number(bracket.estimate, 0) + unit
      + (bracket.ci95[0] !== null && bracket.ci95[1] !== null ? " (" + number(bracket.ci95[0], 0) + " to " + number(bracket.ci95[1], 0) + ")" : ""));
    return said;
  }

  function showLevels(bracket) {
    const levels = (bracket && bracket.levels) || [];
    $("series-levels").hidden = levels.length === 0;
    if (!levels.length) return;
    const ordered = [...levels].sort((one, other) => one.load - other.load);
    $("series-levels").querySelector("tbody").replaceChildren(...ordered.map((level) => {
      const row = element("tr");
      row.append(element("td", number(level.load, 0) + (UNITS[bracket.unit] || ""), "num"), element("td", STATES[level.state] || level.state),
        element("td", percent(level.attainment), "num"), element("td", percent(level.ci95[0]) + " to " + percent(level.ci95[1]), "num"),
        element("td", count(level.requests), "num"));
      return row;
    }));
    draw(ordered, bracket);
  }

  // Of a comparison: how each run of a side came out, without the path of its folder.
  function showRuns(lines) {
    $("series-runs").hidden = lines.length === 0;
    $("series-runs").replaceChildren(...lines.map((line) => element("li", line.split("  ").slice(0, -1).join(", ") || line)));
  }

  function draw(levels, bracket) {
    if (typeof Plotly === "undefined") return;
    const dark = document.documentElement.dataset.theme === "dark", colours = dark ? DARK : LIGHT;
    const ink = dark ? "#ececec" : "#1c1c1c", grid = dark ? "#383838" : "#e6e6e6";
    const looks = { pass: ["green", "circle"], fail: ["red", "x"], undecided: ["orange", "diamond-open"], limited: ["purple", "square-open"] };
    const data = Object.entries(looks).map(([state, [colour, symbol]]) => {
      const those = levels.filter((level) => level.state === state && level.attainment !== null);
      return { x: those.map((level) => level.load), y: those.map((level) => 100 * level.attainment), name: STATES[state], mode: "markers", type: "scatter",
        marker: { color: colours[colour], symbol, size: 10 }, hovertemplate: "%{x}: %{y:.1f}% in time",
        error_y: { type: "data", symmetric: false, color: colours[colour],
          array: those.map((level) => 100 * (level.ci95[1] - level.attainment)), arrayminus: those.map((level) => 100 * (level.attainment - level.ci95[0])) } };
    }).filter((trace) => trace.x.length);
    Plotly.react("chart-series", data, {
      margin: { l: 48, r: 12, t: 6, b: 62 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: ink, size: 11 },
      showlegend: true, legend: { orientation: "h", y: -0.3, x: 0 },
      xaxis: { title: { text: bracket.unit === "users" ? "users" : "requests/s", standoff: 4 }, gridcolor: grid, zeroline: false, rangemode: "tozero" },
      yaxis: { ticksuffix: "%", gridcolor: grid, zeroline: false, range: [0, 104] },
      shapes: [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: 100 * bracket.target, y1: 100 * bracket.target, line: { color: ink, width: 1, dash: "dot" } }],
    }, { displayModeBar: false, responsive: true });
  }

  function show(now) {
    offer(now.offered);
    const there = now.state !== "none", going = now.state === "running";
    $("series-now").hidden = !there;
    $("series-new").hidden = going;
    form.querySelector("button").disabled = Boolean(now.why_not);
    if (now.why_not && !going) $("series-hint").textContent = now.why_not[0].toUpperCase() + now.why_not.slice(1) + "."; else change();
    if (!there) return;
    // Of a run that never was nothing is said beside a series that is.
    $("head").hidden = !document.body.dataset.run;
    const named = (side) => (side === "this" ? (now.offered && now.offered.this) || "this engine" : (now.offered && now.offered.titles || {})[side] || side);
    const kind = now.choices.kind, sides = kind === "compare" ? " of " + named(now.choices.a) + " (A) and " + named(now.choices.b) + " (B)" : "";
    $("series-title").textContent = TITLES[kind] + sides + ": " + now.choices.scenario;
    $("series-state").textContent = going ? (now.stopping ? "stopping" : "going on") : "over";
    $("series-stop").hidden = !going;
    $("series-stop").textContent = now.stopping ? "Stop at once" : "Stop";
    $("series-page").hidden = !now.page;
    const told = now.lines.filter((line) => /^after \d+ of at most/.test(line)).at(-1);
    const progress = now.progress;
    const capital = (words) => words[0].toUpperCase() + words.slice(1);
    $("series-sentence").textContent = going ? (progress && progress.sentence && capital(progress.sentence)) || (told ? capital(told) + "." : "It begins.") : now.sentence + (now.verdict ? " " + now.verdict : told ? " It said: " + told : "");
    $("series-facts").textContent = facts(now).join(" · ");
    showLevels(progress && progress.bracket);
    showRuns(now.lines.filter((line) => /^side [AB]: /.test(line)));
    const output = $("series-output").querySelector("pre"), atEnd = output.scrollHeight - output.scrollTop - output.clientHeight < 20;
    output.textContent = now.lines.join("\n");
    if (atEnd) output.scrollTop = output.scrollHeight;
    // What went wrong stands in its last lines.
    if (shownState === "running" && !going && now.code !== 0) $("series-output").open = true;
    shownState = now.state;
  }

  async function send(path, fields) {
    const answer = await fetch(path, { method: "POST", body: new URLSearchParams(fields) });
    const told = answer.ok ? await answer.json() : { success: false, message: "The request was refused (" + answer.status + ")." };
    $("series-wrong").hidden = told.success;
    $("series-wrong").textContent = told.message;
    await look();
    return told.success;
  }

  async function look() {
    try {
      show(await ask("./llm/series.json"));
    } catch (error) {
      /* llm.js says that nobody answers */
    }
  }

  form.addEventListener("change", change);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    // What goes on stands above; when it is over, the form is there again, closed as at first.
    if (await send("./llm/series/start", new FormData(form))) $("series-new").open = false;
  });
  $("series-stop").addEventListener("click", () => send("./llm/series/stop", {}));
  const tick = async () => { await look(); setTimeout(tick, PERIOD_MS); };
  tick();
})();
