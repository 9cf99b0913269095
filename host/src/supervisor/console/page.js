"use strict";
// The console. Whatever comes from plugins and providers is put into text nodes and attributes, never into markup; the
// page's policy (Trusted Types) would refuse anything else.

// --- what is known ---

const known = { at: Date.now(), state: null, points: [], step: 10000, of: "", events: null, dead: null, refusals: null };
let token = "";
let story = null;          // the event whose story is open: { id, body, told, sure }
let healthSaid = "", alertsSaid = "";
const $ = (id) => document.getElementById(id);

// --- elements ---

function made(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(3)) {
    if (child !== null && child !== undefined && child !== false) node.append(child instanceof Node ? child : String(child));
  }
  return node;
}
const h = (tag, attributes, ...children) => made(document.createElement(tag), attributes, children);
const s = (tag, attributes, ...children) => made(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

// Makes what is there like what is wanted, and touches nothing that is the same: focus, selection and what was unfolded
// stay.
function show(place, ...wanted) {
  const next = document.createElement(place.localName);
  made(next, null, wanted);
  children(place, next);
}
function children(place, next) {
  const wanted = [...next.childNodes];
  wanted.forEach((node, index) => {
    const there = place.childNodes[index];
    if (!there) place.append(node);
    else if (there.nodeType !== node.nodeType || there.nodeName !== node.nodeName || keyOf(there) !== keyOf(node)) there.replaceWith(node);
    else if (node.nodeType === Node.TEXT_NODE) { if (there.data !== node.data) there.data = node.data; }
    else { attributes(there, node); children(there, node); }
  });
  while (place.childNodes.length > wanted.length) place.lastChild.remove();
}
function keyOf(node) { return node.nodeType === Node.ELEMENT_NODE ? node.getAttribute("data-key") : null; }
function attributes(there, node) {
  for (const { name, value } of node.attributes) if (there.getAttribute(name) !== value) there.setAttribute(name, value);
  for (const { name } of [...there.attributes]) {
    const isKept = name === "open" && there.localName === "details";
    if (!node.hasAttribute(name) && !isKept) there.removeAttribute(name);
  }
}

// --- words ---

const number = new Intl.NumberFormat("en");
const clockTime = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const wholeTime = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

function span(ms) {
  const seconds = Math.round(Math.abs(ms) / 1000);
  if (seconds < 90) return `${seconds} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}
function duration(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1000) return `${ms} ms`;
  return ms < 60000 ? `${(ms / 1000).toFixed(ms < 10000 ? 1 : 0)} s` : span(ms);
}
function time(text) {
  if (!text) return "–";
  const at = new Date(text), away = at - known.at;
  if (Number.isNaN(at.getTime())) return text;
  const words = Math.abs(away) < 1500 ? "now" : away > 0 ? `in ${span(away)}` : `${span(away)} ago`;
  return h("time", { datetime: text, title: wholeTime.format(at) }, words);
}
function size(bytes) {
  if (bytes < 1024) return `${bytes} bytes`;
  return bytes < 1048576 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / 1048576).toFixed(1)} MiB`;
}
function plural(count, one, many) { return `${number.format(count)} ${count === 1 ? one : many}`; }

// A state is a shape, a colour and a word.
const SHAPES = {
  good: () => s("circle", { cx: 5, cy: 5, r: 4.5 }),
  warn: () => s("path", { d: "M5 0.5 9.7 9.2H0.3Z" }),
  bad: () => s("path", { d: "M0.5 0.5H9.5V9.5H0.5Z" }),
  idle: () => s("circle", { cx: 5, cy: 5, r: 3.5, fill: "none", "stroke-width": 2 }),
};
function state(tone, word) {
  return h("span", { class: `state is-${tone}` }, s("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, SHAPES[tone]()), word);
}
const TONES = {
  healthy: "good", degraded: "warn", unhealthy: "bad", "needs-connecting": "bad", unknown: "idle",
  closed: "good", "half-open": "warn", open: "bad",
  waiting: "warn", handled: "good", dead: "bad",
  well: "good", elsewhere: "idle", disabled: "bad", done: "good",
  ready: "good", failing: "warn", connecting: "warn",
};
const tone = (word) => TONES[word] || "idle";

// --- tables ---

function table(caption, heads, rows, empty) {
  if (!rows.length) return h("p", { class: "empty" }, empty);
  const head = heads.map((head) => h("th", { scope: "col", class: head.startsWith("#") ? "number" : null }, head.replace("#", "")));
  return h("div", { class: "framed" }, h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    h("table", null, h("caption", { class: "unseen" }, caption), h("thead", null, h("tr", null, head)), h("tbody", null, rows))));
}
const row = (key, first, ...cells) => h("tr", { "data-key": key }, h("th", { scope: "row" }, first), cells);
const cell = (...content) => h("td", null, content);
const counted = (value) => h("td", { class: "number" }, typeof value === "number" ? number.format(value) : value);
// What would help: words, and behind three spaces the line to type.
function help(text) {
  if (!text) return null;
  return h("span", { class: "help" }, text.split("\n").map((line, index) => {
    const [words, ...typed] = line.split(/ {3,}/);
    return [index ? "\n" : "", words, typed.length ? [" ", h("code", null, typed.join(" "))] : ""];
  }));
}
const long = (text) => h("td", { class: "long" }, text || "–");

// --- alerts ---

const LEVELS = { critical: "bad", warning: "warn" };
// Figures as people write them: at most two digits behind the point.
function figure(value, unit) {
  if (unit === "ms") return duration(Math.round(value));
  if (unit === "s") return span(value * 1000);
  return `${number.format(Math.round(value * 100) / 100)}${unit === "percent" ? " %" : ""}`;
}
function drawAlerts() {
  const { alerts, alerts_left_out: more } = known.state;
  const firing = alerts.filter((alert) => alert.state === "firing");
  $("count-alerts").hidden = !firing.length;
  $("count-alerts").textContent = firing.length + (more ? "+" : "");
  const key = (alert) => [alert.rule, alert.connection, alert.subject, alert.name].join(" ");
  const keys = firing.map(key).join("\n") || "none";
  if (alertsSaid && keys !== alertsSaid) say(firing.length ? `${plural(firing.length, "alert fires", "alerts fire")}: ${firing.map((alert) => alert.summary).join(". ")}` : "No alert fires any more.");
  alertsSaid = keys;
  if (!alerts.length) return show($("alerts-body"), h("p", { class: "empty" }, "None fires, and none is about to."));
  show($("alerts-body"), h("ul", { class: "alerts" }, alerts.map((alert) => {
    const fires = alert.state === "firing", level = fires ? LEVELS[alert.severity] : "idle";
    return h("li", { class: `is-${level}`, "data-key": key(alert) },
      h("div", { class: "bar" }, h("h3", null, alert.rule), state(level, fires ? `${alert.severity}, fires` : "waits"), h("p", { class: "sub" }, "since ", time(alert.since))),
      h("p", null, alert.summary),
      alert.unit ? h("p", { class: "sub" }, `measured ${figure(alert.value, alert.unit)} · threshold ${figure(alert.threshold, alert.unit)}`) : null,
      h("details", { "data-keep": `alert ${key(alert)}` }, h("summary", null, "What to type"),
        h("dl", { class: "typed" }, alert.typed.map(([line, about]) => h("div", null, h("dt", null, h("code", null, line)), h("dd", null, about)))),
        h("p", { class: "sub" }, "What it means, and when it is over: ", h("code", null, `wharfage alerts runbook ${alert.rule}`))));
  })), more ? h("p", { class: "empty" }, `${plural(more, "alert is", "alerts are")} not shown.`) : null);
}

// --- connections ---

function totals(connection) {
  let calls = 0, failed = 0;
  for (const operation of connection.operations || []) {
    const wrong = Object.values(operation.failed).reduce((sum, count) => sum + count, 0);
    calls += operation.succeeded + wrong;
    failed += wrong;
  }
  return { calls, failed };
}
function percent(part, whole) {
  if (!whole) return "–";
  const share = (100 * part) / whole;
  return share > 0 && share < 0.1 ? "< 0.1 %" : `${share.toFixed(share < 10 ? 1 : 0)} %`;
}
function gauge(budget) {
  const share = budget.limit ? Math.min(1, budget.used / budget.limit) : 0;
  const stopped = budget.blocked_until && new Date(budget.blocked_until) > known.at;
  const level = stopped ? "bad" : share >= 0.8 ? "warn" : "good";
  const per = budget.window_ms ? `per ${span(budget.window_ms)}` : "at once";
  const words = stopped ? ["stopped, goes on ", time(budget.blocked_until)] : `${number.format(budget.used)} of ${number.format(budget.limit)} ${per}`;
  return h("div", { class: `gauge is-${level}`, "data-key": budget.name, role: "meter", "aria-label": `budget ${budget.name}`, "aria-valuemin": 0,
    "aria-valuemax": budget.limit, "aria-valuenow": budget.used, "aria-valuetext": stopped ? "stopped" : `${budget.used} of ${budget.limit} ${per}` },
    h("span", { class: "name" }, budget.name), h("span", { class: "value" }, words),
    s("svg", { viewBox: "0 0 100 1", preserveAspectRatio: "none", "aria-hidden": "true" }, s("rect", { width: 100 * (stopped ? 1 : share), height: 1 })));
}
function card(connection) {
  const { calls, failed } = totals(connection);
  const operations = connection.operations || [];
  const slowest = operations.reduce((most, operation) => Math.max(most, operation.p95_ms || 0), 0);
  const last = operations.map((operation) => operation.succeeded_at).filter(Boolean).sort().pop();
  const health = connection.health || { state: "unknown", causes: [] };
  const circuits = connection.circuits.filter((circuit) => circuit.state !== "closed");
  const tokens = connection.tokens.filter((token) => token.state !== "ready");
  return h("article", { class: "card", "data-key": connection.name, "aria-label": `connection ${connection.name}` },
    h("div", { class: "bar" }, h("h3", null, connection.name), state(tone(health.state), health.state)),
    h("p", { class: "sub" }, `${connection.plugin} ${connection.plugin_version}`, connection.account ? ` · account ${connection.account}` : ""),
    health.causes.length ? h("ul", { class: "causes" }, health.causes.map((cause) => h("li", null, cause.message, help(cause.help)))) : null,
    h("dl", { class: "facts" },
      h("div", null, h("dt", null, "calls"), h("dd", null, number.format(calls))),
      h("div", null, h("dt", null, "failed"), h("dd", null, percent(failed, calls))),
      h("div", null, h("dt", null, "slowest p95"), h("dd", null, calls ? duration(slowest) : "–")),
      h("div", null, h("dt", null, "last success"), h("dd", null, time(last)))),
    (connection.budgets || []).length ? h("div", { class: "small" }, h("h4", null, "Budgets"), connection.budgets.map(gauge)) : null,
    h("div", { class: "small" }, h("h4", null, "Breakers"),
      circuits.length
        ? h("ul", { class: "lines" }, circuits.map((circuit) => h("li", { "data-key": circuit.origin }, h("span", { class: "mono" }, circuit.origin),
            h("span", null, state(tone(circuit.state), circuit.state), circuit.until ? [" asks again ", time(circuit.until)] : ""))))
        : h("p", { class: "sub" }, connection.circuits.length ? `${plural(connection.circuits.length, "origin", "origins")}, all closed` : "none")),
    tokens.length ? h("div", { class: "small" }, h("h4", null, "Tokens"), h("ul", { class: "causes" }, tokens.map((token) =>
      h("li", null, state(tone(token.state), token.state), ` ${token.credential}: ${token.why}`,
        token.state === "needs-connecting" ? h("code", { class: "help" }, `wharfage connect ${connection.name}`) : null)))) : null,
    connection.leaks ? h("p", { class: "small" }, state("warn", "leaks"), ` ${plural(connection.leaks, "answer", "answers")} held a secret, which was masked`) : null,
    operations.length ? h("details", { "data-keep": connection.name }, h("summary", null, plural(operations.length, "operation", "operations")),
      table(`Operations of ${connection.name}`, ["Operation", "#calls", "#failed", "#p50", "#p95", "#p99", "#429s", "#retries", "#from cache"], operations.map((operation) => {
        const kinds = Object.entries(operation.failed), wrong = kinds.reduce((sum, [, count]) => sum + count, 0);
        return row(operation.name, h("span", { class: "mono" }, operation.name), counted(operation.succeeded + wrong),
          h("td", { class: "number", title: kinds.map(([kind, count]) => `${kind} ${count}`).join(", ") || null }, number.format(wrong)),
          counted(duration(operation.p50_ms)), counted(duration(operation.p95_ms)), counted(duration(operation.p99_ms)), counted(operation.rate_limited), counted(operation.retries), counted(operation.from_cache));
      }), "")) : null);
}
function drawConnections() {
  const all = known.state.connections;
  show($("connections-body"), all.length ? all.map(card) : h("p", { class: "empty" }, "Nothing is declared that works: no endpoint, poll or socket of any connection."),
    known.state.connections_left_out ? h("p", { class: "empty" }, `${plural(known.state.connections_left_out, "connection is", "connections are")} not shown.`) : null);
  const counts = {};
  for (const connection of all) {
    const word = (connection.health || { state: "unknown" }).state;
    counts[word] = (counts[word] || 0) + 1;
  }
  const words = Object.keys(TONES).filter((word) => counts[word]).map((word) => `${counts[word]} ${word}`).join(", ");
  $("summary").textContent = `${plural(all.length, "connection", "connections")}${words ? `: ${words}` : ""}`;
  const isBad = counts.unhealthy || counts["needs-connecting"] || known.state.alerts.some((alert) => alert.state === "firing");
  document.title = isBad ? "▲ wharfage" : "wharfage";
  if (healthSaid && healthSaid !== words) say(`Health: ${words}`);
  healthSaid = words || "none";
  for (const select of [$("traffic-of"), $("inbox-of")]) {
    const first = select.id === "traffic-of" ? "all connections" : "all";
    show(select, h("option", { value: "" }, first), all.map(({ name }) => h("option", { value: name, "data-key": name }, name)));
  }
}

// --- plots ---

const LINES = [["p50", "half of them within", "p50_ms"], ["p95", "95 % within", "p95_ms"], ["p99", "99 % within", "p99_ms"]];
const ENDS = [["ok", "well"], ["waiting", "waiting helps"], ["provider", "the provider's"], ["operator", "the operator's"], ["caller", "the caller's"], ["defect", "a defect"]];
const HIGH = 176, LEFT = 48, RIGHT = 8, TOP = 8, LOW = 20;
let cursors = { latency: null, outcomes: null };

function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, value)));
  return [2, 4, 6, 10].map((factor) => factor * power).find((bound) => bound >= value) || 2;
}
// The hour that ends now, as steps, or less where the host is younger; where nothing was measured there is nothing.
function steps() {
  const { points, step } = known;
  const end = (points.length ? points[points.length - 1].at_ms : known.at) + step;
  const shown = points.length ? end - points[0].at_ms : 0;
  return { points, from: end - Math.min(3600000, Math.max(600000, shown)), to: end };
}
function frame(id, most, mark, marks, label) {
  const { points, from, to } = steps();
  const wide = $(id).clientWidth || 640;
  const x = (at) => LEFT + ((at - from) / (to - from)) * (wide - LEFT - RIGHT);
  const y = (value) => HIGH - LOW - (value / most) * (HIGH - LOW - TOP);
  const grid = [0, 0.5, 1].map((share) => [
    s("line", { class: "grid", x1: LEFT, x2: wide - RIGHT, y1: y(share * most), y2: y(share * most) }),
    s("text", { x: LEFT - 6, y: y(share * most) + 4, "text-anchor": "end" }, mark(share * most))]);
  const times = [0, 1, 2, 3].map((part) => {
    const at = from + ((to - from) * part) / 3;
    return s("text", { x: x(at), y: HIGH - 4, "text-anchor": part === 0 ? "start" : part === 3 ? "end" : "middle" }, part === 3 ? "now" : clockTime.format(at).slice(0, 5));
  });
  const at = cursors[id] === null ? null : points[cursors[id]];
  show($(id), s("svg", { viewBox: `0 0 ${wide} ${HIGH}`, role: "img", tabindex: 0, "aria-label": label, "data-plot": id },
    grid, times, marks(x, y, points), at ? s("line", { class: "cursor", x1: x(at.at_ms), x2: x(at.at_ms), y1: TOP, y2: HIGH - LOW }) : null));
}
function calls(point) { return ENDS.reduce((sum, [name]) => sum + point[name], 0); }
function drawPlots() {
  const { points } = steps();
  const slow = ceiling(Math.max(10, ...points.map((point) => point.p99_ms || 0)));
  const last = [...points].reverse().find((point) => calls(point));
  show($("latency-legend"), LINES.map(([name, words]) => h("span", null, s("svg", { viewBox: "0 0 16 10", "aria-hidden": "true" }, s("path", { class: `c-${name}`, d: "M0 5H16", fill: "none", "stroke-width": 2 })), `${name}: ${words}`)));
  frame("latency", slow, duration, (x, y, all) => LINES.map(([name, , field]) => {
    let line = "", before = null;
    for (const point of all) {
      if (point[field] === null) { before = null; continue; }
      line += `${before === null ? "M" : "L"}${x(point.at_ms).toFixed(1)} ${y(point[field]).toFixed(1)}`;
      if (before === null) line += "h0.01";
      before = point;
    }
    return s("path", { class: `c-${name}`, d: line || "M0 0", "vector-effect": "non-scaling-stroke" });
  }), last ? `How long calls took over the last hour. Lately: ${LINES.map(([name, , field]) => `${name} ${duration(last[field])}`).join(", ")}. Arrow keys go through the steps; the table below has them all.` : "No call in the last hour.");
  const most = ceiling(Math.max(5, ...points.map(calls)));
  show($("outcomes-legend"), ENDS.map(([name, words]) => h("span", null, s("svg", { viewBox: "0 0 16 10", "aria-hidden": "true" }, s("rect", { class: `f-${name}`, width: 16, height: 10 })), words)));
  const sums = ENDS.map(([name, words]) => [words, points.reduce((sum, point) => sum + point[name], 0)]);
  frame("outcomes", most, (value) => number.format(Math.round(value)), (x, y, all) => all.map((point) => {
    const left = x(point.at_ms), wide = Math.max(1, x(point.at_ms + known.step) - left - 0.3);
    let below = 0;
    return ENDS.filter(([name]) => point[name]).map(([name]) => {
      const bar = s("rect", { class: `f-${name}`, x: left.toFixed(2), width: wide.toFixed(2), y: y(below + point[name]).toFixed(2), height: Math.max(0.5, y(below) - y(below + point[name])).toFixed(2) });
      below += point[name];
      return bar;
    });
  }), `How calls ended over the last hour: ${sums.filter(([, sum]) => sum).map(([words, sum]) => `${words} ${sum}`).join(", ") || "none"}. Arrow keys go through the steps; the table below has them all.`);
  read("latency");
  read("outcomes");
  const rows = points.filter(calls).slice(-60).reverse();
  const when = (point) => h("time", { datetime: new Date(point.at_ms).toISOString() }, clockTime.format(point.at_ms));
  const isOpen = (name) => document.querySelector(`details[data-keep="${name}"]`).open;
  if (isOpen("latency-table")) show($("latency-table"), plain("How long calls took", ["From", "#calls", "#p50", "#p95", "#p99"], rows.map((point) => row(point.at_ms, when(point), counted(calls(point)), LINES.map(([, , field]) => counted(duration(point[field])))))));
  if (isOpen("outcomes-table")) show($("outcomes-table"), plain("How calls ended", ["From", ...ENDS.map(([, words]) => `#${words}`)], rows.map((point) => row(point.at_ms, when(point), ENDS.map(([name]) => counted(point[name]))))));
}
function plain(caption, heads, rows) {
  if (!rows.length) return h("p", { class: "empty" }, "No call in the last hour.");
  return h("table", null, h("caption", null, `${caption}, in steps of 10 s, the latest first`), h("thead", null, h("tr", null, heads.map((head) => h("th", { scope: "col", class: head.startsWith("#") ? "number" : null }, head.replace("#", ""))))), h("tbody", null, rows));
}
function read(id) {
  const point = cursors[id] === null ? null : known.points[cursors[id]];
  if (!point) { $(`${id}-read`).textContent = ""; return; }
  const parts = id === "latency" ? LINES.map(([name, , field]) => `${name} ${duration(point[field])}`) : ENDS.filter(([name]) => point[name]).map(([name, words]) => `${words} ${point[name]}`);
  $(`${id}-read`).textContent = `${clockTime.format(point.at_ms)}: ${calls(point) ? parts.join(" · ") : "no calls"}`;
}
function point(id, index) {
  cursors[id] = index === null ? null : Math.max(0, Math.min(known.points.length - 1, index));
  drawPlots();
}

