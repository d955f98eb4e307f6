// Puts what the stream tells on the page.

import { Group } from "/page/group.js";
import { Person } from "/page/person.js";
import { Stream } from "/page/stream.js";
import { clock, element, sentence, write } from "/page/words.js";

const EVENTS_MAX = 100;
const RIBBON_MAX = 300;
const PEOPLE_MAX = 100;
const get = id => document.getElementById(id);
const reduced = matchMedia("(prefers-reduced-motion: reduce)");

const sessions = new Map();
const people = new Map();
const group = new Group();
let chosen = null;
let isByHand = false;
let isHeld = false;
let drawAt = 0;

const stream = new Stream("/page/stream", take, link);

function take(kind, data) {
  if (kind === "snapshot") return begin(data.sessions);
  if (kind === "faces") return see(data);
  if (kind === "beat") return beat(data);
  if (kind === "forgotten") return begin(data.sessions);
  if (kind === "gone") { sessions.delete(data.session); return list(); }
  if (kind === "event" && data.kind === "session_started") sessions.delete(data.session);
  const known = sessions.get(data.session) ?? { session: data.session, state: "connecting", reason: null, purpose: "", second: null, ribbon: [], events: [] };
  const isNew = !sessions.has(data.session);
  sessions.set(data.session, known);
  if (kind === "status") Object.assign(known, data);
  if (kind === "second") {
    known.second = data;
    if (data.group !== null) known.ribbon.push({ at: data.at, ...pick(data.group) });
    if (known.ribbon.length > RIBBON_MAX) known.ribbon.shift();
  }
  if (kind === "event") {
    known.events.push(data);
    if (known.events.length > EVENTS_MAX) known.events.shift();
  }
  if (isNew || kind === "status") list(isNew && data.session === chosen);
  if (data.session !== chosen || isNew) return;
  if (kind === "second" && !isHeld) show(known.second);
  if (kind === "event") {
    happened(data);
    if (["consent_changed", "participant_joined"].includes(data.kind)) askConsent();
  }
}

const pick = ({ probabilities, synchrony, polarisation, deviation }) => ({ probabilities, synchrony, polarisation, deviation });

function begin(told) {
  sessions.clear();
  for (const session of told) sessions.set(session.session, session);
  list(true);
}

// The sessions to choose from; the newest that runs is shown until somebody chooses.
function list(anew = false) {
  const all = [...sessions.values()];
  const isOver = session => ["ended", "failed"].includes(session.state);
  const before = chosen;
  const isStale = !isByHand && chosen !== null && sessions.has(chosen) && isOver(sessions.get(chosen));
  if (!sessions.has(chosen) || isStale) chosen = (all.findLast(session => !isOver(session)) ?? (isStale ? sessions.get(chosen) : all.at(-1)))?.session ?? null;
  const select = get("session");
  select.replaceChildren(...all.map(s => element("option", { value: s.session, selected: s.session === chosen }, isOver(s) ? `${s.session} (${s.state})` : s.session)));
  get("choice").hidden = all.length < 2;
  const session = sessions.get(chosen);
  for (const id of ["group", "people-section", "events-section"]) get(id).hidden = !session;
  get("nothing").hidden = Boolean(session);
  get("state").dataset.state = session?.state ?? "none";
  write(get("state"), session ? `${session.session}: ${session.state}${session.reason ? `, ${session.reason}` : ""}` : "no session");
  write(get("purpose"), session ? `Purpose of this session: ${session.purpose}. Legal basis: ${(session.basis ?? "").replaceAll("_", " ")}.${session.group_only ? " Only the group is read out, nobody on their own." : ""}` : "");
  document.title = session ? `attuned: ${session.session}` : "attuned";
  if (anew || chosen !== before) switchTo(session);
}

function switchTo(session) {
  people.clear();
  get("people").replaceChildren();
  const log = get("events");
  // Nobody wants what happened long ago read out.
  log.setAttribute("aria-live", "off");
  log.replaceChildren();
  for (const event of session?.events ?? []) happened(event);
  setTimeout(() => log.setAttribute("aria-live", "polite"), 500);
  group.start(session?.ribbon ?? []);
  show(session?.second ?? null);
  if (session) askConsent();
}

