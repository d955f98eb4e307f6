// Numbers and events in words.

export const EMOTIONS = ["anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"];

export const percent = share => (share === null || share === undefined ? "–" : `${Math.round(100 * share)} %`);
export const number = value => (value === null || value === undefined ? "–" : value.toFixed(2).replace(/^-0\.00$/, "0.00"));
export const clock = ts => new Date(ts).toLocaleTimeString([], { hour12: false });

const WHY = { no_consent: "no consent", not_identified: "not yet told apart", small_face: "face too small", no_face: "no face seen", unengaged: "not engaged", group_only: "only the group is told" };
export const why = reason => WHY[reason] ?? (reason ?? "").replaceAll("_", " ");

const CONSENT = { granted: "agreed to be read", denied: "does not want to be read", required: "is to be asked again" };
const SAY = {
  session_started: () => "The session began",
  session_ended: e => `The session ended${e.reason ? `: ${e.reason}` : ""}`,
  source_lost: e => `The source was lost${e.reason ? `: ${e.reason}` : ""}`,
  source_recovered: () => "The source is back",
  participant_joined: (e, who) => `${who} joined`,
  participant_left: (e, who) => `${who} left`,
  camera_off: (e, who) => `${who}: camera off`,
  camera_on: (e, who) => `${who}: camera on`,
  layout_changed: e => `The layout changed: ${e.tiles} tiles`,
  consent_changed: (e, who) => `${who} ${CONSENT[e.state] ?? e.state}`,
  change: (e, who) => `${e.scope === "group" ? "The group" : who} went from ${e.from} to ${e.to}`,
  dismissed: (e, who) => `${who}: ${e.emotion} for ${e.seconds} s, dismissed as noise`,
  group_type_changed: e => `The group is ${e.to ?? "not known well enough"}${e.from ? `, was ${e.from}` : ""}`,
  polarised: e => (e.polarised ? `The group is split: ${e.clusters.map(c => c.join(", ")).join(" | ")}` : "The group is one again"),
  head_promoted: (e, who) => `${who}: a personal head is in use`,
  head_rejected: (e, who) => `${who}: a personal head was no better`,
  head_rolled_back: (e, who) => `${who}: a personal head was taken back`,
  erased: () => "What was here was erased",
  outbox_discarded: e => `${e.n ?? "Some"} events were discarded by the outbox`,
};

export function sentence(event) {
  const say = SAY[event.kind];
  return say ? say(event, event.participants.join(", ")) : event.kind.replaceAll("_", " ");
}

export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

// Writes only what is new: what stays the same costs no layout.
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
