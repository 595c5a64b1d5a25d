// The live figures of a run: asks for them once a second and draws them. All text of others goes in as text, never as HTML.
"use strict";

const PERIOD_MS = 1000;
const MOST_POINTS = 900;
const $ = (id) => document.getElementById(id);
const LIGHT = { blue: "#0072B2", red: "#D55E00", green: "#009E73", sky: "#56B4E9", purple: "#CC79A7", orange: "#E69F00" };
const DARK = { blue: "#4aa8e0", red: "#ff8a4c", green: "#2fc79c", sky: "#8fd0f5", purple: "#e3a1c6", orange: "#f2b84b" };

let points = [];
let runId = null;
let stretch = "last";
let latest = null;
let wasRunning;

function theme() {
  const chosen = localStorage.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  if (document.documentElement.dataset.theme !== chosen) {
    document.documentElement.dataset.theme = chosen;
    if (latest) draw();
  }
  return chosen;
}

function number(value, digits) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  const places = digits ?? (size >= 100 ? 0 : size >= 10 ? 1 : 2);
  return value.toLocaleString("en-US", { minimumFractionDigits: places, maximumFractionDigits: places });
}
// As on the pages: none and all are whole, and no flaw is rounded away.
const percent = (share) => {
  if (share === null || share === undefined) return "–";
  const points = 100 * share;
  if (points === 0 || points === 100) return points + "%";
  if (points < 0.01) return "<0.01%";
  if (points > 99.99 && points < 100) return ">99.99%";
  return number(points, points < 0.1 || (points > 99.9 && points < 100) ? 2 : 1) + "%";
};
const count = (value) => number(value, 0);
const FORMS = { number, count, percent };

function element(tag, text, cls) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (cls) made.className = cls;
  return made;
}

const PHASES = { warmup: "warming up", measure: "measuring", drain: "draining" };

function showHead(now) {
  const run = now.run;
  $("alert").hidden = !now.alert;
  $("alert").textContent = now.alert || "";
  for (const id of ["simulated", "phase", "report", "outcome"]) $(id).hidden = true;
  if (!run) return;
  document.body.dataset.run = run.id;
  $("title").textContent = run.scenario;
  $("about").textContent = [run.engine, run.model, run.open_loop ? "open loop" : now.state === "running" ? count(now.users) + " users" : null, run.id].filter(Boolean).join(" · ");
  $("simulated").hidden = !run.simulated;
  $("phase").hidden = false;
  const seconds = Math.max(0, now.at - run.began);
  $("phase").textContent = now.state === "running" ? PHASES[now.phase] + " · " + count(seconds) + " s" : "stopped";
  $("report").hidden = now.state === "running";
  // Green tiles of a run that is INVALID would mislead: as soon as its report is there, the tab says what it says.
  const outcome = now.state === "running" ? null : now.outcome;
  $("outcome").hidden = !outcome;
  $("outcome").className = "banner " + (outcome && outcome.code === 0 ? "green" : "bad");
  $("outcome-title").textContent = outcome ? outcome.headline : "";
  $("outcome-sentence").textContent = outcome ? outcome.sentence : "";
}

const LIGHT_WORDS = {
  green: "Load generator: fit, figures can be trusted", amber: "Load generator: near its limit",
  red: "Load generator: the bottleneck, these figures are not the engine's", grey: "Load generator: nothing known yet",
};

function showTrust(generator) {
  const light = generator ? generator.light : "grey";
  $("trust").hidden = false;
  $("trust").className = "banner " + light;
  $("trust-title").textContent = LIGHT_WORDS[light];
  $("trust-facts").textContent = !generator || light === "grey" ? "" : [
    "busiest worker " + percent(generator.cpu_share) + " of a core",
    "timing error at most " + number(generator.error_bound_ms) + " ms",
    "loop lag " + number(generator.loop_lag_ms) + " ms",
    generator.lateness_max_ms === null ? null : "arrivals late by " + number(generator.lateness_max_ms) + " ms",
    generator.workers + (generator.workers === 1 ? " worker" : " workers"),
  ].filter(Boolean).join(" · ");
  const reasons = light === "grey" ? [] : generator.reasons;
  $("trust-reasons").replaceChildren(...reasons.map((reason) => element("li", reason)));
}

function tile(name, big, unit, below) {
  const box = element("div", undefined, "tile");
  const value = element("div", big, "big");
  if (unit && big !== "–") value.append(element("small", unit));
  box.append(element("div", name, "name"), value, element("div", below || "", "below"));
  return box;
}

function slo(run, key) {
  // Of each user class its own; one that all have is said once.
  const limits = [...new Set(Object.values((run && run.slo) || {}).map((objectives) => objectives[key]))]
    .filter((limit) => typeof limit === "number");
  return limits.length ? (limits.length > 1 ? "limits " : "limit ") + limits.map(number).join(" / ") : "";
}