// --- triggers and sinks ---

function drawTriggers() {
  const { polls, sockets, endpoints, sinks } = known.state;
  const some = [];
  if (endpoints.length) some.push(h("h3", null, "Webhooks"), table("Webhooks", ["Endpoint", "#received", "#repeated", "#refused", "#turned away"], endpoints.map((endpoint) =>
    row(endpoint.id, h("span", { class: "mono" }, endpoint.id), counted(endpoint.received), counted(endpoint.repeated), counted(endpoint.refused), counted(endpoint.turned_away))), ""));
  if (polls.length) some.push(h("h3", null, "Polls"), table("Polls", ["Poll", "State", "Last whole run", "Next", "Trouble"], polls.map((poll) => {
    const word = poll.failures ? "failing" : poll.is_behind ? "behind" : poll.succeeded_at ? "well" : "not run yet";
    return row(`${poll.connection} ${poll.name}`, [h("span", { class: "mono" }, poll.name), ` of ${poll.connection}`], cell(state(poll.failures ? "warn" : poll.is_behind ? "warn" : poll.succeeded_at ? "good" : "idle", word)),
      cell(time(poll.succeeded_at)), cell(poll.lag_ms > 5000 ? `due for ${span(poll.lag_ms)}` : time(poll.due)), long(poll.failures ? `${plural(poll.failures, "failure", "failures")}: ${poll.why}` : ""));
  }), ""));
  if (sockets.length) some.push(h("h3", null, "Sockets"), table("Sockets", ["Socket", "State", "Since", "#opened", "#dropped", "#given up", "Last end"], sockets.map((socket) => {
    const level = { open: "good", connecting: "warn", "stand-by": "idle", waiting: "warn", closed: "bad" }[socket.state];
    return row(`${socket.connection} ${socket.name}`, [h("span", { class: "mono" }, socket.name), ` of ${socket.connection}`], cell(state(level, socket.state), socket.until ? [" ", time(socket.until)] : ""), cell(time(socket.since)), counted(socket.openings), counted(socket.dropped), counted(socket.given_up), long(socket.why));
  }), ""));
  some.push(h("h3", null, "Sinks"), table("Sinks", ["Sink", "State", "#given", "#dead letters", "#done to number", "Trouble"], sinks.map((sink) =>
    row(sink.name, sink.name, cell(state(tone(sink.state), sink.state), sink.until ? [" asks again ", time(sink.until)] : ""), counted(sink.given), counted(sink.dead), counted(sink.position), long(sink.why))), "No [sinks] are declared: what plugins emit is kept."));
  show($("triggers-body"), some);
}

