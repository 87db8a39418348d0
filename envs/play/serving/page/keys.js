// Keyboard, mouse and fingers: what is held, and how far the view was turned.

const NAMES = {
  Space: "space", ShiftLeft: "left shift", ShiftRight: "right shift", Tab: "tab", Backspace: "backspace",
  Enter: "return", Escape: "escape", Comma: ",", Period: ".", Slash: "/", Semicolon: ";", Quote: "'",
  BracketLeft: "[", BracketRight: "]", Minus: "-", Equal: "=", Backquote: "`", Backslash: "\\", PageUp: "page up",
  PageDown: "page down", Home: "home", End: "end", Insert: "insert", Delete: "delete",
};
const SPOKEN = { "left shift": "Shift", ",": ",", ".": ".", escape: "Esc", "mouse 1": "left button",
  "mouse 3": "right button", "left ctrl": "" };
// Browsers keep Ctrl to themselves (Ctrl+W closes the tab): sprinting has another key on the page.
const INSTEAD = { c: "sprint" };
const ARROWS = { up: "↑", down: "↓", left: "←", right: "→" };

export function keyName(code) {
  if (code.startsWith("Key")) return code.slice(3).toLowerCase();
  if (code.startsWith("Digit")) return code.slice(5);
  if (code.startsWith("Arrow")) return code.slice(5).toLowerCase();
  if (/^F\d+$/.test(code)) return code.toLowerCase();
  return NAMES[code] ?? "";
}

export function spoken(key) {
  return SPOKEN[key] ?? ARROWS[key] ?? (key.length === 1 ? key.toUpperCase() : key[0].toUpperCase() + key.slice(1));
}

export class Hands {
  /** `send(held, [pitch, yaw])`; `command(name, further)` for keys that are no controls of the game. */
  constructor({ picture, stage, send, command, captured }) {
    Object.assign(this, { picture, stage, sendNow: send, command, onCapture: captured });
    this.held = new Map();
    this.keys = {};
    this.controls = new Set();
    this.look = [0, 0];
    this.sensitivity = 0.15;
    this.camera = this.freed = false;
    this.on = this.recapture = false;
    this.frame = 0;
    // Told whenever something else is held.
    this.changed = () => {};
    this.#listen();
  }

  learn(game) {
    this.keys = { ...game.keys };
    for (const [key, what] of Object.entries(INSTEAD)) this.keys[key] ??= what;
    delete this.keys["left ctrl"];
    delete this.keys["right ctrl"];
    this.controls = new Set(game.meanings.flatMap(([controls]) => controls));
    this.camera = game.camera;
  }

  keysOf(what) {
    return Object.keys(this.keys).filter((key) => this.keys[key] === what && spoken(key));
  }

  get captured() {
    return document.pointerLockElement === this.picture;
  }

  /** Let the mouse go until a key goes on with the game. */
  free() {
    if (!this.captured) return;
    this.recapture = this.freed = true;
    document.exitPointerLock();
  }

  #capture() {
    this.recapture = false;
    // A browser may refuse for a moment after Esc.
    this.picture.requestPointerLock()?.catch?.(() => {});
  }

  release() {
    this.held.clear();
    this.look = [0, 0];
    this.changed();
    this.sendNow([], [0, 0]);
  }

  /** Hold a control by something (a key, a finger), or let it go. */
  hold(by, control, down) {
    if (down === (this.held.get(by) === control)) return;
    if (down) this.held.set(by, control); else this.held.delete(by);
    this.changed();
    this.#flush();
  }

  turn(pitch, yaw) {
    this.look[0] += pitch;
    this.look[1] += yaw;
    this.frame ||= requestAnimationFrame(() => this.#flush());
  }

  #flush() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    const most = (degrees) => Math.max(-360, Math.min(360, degrees));
    const look = this.look.map(most);
    this.look = [0, 0];
    if (this.on) this.sendNow([...new Set(this.held.values())], look);
  }

  #listen() {
    addEventListener("keydown", (event) => this.#key(event, true));
    addEventListener("keyup", (event) => this.#key(event, false));
    addEventListener("blur", () => this.release());
    document.addEventListener("visibilitychange", () => { if (document.hidden) this.release(); });
    document.addEventListener("pointerlockchange", () => {
      this.picture.classList.toggle("captured", this.captured);
      if (!this.captured) this.release();
      // The page that let the mouse go has paused already, or goes on by now: that is news only late.
      this.onCapture(this.captured, this.freed);
      this.freed = false;
    });
    this.picture.addEventListener("mousedown", (event) => this.#button(event, true));
    addEventListener("mouseup", (event) => this.#button(event, false));
    this.picture.addEventListener("contextmenu", (event) => event.preventDefault());
    addEventListener("mousemove", (event) => {
      if (this.captured && this.on) this.turn(event.movementY * this.sensitivity, event.movementX * this.sensitivity);
    });
    this.stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (this.on && event.deltaY) this.command(event.deltaY > 0 ? "earlier" : "later", false, true);
    }, { passive: false });
  }

  #key(event, down) {
    const name = keyName(event.code), what = this.keys[name];
    const typing = event.target.closest?.("input, dialog");
    if (!what || event.ctrlKey || event.metaKey || event.altKey || (down && typing)) return;
    if (down && this.on && this.recapture && (what === "pause" || this.controls.has(what))) this.#capture();
    if (this.controls.has(what)) {
      if (down) event.preventDefault();
      if (!event.repeat) this.hold(event.code, what, down);
    } else if (down && this.command(what, event.shiftKey)) {
      event.preventDefault();
    }
  }

  #button(event, down) {
    if (down && this.camera && this.on && !this.captured) {
      this.#capture();
      return;
    }
    const what = this.keys[`mouse ${event.button + 1}`];
    if (this.captured && this.controls.has(what)) this.hold(`mouse ${event.button}`, what, down);
  }
}