function showTiles(now) {
  // When nothing comes in any more, the last ten seconds run empty: then the whole run is shown.
  const over = now.state !== "running", since = now.since_start.total, last = over ? since : now.last.total;
  $("tiles-when").textContent = over ? "Whole measured time" : "Last " + count(now.last.seconds) + " s; beneath, since measuring began";
  // Of an engine that is asked no more, the last that it said.
  const ending = points.filter((point) => point.kv_usage !== null && point.kv_usage !== undefined).at(-1);
  const engine = (over ? ending : now.engine) || {};
  const whole = (value, form) => (over ? "" : "since start " + form(value));
  const limited = (key, bound, form) => [whole(since[key], form), slo(now.run, bound)].filter(Boolean).join(" · ");
  $("tiles").replaceChildren(
    ...now.layout.tiles.filter((entry) => !repeats(entry, since)).map(({ key, latency, title, unit, form, slo }) => tile(title, FORMS[form](last[key]), unit,
      key === "goodput_rps" ? "met every SLO: " + percent(since.attainment) : last.untimed[latency] || limited(key, slo, FORMS[form]))),
    tile("In flight", over ? "–" : count(now.in_flight), "", over ? "stopped" : count(now.users) + " users"),
    tile("Failed", count(since.failed), "", "error rate " + percent(since.error_rate)),
    tile("Cache hits", percent((over ? null : engine.hit_rate) ?? last.hit_rate), "", over || engine.hit_rate === undefined || engine.hit_rate === null ? "from the answers" : "by the engine; answers say " + percent(last.hit_rate)),
    tile("KV cache in use", percent(engine.kv_usage), "", over ? "when it was stopped" : now.engine ? "running " + count(engine.running) + " · waiting " + count(engine.waiting) : "the engine's metrics are not read"),
  );
}

// Without reasoning the first token is the first of the answer, and one figure is enough.
const repeats = (entry, block) => Boolean(entry.repeats) && block[entry.key] === block[entry.repeats];

// What the server says of a figure (its key in a block, its title, its form) as a column; the counts are always there.
const columns = (now) => [["Requests", (b) => count(b.requests)], ["Failed", (b) => count(b.failed)],
  ...now.layout.columns.filter((entry) => !repeats(entry, now.since_start.total)).map(({ key, title, form }) => [title, (b) => FORMS[form](b[key])])];

function showClasses(now) {
  const table = $("classes"), shown = columns(now), block = stretch === "last" ? now.last : now.since_start;
  const head = element("tr");
  head.append(element("th", "User class"), element("th", "In flight", "num"), ...shown.map(([name]) => element("th", name, "num")));
  table.tHead.replaceChildren(head);
  const row = (name, flying, figures, cls) => {
    const made = element("tr", undefined, cls);
    made.append(element("th", name), element("td", count(flying), "num"), ...shown.map(([, form]) => element("td", form(figures), "num")));
    return made;
  };
  const classes = Object.entries(block.classes).map(([name, figures]) => row(name, now.in_flight_by_class[name] || 0, figures));
  table.tBodies[0].replaceChildren(...classes, row("All", now.in_flight, block.total, "total"));
  showErrors(now);
}

function showErrors(now) {
  const names = [...new Set([...Object.keys(now.last.classes), ...Object.keys(now.since_start.classes)])].sort();
  const rows = names.flatMap((name) => {
    const [last, since] = [now.last, now.since_start].map((block) => (block.classes[name] || { errors: {} }).errors);
    return [...new Set([...Object.keys(last), ...Object.keys(since)])].sort().map((kind) => {
      const made = element("tr");
      made.append(element("td", kind.replaceAll("_", " ")), element("td", name), element("td", count(last[kind] || 0), "num"),
        element("td", count(since[kind] || 0), "num"));
      return made;
    });
  });
  $("errors").hidden = rows.length === 0;
  $("errors").querySelector("tbody").replaceChildren(...rows);
}

// What was not measured is shaded: the warm-up and the drain.
function phaseShapes(began, dark) {
  const stretches = [];
  for (const { at, phase } of points) {
    const last = stretches[stretches.length - 1];
    if (last && last.phase === phase) last.end = at; else stretches.push({ phase, start: last ? last.end : began, end: at });
  }
  return stretches.filter((each) => each.phase && each.phase !== "measure").map((each) => ({
    type: "rect", xref: "x", yref: "paper", x0: each.start - began, x1: each.end - began, y0: 0, y1: 1, layer: "below",
    line: { width: 0 }, fillcolor: dark ? "rgba(160,175,200,.12)" : "rgba(110,124,145,.12)",
    label: { text: PHASES[each.phase], textposition: "top left", font: { size: 10, color: dark ? "#a6a6a6" : "#5f6368" } } }));
}

function showNotes(now) {
  const notes = (now.run && now.run.notes) || [];
  $("notes").hidden = notes.length === 0;
  $("notes").querySelector("ul").replaceChildren(...notes.map((note) => element("li", note)));
}