// --- inbox, dead letters, refusals ---

const opens = (event) => h("button", { type: "button", class: "link", "data-do": "story", "data-id": event.id, "aria-label": `story of event ${event.id}` }, event.id);
function eventRow(event) {
  return row(event.id, opens(event), h("td", { class: "nowrap" }, time(event.at)), h("td", { class: "nowrap", title: event.connection }, event.connection), h("td", { class: "nowrap", title: event.trigger }, event.trigger), h("td", { class: "key" }, event.key),
    
    h("td", { class: "nowrap" }, state(tone(event.state), event.state), event.state === "waiting" && event.attempts ? [" again ", time(event.due)] : ""), counted(event.attempts), long(event.why));
}
const EVENT_HEADS = ["Event", "Arrived", "Connection", "Trigger", "Key", "State", "#attempts", "Trouble"];
function drawInbox() {
  if (!known.events) return;
  const { events, before } = known.events;
  const isFiltered = $("inbox-text").value || $("inbox-of").value || $("inbox-state").value;
  show($("inbox-body"), table("Events that arrived, the latest first", EVENT_HEADS, events.map(eventRow), isFiltered ? "No event is like this." : "Nothing has arrived yet."),
    before ? h("p", { class: "actions" }, h("button", { type: "button", class: "plain", "data-do": "more" }, "Show earlier ones")) : null);
}
function drawDead() {
  if (!known.dead) return;
  const { events, letters, before, after } = known.dead;
  const count = events.length + letters.length;
  $("count-dead").hidden = !count;
  $("count-dead").textContent = before || after ? `${count}+` : count;
  if (!count) return show($("dead-body"), h("p", { class: "empty" }, "None: nothing was given up."));
  show($("dead-body"),
    events.length ? [h("h3", null, "Events that no plugin handled"), table("Events that no plugin handled", EVENT_HEADS, events.map(eventRow), "")] : null,
    letters.length ? [h("h3", null, "Events that a sink did not take"), table("Events that a sink did not take", ["#Number", "Given up", "Sink", "Connection", "Type", "Key", "Why", "To give it once more"], letters.map((letter) =>
      h("tr", { "data-key": `${letter.sink} ${letter.number}` }, h("th", { scope: "row", class: "number" }, letter.number), cell(time(letter.at)), cell(letter.sink), cell(letter.connection || "–"), cell(letter.type || "not kept"), h("td", { class: "key" }, letter.key || "–"), long(letter.why), cell(h("code", null, `wharfage events replay ${letter.number} --sink ${letter.sink}`)))), "")] : null);
}
// The lines that would allow it, without the words before them, so that they can be copied as they are.
function allowing(text) {
  if (!text) return null;
  const found = text.match(/^(To allow it[\s\S]*?wharfage\.toml:)\s*([\s\S]+)$/);
  if (!found) return h("p", { class: "help" }, text);
  return [h("p", { class: "help" }, found[1]), h("div", { class: "copy" }, h("pre", null, found[2]), h("button", { type: "button", class: "plain", "data-do": "copy" }, "Copy"))];
}
function drawRefusals() {
  if (!known.refusals) return;
  const { refusals } = known.refusals;
  $("count-refusals").hidden = !refusals.length;
  $("count-refusals").textContent = refusals.length;
  if (!refusals.length) return show($("refusals-body"), h("p", { class: "empty" }, "None since the start: no plugin wanted what it may not have."));
  show($("refusals-body"), h("ul", { class: "refusals" }, refusals.map((refusal) => {
    const key = `${refusal.connection} ${refusal.operation} ${refusal.message}`;
    return h("li", { "data-key": key }, h("p", { class: "sub" }, `${refusal.connection}${refusal.operation ? ` · ${refusal.operation}` : ""} · rule ${refusal.rule} · `, time(refusal.at), refusal.count > 1 ? ` · ${number.format(refusal.count)} times` : ""),
      h("p", null, refusal.message), allowing(refusal.help));
  })));
}

