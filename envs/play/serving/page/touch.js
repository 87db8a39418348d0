// Fingers: a stick for the directions, buttons for all other controls, and the picture itself to look around.

const DIRECTIONS = ["forward", "back", "left", "right"];
// Held until the next tap: a thumb that walks and one that looks are all there is.
const LATCHED = new Set(["sneak", "sprint"]);
// Pixels of the stick's way; share of it that is still rest; degrees per pixel.
const REACH = 52, REST = 0.32, TURN = 0.32;

export class Touch {
  /** `begin()` goes on with a world that waits for a key. */
  constructor(hands, { layer, stick, pads, items, stage, picture, begin }) {
    Object.assign(this, { hands, layer, stick, pads, items, begin, knob: stick.firstElementChild });
    this.walking = this.dragging = null;
    this.controls = new Set();
    stick.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      if (this.walking !== null) return;
      this.walking = event.pointerId;
      stick.setPointerCapture(event.pointerId);
      this.#walk(event);
    });
    stick.addEventListener("pointermove", (event) => this.#walk(event));
    for (const end of ["pointerup", "pointercancel"]) stick.addEventListener(end, (event) => this.#stand(event));
    stage.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "mouse" || (event.target !== stage && event.target !== picture)) return;
      // Else the browser follows with a click of a mouse, which would be captured.
      event.preventDefault();
      this.show();
      if (this.dragging) return;
      this.dragging = { id: event.pointerId, x: event.clientX, y: event.clientY };
      stage.setPointerCapture(event.pointerId);
    });
    stage.addEventListener("pointermove", (event) => this.#look(event));
    for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, (event) => {
      if (this.dragging?.id === event.pointerId) this.dragging = null;
    });
    hands.changed = () => this.#light();
    if (matchMedia("(pointer: coarse)").matches) this.show();
  }

  show() {
    this.layer.hidden = false;
    document.body.classList.add("touching");
  }

  /** Offer what the game knows, and nothing else. */
  learn(game) {
    this.controls = new Set(game.meanings.flatMap(([names]) => names));
    const axis = (...names) => names.some((name) => this.controls.has(name));
    this.across = axis("left", "right");
    this.along = axis("forward", "back");
    this.stick.hidden = !this.across && !this.along;
    this.stick.dataset.axes = `${this.across ? "x" : ""}${this.along ? "y" : ""}`;
    const others = game.meanings.map(([names, text]) => [names.filter((name) => !DIRECTIONS.includes(name)), text]);
    const items = ([names]) => names.length > 2;
    this.pads.replaceChildren(...others.filter((one) => !items(one)).flatMap(([names, text]) =>
      names.map((name, at) => this.#pad(name, names.length > 1 ? `${text.split(" ")[0]} ${"+-"[at]}` : text.split(",")[0]))));
    this.items.replaceChildren(...others.filter(items).flatMap(([names]) =>
      names.map((name) => this.#pad(name, name.replace("hotbar.", "")))));
  }

  /** How a world that stands goes on. */
  words() {
    const stick = !this.stick.hidden, { camera } = this.hands;
    const ways = [stick ? `${camera ? "walk" : "move"} with the stick` : "tap a button",
      ...(camera ? ["look by dragging the picture"] : [])].join(", ");
    return `${ways[0].toUpperCase()}${ways.slice(1)}.`;
  }

  #pad(control, text) {
    const pad = document.createElement("button"), by = `pad ${control}`;
    pad.textContent = text;
    pad.dataset.control = control;
    const latched = LATCHED.has(control);
    pad.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      this.hands.hold(by, control, !latched || !this.hands.held.has(by));
    });
    if (!latched) for (const end of ["pointerup", "pointercancel", "lostpointercapture"])
      pad.addEventListener(end, () => this.hands.hold(by, control, false));
    return pad;
  }

  /** Buttons show what is held, whoever let it go. */
  #light() {
    for (const pad of this.layer.querySelectorAll("[data-control]"))
      pad.classList.toggle("held", this.hands.held.has(`pad ${pad.dataset.control}`));
  }

  #walk(event) {
    if (event.pointerId !== this.walking) return;
    const box = this.stick.getBoundingClientRect();
    let x = this.across ? (event.clientX - box.x - box.width / 2) / REACH : 0;
    let y = this.along ? (event.clientY - box.y - box.height / 2) / REACH : 0;
    const far = Math.max(1, Math.hypot(x, y));
    x /= far;
    y /= far;
    this.knob.style.translate = `${x * REACH}px ${y * REACH}px`;
    const held = { forward: y < -REST, back: y > REST, left: x < -REST, right: x > REST };
    for (const [control, down] of Object.entries(held))
      this.hands.hold(`stick ${control}`, control, down && this.controls.has(control));
  }

  #stand(event) {
    if (event.pointerId !== this.walking) return;
    this.walking = null;
    this.knob.style.translate = "0 0";
    for (const control of DIRECTIONS) this.hands.hold(`stick ${control}`, control, false);
  }

  #look(event) {
    const from = this.dragging;
    if (!from || from.id !== event.pointerId || !this.hands.camera || !this.hands.on) return;
    this.begin();
    this.hands.turn((event.clientY - from.y) * TURN, (event.clientX - from.x) * TURN);
    from.x = event.clientX;
    from.y = event.clientY;
  }
}
