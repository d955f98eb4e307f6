// The group: what it expresses now, and the ribbon of the last minutes, drawn by plotly.js once that has come.

import { EMOTIONS, element, number, percent, write } from "/page/words.js";

const RIBBON_S = 300;
const RIGHT_PX = 12;
// Drawing five minutes anew is work for a phone.
const EVERY_MS = 2000;

export class Group {
  constructor() {
    this.ribbon = [];
    this.facts = {};
    this.chart = document.getElementById("ribbon");
    this.isReady = false;
    this.isDrawing = false;
    this.isDirty = false;
    this.drawnAt = -EVERY_MS;
    const facts = document.getElementById("facts");
    for (const [key, title] of [["dominant", "dominant"], ["type", "type"], ["synchrony", "synchrony"], ["homogeneity", "homogeneity"], ["deviation", "mean deviation"], ["split", "sub-groups"], ["engaged", "counted members"]]) {
      this.facts[key] = element("dd", {}, "–");
      facts.append(element("div", {}, element("dt", {}, title), this.facts[key]));
    }
    document.getElementById("key").append(...EMOTIONS.map(name => element("li", {}, element("span", { className: `swatch ${name}`, "aria-hidden": "true" }), name)));
  }

  // Comes last, since it is large: everything else is on the screen by then.
  load() {
    const script = element("script", { src: document.querySelector('meta[name="plotly"]').content });
    script.addEventListener("load", () => { this.isReady = true; this.chart.replaceChildren(); this.draw(); });
    script.addEventListener("error", () => write(this.chart, "The ribbon could not be loaded."));
    document.head.append(script);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { this.isDirty = true; this.draw(); });
    addEventListener("resize", () => { this.isDirty = true; });
  }

  start(ribbon) {
    this.ribbon = ribbon.slice(-RIBBON_S);
    this.isDirty = true;
    this.drawnAt = -EVERY_MS;
  }

  read(second) {
    const group = second?.group ?? null;
    document.getElementById("few").hidden = second === null || group !== null;
    if (group !== null && this.ribbon.at(-1)?.at !== second.at) {
      this.ribbon.push({ at: second.at, probabilities: group.probabilities, synchrony: group.synchrony, polarisation: group.polarisation, deviation: group.deviation });
      if (this.ribbon.length > RIBBON_S) this.ribbon.shift();
      this.isDirty = true;
    }
    const deviations = Object.values(group?.deviation ?? {});
    write(this.facts.dominant, group?.dominant.length ? group.dominant.join(", ") : "–");
    write(this.facts.type, group?.type ?? "not known yet");
    write(this.facts.synchrony, percent(group?.synchrony));
    write(this.facts.homogeneity, percent(group?.homogeneity));
    write(this.facts.deviation, number(deviations.length ? deviations.reduce((a, b) => a + b) / deviations.length : null));
    write(this.facts.split, group === null || group.clusters === null ? "–" : group.clusters.length ? group.clusters.map(c => c.length).join(" + ") : "none");
    write(this.facts.engaged, group === null ? "–" : `${group.n_engaged ?? group.engaged.length} of ${group.members.length}`);
    const said = group?.probabilities ? EMOTIONS.map(name => `${name} ${percent(group.probabilities[name])}`).join(", ") : "not known";
    this.chart.setAttribute("aria-label", `The group's expression over the last ${Math.round(RIBBON_S / 60)} minutes; now: ${said}`);
  }

  async draw() {
    if (!this.isReady || this.isDrawing || !this.isDirty || this.ribbon.length === 0 || performance.now() - this.drawnAt < EVERY_MS) return;
    this.isDrawing = true;
    this.isDirty = false;
    this.drawnAt = performance.now();
    const style = getComputedStyle(document.documentElement);
    const colour = name => style.getPropertyValue(`--${name}`).trim();
    const [ink, faint, rule, page] = ["ink", "faint", "rule", "page"].map(colour);
    const last = this.ribbon.at(-1).at;
    // A second lasts until the next, the latest one too.
    const shown = [...this.ribbon, { ...this.ribbon.at(-1), at: last + 1 }];
    const x = shown.map(r => new Date(1000 * r.at));
    const traces = EMOTIONS.map(name => ({
      x, y: shown.map(r => r.probabilities?.[name] ?? 0), type: "scatter", mode: "lines", stackgroup: "one",
      line: { width: 0.5, color: page, shape: "hv" }, fillcolor: colour(name),
    }));
    const mean = deviation => { const all = Object.values(deviation ?? {}); return all.length ? all.reduce((a, b) => a + b) / all.length : null; };
    const line = (y, dash) => ({ x, y, type: "scatter", mode: "lines", yaxis: "y2", line: { color: ink, width: 1.6, dash } });
    traces.push(line(shown.map(r => r.synchrony), "solid"), line(shown.map(r => mean(r.deviation)), "dot"));
    const axis = { fixedrange: true, zeroline: false, linecolor: rule, tickfont: { color: faint, size: 11 }, gridcolor: rule };
    const title = (text, y) => ({ text, x: 0, y, xref: "paper", yref: "paper", xanchor: "left", yanchor: "bottom", showarrow: false, font: { color: faint, size: 11.5 } });
    const layout = {
      height: this.chart.clientHeight, width: this.chart.clientWidth, autosize: false,
      margin: { l: 34, r: RIGHT_PX, t: 18, b: 22 }, showlegend: false, hovermode: false,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { family: style.fontFamily },
      xaxis: { ...axis, range: [new Date(1000 * (last + 1 - Math.max(30, Math.min(RIBBON_S, last - this.ribbon[0].at + 1)))), new Date(1000 * (last + 1))], showgrid: false, nticks: this.chart.clientWidth < 500 ? 3 : 6, anchor: "y2", tickformat: "%H:%M:%S" },
      yaxis: { ...axis, domain: [0.4, 1], range: [0, 1], tickvals: [0, 0.5, 1] },
      yaxis2: { ...axis, domain: [0, 0.27], range: [0, 1.05], tickvals: [0, 0.5, 1] },
      annotations: [title("expression", 1.0), title("synchrony ———   mean deviation · · · ·", 0.28)],
    };
    try {
      await window.Plotly.react(this.chart, traces, layout, { staticPlot: true, displayModeBar: false });
    } finally {
      this.isDrawing = false;
    }
  }
}