// --- one event's story ---

function drawStory() {
  if (!story || !story.told) return;
  const { event, content, emitted } = story.told;
  $("story-title").textContent = `Event ${event.id}`;
  const handled = { waiting: event.attempts ? `It waits for attempt ${event.attempts + 1}` : "It waits for its plugin", handled: "Its plugin handled it", dead: "It was given up" }[event.state];
  const pairs = (all) => h("dl", { class: "pairs" }, all.filter(Boolean).map(([name, ...value]) => [h("dt", null, name), h("dd", null, value)]));
  show($("story-body"),
    h("ol", { class: "story" },
      h("li", { class: "is-good" }, h("h3", null, "It arrived"), pairs([["when", time(event.at), ` (${wholeTime.format(new Date(event.at))})`], ["connection", event.connection], ["by", event.trigger], ["key", h("span", { class: "mono" }, event.key)], event.order && ["order", event.order], content && ["content", `${size(content.bytes)}, ${plural(content.headers.length, "header field", "header fields")}`], !content && ["content", "is not kept any more"]]),
        content ? h("details", { "data-keep": "headers" }, h("summary", null, "Header fields"), pairs(content.headers.map(([name, value]) => [h("span", { class: "mono" }, name), h("span", { class: "mono" }, value)]))) : null,
        content && content.body !== null ? [h("pre", { tabindex: 0, role: "region", "aria-label": "the body as received" }, content.body || "(empty)"), content.is_cut ? h("p", { class: "empty" }, "Its beginning. All of it: ", h("code", null, `wharfage events show ${event.id} --body --json`)) : null] : null),
      h("li", { class: `is-${tone(event.state)}` }, h("h3", null, handled), pairs([["attempts", number.format(event.attempts)], event.state === "waiting" && ["due", time(event.due)], event.state === "handled" && ["when", time(event.due)], event.why && ["trouble", event.why]])),
      emitted.length ? emitted.map((out) => h("li", { class: out.sinks.some((sink) => sink.state === "dead") ? "is-bad" : out.sinks.every((sink) => sink.state === "done") ? "is-good" : "is-warn" },
        h("h3", null, `It emitted ${out.type || "an event that is not kept any more"}`), pairs([["number", number.format(out.number)], out.key && ["key", h("span", { class: "mono" }, out.key)], out.id && ["id", h("span", { class: "mono" }, out.id)], ...out.sinks.map((sink) => [`sink ${sink.sink}`, state(tone(sink.state), { done: "done with it", waiting: "not given yet", dead: "dead letter" }[sink.state]), sink.why ? ` ${sink.why}` : ""])]),
        out.data !== null ? h("pre", { tabindex: 0, role: "region", "aria-label": "what was emitted" }, out.data) : null))
        : event.state === "handled" ? h("li", { class: "is-idle" }, h("h3", null, "It emitted nothing new")) : null),
    h("div", { class: "actions" },
      content && !story.body ? h("button", { type: "button", class: "plain", "data-do": "body" }, "Show what it holds") : null,
      content && !story.sure ? h("button", { type: "button", "data-do": "replay" }, "Hand it over once more…") : null,
      story.sure ? [h("button", { type: "button", "data-do": "replay-sure" }, `Yes, hand event ${event.id} to its plugin again`), h("button", { type: "button", class: "plain", "data-do": "replay-not" }, "No")] : null),
    h("p", { class: "why", role: "alert" }, story.why || ""));
}
async function openStory(id) {
  story = { id, body: false, sure: false, told: null, why: "" };
  show($("story-body"), h("p", { class: "empty" }, "It is being read."));
  $("story-title").textContent = `Event ${id}`;
  if (!$("story").open) $("story").showModal();
  $("story-title").focus();
  await readStory();
}
async function readStory() {
  const asked = story;
  try {
    const told = await ask(`/api/events/${encodeURIComponent(asked.id)}${asked.body ? "?body=1" : ""}`);
    if (story !== asked) return;
    story.told = told;
    drawStory();
  } catch (error) {
    if (story === asked) show($("story-body"), h("p", { class: "why", role: "alert" }, words(error)));
  }
}
async function replay() {
  const asked = story;
  try {
    await ask(`/api/events/${encodeURIComponent(asked.id)}/replay`, "POST");
    say(`Event ${asked.id} is handed over once more.`);
    asked.why = "";
  } catch (error) {
    asked.why = words(error);
  }
  asked.sure = false;
  if (story === asked) await readStory();
  readInbox();
}

