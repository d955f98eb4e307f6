// One participant: wireframe, seven bars, what is behind them, and the switch for consent.

import { EMOTIONS, element, number, percent, why, write } from "/page/words.js";

const SVG = "http://www.w3.org/2000/svg";
const FORGET_MS = 2500;
// First and last of the 68 points of each line; closed ones end where they began.
const LINES = [[0, 16, false], [17, 21, false], [22, 26, false], [27, 30, false], [31, 35, false], [36, 41, true], [42, 47, true], [48, 59, true], [60, 67, true]];
// What ties the lines together to a net.
const TIES = [[0, 17], [16, 26], [17, 36], [21, 39], [22, 42], [26, 45], [21, 27], [22, 27], [39, 27], [42, 27], [30, 31], [30, 33], [30, 35], [31, 48], [35, 54], [33, 51], [48, 4], [54, 12], [57, 8], [36, 1], [45, 15], [31, 2], [35, 14]];
const EMPTY = "M-80 -100Q-110 60 0 150Q110 60 80 -100Q0 -150 -80 -100";

export class Person {
  constructor(id, onConsent) {
    this.id = id;
    this.seenAt = 0;
    this.points = null;
    this.consent = null;
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", "-165 -190 330 384");
    svg.setAttribute("class", "face");
    svg.setAttribute("aria-hidden", "true");
    [this.net, this.lines, this.dots] = ["soft", "none", "dots"].map(name => {
      const path = document.createElementNS(SVG, "path");
      path.setAttribute("class", name);
      return svg.appendChild(path);
    });
    this.says = element("p", { className: "says" });
    this.bars = {};
    const bars = element("dl", { className: "bars" });
    for (const name of EMOTIONS) {
      const bar = (this.bars[name] = { fill: element("span", { className: `fill ${name}` }), name: element("dt", {}, name), share: element("dd", {}, "–") });
      bars.append(bar.name, element("span", { className: "track", "aria-hidden": "true" }, bar.fill), bar.share);
    }
    this.facts = {};
    const more = element("dl", { className: "more" });
    for (const name of ["weights", "heads", "valence", "engagement", "deviation", "coverage"]) {
      this.facts[name] = element("dd", {}, "–");
      more.append(element("div", {}, element("dt", {}, name === "valence" ? "valence, arousal" : name), this.facts[name]));
    }
    this.switch = element("button", { type: "button", className: "switch", role: "switch", "aria-checked": "false", "aria-label": `${id} is read`, hidden: true });
    this.word = element("span");
    this.switch.append(this.word, element("i", { "aria-hidden": "true" }));
    this.switch.addEventListener("click", () => onConsent(this.id, this.consent === "granted" ? "denied" : "granted"));
    this.node = element("li", { className: "person" },
      element("div", { className: "top" }, element("h3", { className: "id" }, id), this.switch),
      this.says, element("div", { className: "seen" }, svg, bars), more);
    this.drawEmpty();
  }

  setConsent(state) {
    if (state === this.consent) return;
    this.consent = state;
    this.switch.hidden = false;
    this.switch.setAttribute("aria-checked", String(state === "granted"));
    write(this.word, { granted: "reading agreed", denied: "reading denied", required: "not asked yet" }[state]);
    if (state !== "granted") this.forget();
  }

  read(reading, group, excluded) {
    const p = reading?.probabilities ?? null;
    this.node.classList.toggle("away", p === null);
    for (const name of EMOTIONS) {
      const bar = this.bars[name];
      bar.fill.style.width = p === null ? "0" : `${(100 * p[name]).toFixed(1)}%`;
      bar.name.classList.toggle("most", p !== null && name === reading.top);
      write(bar.share, percent(p?.[name]));
    }
    if (p === null) {
      this.says.replaceChildren(`not read: ${why(excluded ?? "no_face")}`);
      this.forget();
    } else {
      this.says.replaceChildren(`${reading.top}, confidence ${percent(reading.confidence)}`);
      if (reading.abstain) this.says.append(element("span", { className: "badge", title: "Too uncertain to say" }, "abstains"));
    }
    const engagement = group?.engagement?.[this.id];
    const weights = reading?.weights;
    const heads = reading ? Object.values(reading.heads) : [];
    write(this.facts.weights, weights && p ? `pixel ${number(weights.pixel)}, landmark ${number(weights.landmark)}` : "–");
    write(this.facts.heads, heads.length ? [...new Set(heads)].join(", ") : "–");
    write(this.facts.engagement, engagement?.state ?? "–");
    write(this.facts.deviation, number(group?.deviation?.[this.id]));
    write(this.facts.valence, p ? `${number(reading.valence)}, ${number(reading.arousal)}` : "–");
    write(this.facts.coverage, percent(reading?.coverage));
  }

  see(points) {
    if (this.consent !== null && this.consent !== "granted") return;
    this.points = points;
    this.seenAt = performance.now();
  }

  // Draws what came last; a face of which nothing came for a while is no longer there.
  draw() {
    if (this.points !== null && performance.now() - this.seenAt > FORGET_MS) this.forget();
    if (this.points === null) return;
    const points = this.points;
    const at = i => `${points[2 * i]} ${points[2 * i + 1]}`;
    let lines = "";
    for (const [first, last, closed] of LINES) {
      lines += `M${at(first)}`;
      for (let i = first + 1; i <= last; i++) lines += `L${at(i)}`;
      if (closed) lines += "Z";
    }
    let dots = "";
    for (let i = 0; i < 68; i++) dots += `M${at(i)}h0`;
    this.net.setAttribute("d", TIES.map(([a, b]) => `M${at(a)}L${at(b)}`).join(""));
    this.lines.setAttribute("class", "");
    this.lines.setAttribute("d", lines);
    this.dots.setAttribute("d", dots);
  }

  forget() {
    this.points = null;
    this.drawEmpty();
  }

  drawEmpty() {
    this.net.setAttribute("d", "");
    this.dots.setAttribute("d", "");
    this.lines.setAttribute("class", "none");
    this.lines.setAttribute("d", EMPTY);
  }
}
