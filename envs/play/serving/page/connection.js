// The websocket: says hello, comes back when it is lost, sends what the player does.

const FIRST = 400, LONGEST = 4000;
// After these ends nobody calls again by itself: closing codes of messages.py.
const LAST = new Set([1009, 4400, 4401, 4404, 4409, 4429, 4503]);

export class Connection {
  /** `handlers`: by kind of message; also `picture` (bytes), `open`, `lost` (whether it tries again, why). */
  constructor(handlers) {
    this.handlers = handlers;
    const words = new URLSearchParams(location.hash.slice(1));
    this.token = words.get("token") ?? recall("token");
    this.session = words.get("session") ?? recall("session");
    this.me = recall("me:" + this.session);
    keep("token", this.token);
    this.pause = FIRST;
  }

  open() {
    clearTimeout(this.timer);
    this.socket?.close();
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/socket`);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.why = "";
    socket.onopen = () => this.send({ type: "hello", token: this.token, session: this.session, me: this.me });
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = (event) => { if (socket === this.socket) this.#lost(event); };
  }

  /** Begin in a world of one's own. */
  renew() {
    this.session = this.me = "";
    keep("session", "");
    this.#address();
    this.open();
  }

  send(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  /** The address of this world, for others to look on. */
  address() {
    return location.origin + location.pathname + this.#hash();
  }

  #hash() {
    const words = new URLSearchParams();
    if (this.token) words.set("token", this.token);
    if (this.session) words.set("session", this.session);
    return "#" + words;
  }

  #address() {
    history.replaceState(null, "", location.pathname + this.#hash());
  }

  #receive(data) {
    if (data instanceof ArrayBuffer) {
      this.handlers.picture(data);
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "welcome") {
      this.pause = FIRST;
      this.session = message.session;
      this.me = message.me;
      keep("session", this.session);
      keep("me:" + this.session, this.me);
      this.#address();
    } else if (message.type === "refused") {
      this.why = message.why;
    }
    this.handlers[message.type]?.(message);
  }

  #lost(event) {
    const why = this.why || event.reason || (event.code === 1009 ? "a message was too large" : "");
    const again = !LAST.has(event.code);
    this.handlers.lost(again, why, event.code);
    if (again) {
      this.timer = setTimeout(() => this.open(), this.pause);
      this.pause = Math.min(LONGEST, this.pause * 1.6);
    }
  }
}

// Storage may be switched off: then a reload begins anew.
function recall(name) {
  try { return sessionStorage.getItem("worldsim:" + name) ?? ""; } catch { return ""; }
}

function keep(name, value) {
  try { sessionStorage.setItem("worldsim:" + name, value); } catch { /* not kept */ }
}