// --- asking ---

class Refused extends Error {
  constructor(status, body) { super(body.error || `the console answered ${status}`); this.status = status; this.help = body.help; }
}
const words = (error) => (error.help ? `${error.message}. ${error.help}` : error.message);
async function ask(path, method = "GET", signal = undefined) {
  const response = await fetch(path, { method, signal, cache: "no-store", credentials: "omit", headers: { authorization: `Bearer ${token}` } });
  if (response.ok) return path.startsWith("/api/stream") ? response : response.json();
  const body = await response.json().catch(() => ({}));
  if (response.status === 401) gate(token ? "This is not the token." : "");
  throw new Refused(response.status, body);
}
function say(text) { $("said").textContent = text; }
function trouble(text) { $("trouble").hidden = !text; $("trouble").textContent = text || ""; }
function gate(why) {
  $("main").hidden = true;
  $("gate").hidden = false;
  $("sections").hidden = true;
  $("gate-why").textContent = why;
  live("is-lost", "waits for the token");
  if (stop) stop.abort();
  $("gate-token").focus();
}
function live(kind, text) {
  $("live").className = `live ${kind}`;
  if ($("live-text").textContent !== text) $("live-text").textContent = text;
}

let inboxAsked = 0;
function inboxQuery(before) {
  const query = new URLSearchParams({ limit: 25 });
  for (const [name, id] of [["text", "inbox-text"], ["connection", "inbox-of"], ["state", "inbox-state"]]) if ($(id).value) query.set(name, $(id).value);
  if (before) query.set("before", before);
  return `/api/events?${query}`;
}
async function readInbox() {
  const round = ++inboxAsked;
  try {
    // What was unfolded before stays.
    const pages = (known.events && known.events.pages) || 1;
    let all = { events: [], before: null, pages: 0 };
    do {
      const page = await ask(inboxQuery(all.before));
      all = { events: all.events.concat(page.events), before: page.before, pages: all.pages + 1 };
    } while (all.before && all.pages < pages);
    if (round !== inboxAsked) return;
    known.events = all;
    drawInbox();
  } catch (error) { if (error.status !== 401) trouble(`The inbox cannot be read: ${words(error)}`); }
}
async function moreInbox() {
  if (known.events) known.events.pages += 1;
  const had = known.events.events.length;
  await readInbox();
  say(`${plural(known.events.events.length - had, "earlier event", "earlier events")} shown.`);
}
async function readDead() { try { known.dead = await ask("/api/dead"); drawDead(); } catch (error) { if (error.status !== 401) trouble(words(error)); } }
async function readRefusals() { try { known.refusals = await ask("/api/refusals"); drawRefusals(); } catch (error) { if (error.status !== 401) trouble(words(error)); } }
async function readHistory() {
  const history = await ask(`/api/history?connection=${encodeURIComponent(known.of)}`);
  known.points = history.points;
  known.step = history.step_ms;
  drawPlots();
}