function show(second) {
  group.read(second);
  if (second !== null && people.size === 0) performance.mark("first readings");
  const readings = new Map((second?.readings ?? []).map(reading => [reading.participant, reading]));
  const present = new Set([...(second?.members ?? []), ...readings.keys()].slice(0, PEOPLE_MAX));
  for (const [id, person] of people) if (!present.has(id)) { person.node.remove(); people.delete(id); }
  for (const id of present) {
    if (!people.has(id)) {
      people.set(id, new Person(id, setConsent));
      get("people").append(people.get(id).node);
    }
    people.get(id).read(readings.get(id), second.group, second.excluded[id] ?? (sessions.get(chosen)?.group_only ? "group_only" : undefined));
  }
}

function see({ session, faces }) {
  if (session !== chosen || isHeld) return;
  for (const [id, points] of Object.entries(faces)) people.get(id)?.see(points);
}

function happened(event) {
  const log = get("events");
  log.prepend(element("li", {}, element("time", { dateTime: event.ts }, clock(event.ts)), element("span", {}, sentence(event))));
  while (log.children.length > EVENTS_MAX) log.lastElementChild.remove();
}

async function askConsent() {
  const session = chosen;
  const answer = await fetch(`/api/v1/sessions/${encodeURIComponent(session)}/participants`, { headers: stream.headers() }).catch(() => null);
  if (!answer?.ok || session !== chosen) return;
  const { participants } = await answer.json();
  for (const { id, consent } of participants) people.get(id)?.setConsent(consent);
}

async function setConsent(id, state) {
  const path = `/api/v1/sessions/${encodeURIComponent(chosen)}/participants/${encodeURIComponent(id)}/consent`;
  const headers = { ...stream.headers(), "Content-Type": "application/json" };
  const answer = await fetch(path, { method: "PUT", headers, body: JSON.stringify({ state }) }).catch(() => null);
  get("refused").hidden = Boolean(answer?.ok);
  if (answer?.ok) people.get(id)?.setConsent((await answer.json()).consent);
  else write(get("refused"), answer === null ? "attuned does not answer; nothing was changed" : (await answer.json()).error);
}

function beat({ dropped }) {
  if (dropped > 0) write(get("link"), `connected, ${dropped} updates skipped`);
}

// What is known of the connection; asked for a token it answers with one.
function link(state, why) {
  if (state === "token") return askToken(why);
  get("link").dataset.link = state;
  // What is on the screen then is not what is going on.
  document.body.classList.toggle("stale", state !== "here");
  if (state !== "here") get("state").dataset.state = "none";
  write(get("link"), state === "here" ? "connected" : why);
  return null;
}

function askToken(wasWrong) {
  get("token-wrong").hidden = !wasWrong;
  write(get("link"), "a token is needed");
  const dialog = get("token");
  dialog.showModal();
  return new Promise(done => {
    dialog.addEventListener("close", () => {
      const word = get("token-word").value.trim();
      get("token-word").value = "";
      done(word || null);
    }, { once: true });
  });
}

// The screen is drawn when it is ready for it, and not at all while nobody looks.
function frame(now) {
  if (!isHeld && now - drawAt >= (reduced.matches ? 1000 : 100)) {
    drawAt = now;
    for (const person of people.values()) person.draw();
    group.draw();
  }
  requestAnimationFrame(frame);
}

get("session").addEventListener("change", event => { chosen = event.target.value; isByHand = true; list(true); });
get("hold").addEventListener("click", () => {
  isHeld = !isHeld;
  get("hold").setAttribute("aria-pressed", String(isHeld));
  if (!isHeld && sessions.has(chosen)) { group.start(sessions.get(chosen).ribbon); show(sessions.get(chosen).second); }
});
requestAnimationFrame(frame);
// The ribbon's program is large: it is asked for when the first picture has been drawn.
const load = () => (people.size > 0 ? group.load() : setTimeout(load, 200));
setTimeout(load, 200);
stream.run();