// The log is asked for only while somebody looks at it.
async function showLog(now) {
  $("log").hidden = !(now.run && now.run.has_log);
  const details = $("log").querySelector("details"), box = details.querySelector("pre");
  if ($("log").hidden || !details.open) return;
  const answer = await fetch("./llm/engine.log", { cache: "no-store" });
  if (!answer.ok) return;
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 20;
  box.textContent = await answer.text();
  if (atEnd) box.scrollTop = box.scrollHeight;
}

function chart(id, series, options = {}) {
  const dark = document.documentElement.dataset.theme === "dark";
  const colours = dark ? DARK : LIGHT, ink = dark ? "#ececec" : "#1c1c1c", grid = dark ? "#383838" : "#e6e6e6";
  const began = latest && latest.run ? latest.run.began : 0;
  const x = points.map((point) => point.at - began);
  const data = series.map(([name, field, colour, scale, dash]) => ({
    x, y: points.map((point) => (point[field] === null || point[field] === undefined ? null : point[field] * (scale || 1))),
    name, mode: "lines", line: { color: colours[colour], width: 2, dash: dash || "solid" }, hovertemplate: "%{y:.3~s}",
  }));
  Plotly.react(id, data, {
    shapes: phaseShapes(began, dark),
    margin: { l: 48, r: 12, t: 6, b: series.length > 1 ? 58 : 28 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: ink, size: 11 }, hovermode: "x unified", showlegend: series.length > 1,
    legend: { orientation: "h", y: -0.16, x: 0 },
    xaxis: { ticksuffix: " s", gridcolor: grid, zeroline: false, rangemode: "tozero" },
    yaxis: { gridcolor: grid, zeroline: false, rangemode: "tozero", ...options },
  }, { displayModeBar: false, responsive: true });
}

function draw() {
  if (typeof Plotly === "undefined") return;
  chart("chart-ttft", [["p50", "ttft_p50_ms", "sky"], ["p95", "ttft_p95_ms", "blue"], ["p99", "ttft_p99_ms", "red"]]);
  chart("chart-tokens", [["output", "output_tok_s", "blue"], ["prompt + output", "total_tok_s", "orange"]]);
  chart("chart-flight", [["in flight (client)", "in_flight", "blue"], ["running (engine)", "running", "green"], ["waiting (engine)", "waiting", "red"]]);
  chart("chart-cache", [["KV cache in use", "kv_usage", "purple", 100], ["hit rate (engine)", "hit_rate", "green", 100], ["hit rate (answers)", "client_hit_rate", "sky", 100, "dot"]], { range: [0, 101] });
  chart("chart-requests", [["ended well", "requests_s", "blue"], ["met every SLO", "goodput_rps", "green", 1, "dot"], ["failed", "failed", "red"]]);
  chart("chart-tpot", [["p50", "tpot_p50_ms", "blue"]]);
}

async function ask(path) {
  const answer = await fetch(path, { cache: "no-store" });
  if (!answer.ok) throw new Error(answer.status);
  return answer.json();
}

function show(now) {
  latest = now;
  theme();
  showHead(now);
  if (now.state === "running") showTrust(now.generator);
  else if (wasRunning === undefined) $("trust").hidden = true;  // opened after the run: the dashboard says it
  if (!now.run) return;
  if (wasRunning !== false && now.state !== "running") choose("since");
  if (!wasRunning && now.state === "running") choose("last");
  wasRunning = now.state === "running";
  showTiles(now);
  showClasses(now);
  draw();
}

async function tick() {
  try {
    const now = await ask("./llm/live.json");
    if (!now.run && runId) now.alert = now.alert || "This web UI was started anew: the figures below are those of an earlier run, " + runId + ".";
    if (now.run && (now.run.id !== runId || points.length > MOST_POINTS)) {
      runId = now.run.id;
      points = await ask("./llm/history.json");
    } else if (now.run && now.state === "running") {
      const engine = now.engine || {}, total = now.last.total;
      const point = { at: now.at, phase: now.phase, in_flight: now.in_flight, failed: total.failed / now.last.seconds, client_hit_rate: total.hit_rate,
        running: engine.running, waiting: engine.waiting, kv_usage: engine.kv_usage, hit_rate: engine.hit_rate };
      for (const name of now.layout.charted) point[name] = total[name];
      points.push(point);
    }
    show(now);
    showNotes(now);
    await showLog(now);
  } catch (error) {
    $("alert").hidden = false;
    $("alert").textContent = "The load generator does not answer; these figures are old.";
  }
  setTimeout(tick, PERIOD_MS);
}

function choose(id) {
  stretch = id;
  for (const other of ["last", "since"]) $(other).setAttribute("aria-pressed", String(other === id));
  if (latest && latest.run) showClasses(latest);
}
for (const id of ["last", "since"]) $(id).addEventListener("click", () => choose(id));
setInterval(theme, 500);
theme();
tick();