// --- staying up to date ---

let stop = null;
async function follow() {
  let wait = 1000;
  for (;;) {
    if (!token) return;
    const mine = new AbortController();
    stop = mine;
    try {
      await readHistory();
      const response = await ask(`/api/stream?connection=${encodeURIComponent(known.of)}`, "GET", mine.signal);
      wait = 1000;
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        rest += value;
        const parts = rest.split("\n\n");
        rest = parts.pop();
        parts.forEach(heard);
      }
    } catch (error) {
      if (mine.signal.aborted) { if (!token || !$("gate").hidden) return; continue; }
      if (error.status === 401) return;
      if (error.status) trouble(words(error));
    } finally {
      // Whatever ended it: nobody reads this stream any more, and a browser has only so many connections to a host.
      mine.abort();
    }
    for (let left = Math.round(wait / 1000); left > 0; left -= 1) {
      live("is-lost", `not connected; trying again in ${left} s`);
      await new Promise((done) => setTimeout(done, 1000));
    }
    wait = Math.min(30000, wait * 2);
  }
}
function heard(block) {
  let kind = "", data = "";
  for (const line of block.split("\n")) {
    if (line.startsWith("event: ")) kind = line.slice(7);
    if (line.startsWith("data: ")) data += line.slice(6);
  }
  if (!data) return;
  const told = JSON.parse(data);
  if (kind === "state") return take(told);
  if (kind === "points") {
    known.at = Date.parse(told.at);
    for (const point of told.points) {
      const place = known.points.findIndex((before) => before.at_ms === point.at_ms);
      if (place >= 0) known.points[place] = point; else known.points.push(point);
    }
    known.points.sort((a, b) => a.at_ms - b.at_ms);
    const over = known.points.length - 361;
    if (over > 0) known.points.splice(0, over);
    live("is-live", "live");
    draw();
  }
}
function take(told) {
  const before = known.state;
  known.state = told;
  trouble("");
  const counts = (state) => state && JSON.stringify([state.latest_event, state.endpoints, state.connections.map((of) => totals(of)), state.sinks.map((sink) => [sink.given, sink.dead])]);
  if (!before || counts(before) !== counts(told)) { readInbox(); readDead(); if (story && $("story").open && !story.sure) readStory(); }
  if (!before || before.latest_refusal !== told.latest_refusal) readRefusals();
}
function draw() {
  if (!known.state || !$("gate").hidden) return;
  $("main").hidden = false;
  $("sections").hidden = false;
  drawAlerts();
  drawConnections();
  drawPlots();
  drawTriggers();
  drawInbox();
  drawDead();
  drawRefusals();
  drawStory();
}

