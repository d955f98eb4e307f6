// Server-sent events by fetch, which unlike EventSource can send a token; connects again whenever it is cut off.

const WAITS_MS = [500, 1000, 2000, 4000];
const SILENCE_BEATS = 2.5;

// Calls on(kind, data) for every event, and link(state, why): "here", "away", "token" or "full".
export class Stream {
  constructor(url, on, link) {
    this.url = url;
    this.on = on;
    this.link = link;
    this.token = null;
    this.beatMs = 5000;
    this.failures = 0;
    this.cut = new AbortController();
    // A browser keeps the last pages that were left, each with its connection, and has six for a server: the seventh
    // visit would wait. Who comes back to a kept page finds it connecting again.
    addEventListener("pagehide", () => this.cut.abort());
  }

  headers() {
    return this.token === null ? {} : { Authorization: `Bearer ${this.token}` };
  }

  async run() {
    for (;;) {
      this.cut = new AbortController();
      try {
        const answer = await fetch(this.url, { headers: this.headers(), signal: this.cut.signal, cache: "no-store", credentials: "omit" });
        if (answer.status === 401) {
          const wasWrong = this.token !== null;
          this.token = null;
          this.token = await this.link("token", wasWrong);
          continue;
        }
        if (answer.ok) await this.read(answer.body);
        else this.link("away", (await answer.json().catch(() => null))?.error ?? `attuned answers ${answer.status}; trying again`);
        if (answer.ok) this.link("away", "attuned went away; trying again");
      } catch (error) {
        // Nothing there, or nothing came for too long; anything else is a mistake of this page.
        if (!(error instanceof TypeError || error.name === "AbortError")) {
          this.link("away", "this page met something it does not know: load it anew");
          throw error;
        }
        this.link("away", "attuned does not answer; trying again");
      } finally {
        this.cut.abort();
      }
      const wait = WAITS_MS[Math.min(this.failures, WAITS_MS.length - 1)];
      this.failures += 1;
      await new Promise(done => setTimeout(done, wait));
    }
  }

  async read(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const silence = setTimeout(() => this.cut.abort(), SILENCE_BEATS * this.beatMs);
      const { value, done } = await reader.read().finally(() => clearTimeout(silence));
      if (done) return;
      const messages = (rest + value).split("\n\n");
      rest = messages.pop();
      for (const message of messages) this.take(message);
    }
  }

  take(message) {
    const [kind, data] = message.split("\n", 2);
    const told = JSON.parse(data.slice("data: ".length));
    if (kind === "event: snapshot") {
      this.beatMs = told.beat_s * 1000;
      this.failures = 0;
      this.link("here");
    }
    this.on(kind.slice("event: ".length), told);
  }
}