// --- doing ---

const DOES = {
  story: (button) => openStory(button.dataset.id),
  close: () => $("story").close(),
  more: moreInbox,
  body: () => { story.body = true; readStory(); },
  replay: () => { story.sure = true; drawStory(); const sure = document.querySelector("[data-do=replay-sure]"); if (sure) sure.focus(); },
  "replay-not": () => { story.sure = false; drawStory(); },
  "replay-sure": replay,
  copy: async (button) => {
    const text = button.parentElement.querySelector("pre");
    try {
      await navigator.clipboard.writeText(text.textContent);
      say("Copied.");
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    } catch {
      // Not every browser lets a page copy; what is marked can be copied by hand.
      getSelection().selectAllChildren(text);
      say("Marked; copy it with your keyboard.");
    }
  },
};
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-do]");
  if (button) DOES[button.dataset.do](button);
});
document.addEventListener("toggle", (event) => { if (event.target.dataset && event.target.dataset.keep && event.target.open) drawPlots(); }, true);
document.addEventListener("keydown", (event) => {
  const plot = event.target.closest("[data-plot]");
  if (!plot) return;
  const id = plot.dataset.plot, last = known.points.length - 1, at = cursors[id] === null ? last + 1 : cursors[id];
  const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: last, Escape: null }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  point(id, to);
  say($(`${id}-read`).textContent);
});
document.addEventListener("pointermove", (event) => {
  const plot = event.target.closest && event.target.closest("[data-plot]");
  if (!plot || !known.points.length) return;
  const box = plot.getBoundingClientRect(), { from, to } = steps();
  const at = from + ((event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT)) * (to - from);
  const index = known.points.findIndex((point) => point.at_ms + known.step > at);
  point(plot.dataset.plot, index < 0 ? known.points.length - 1 : index);
});
document.addEventListener("pointerout", (event) => {
  const plot = event.target.closest && event.target.closest("[data-plot]");
  if (plot && !plot.contains(event.relatedTarget)) point(plot.dataset.plot, null);
});
$("story").addEventListener("close", () => {
  const id = story && story.id;
  story = null;
  const from = document.querySelector(`[data-do=story][data-id="${Number(id)}"]`);
  if (from) from.focus();
});
$("traffic-of").addEventListener("change", () => { known.of = $("traffic-of").value; known.points = []; cursors = { latency: null, outcomes: null }; if (stop) stop.abort(); });
$("inbox-form").addEventListener("submit", (event) => event.preventDefault());
let typed = 0;
$("inbox-form").addEventListener("input", () => {
  clearTimeout(typed);
  typed = setTimeout(async () => { known.events = null; await readInbox(); if (known.events) say(`${plural(known.events.events.length, "event", "events")}${known.events.before ? " or more" : ""} found.`); }, 200);
});
$("gate-form").addEventListener("submit", (event) => { event.preventDefault(); enter($("gate-token").value.trim()); });

// --- beginning ---

function keep(value) { try { value ? sessionStorage.setItem("token", value) : sessionStorage.removeItem("token"); } catch { /* it is asked for again */ } }
function kept() { try { return sessionStorage.getItem("token") || ""; } catch { return ""; } }
async function enter(value) {
  token = value;
  if (!token) return gate("");
  try {
    known.at = Date.parse((await ask("/api/state")).at);
  } catch (error) {
    if (error.status === 401) { token = ""; keep(""); } else { trouble(words(error)); gate(words(error)); }
    return;
  }
  keep(token);
  $("gate-token").value = "";
  $("gate").hidden = true;
  follow();
}
{
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  // Out of the address at once: it is in nobody's history.
  if (given) history.replaceState(null, "", location.pathname);
  enter(given || kept());
}
