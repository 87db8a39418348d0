// Fingers: a stick to walk, buttons for the other controls, and the picture itself to look around.

const DIRECTIONS = ["forward", "back", "left", "right"];
const REACH = 52, REST = 0.32, TURN = 0.32;

export class Touch {
  constructor(hands, { layer, stick, pads, picture }) {
    Object.assign(this, { hands, layer, stick, pads, knob: stick.firstElementChild });
    this.dragging = null;
    stick.addEventListener("pointerdown", (event) => { stick.setPointerCapture(event.pointerId); this.#walk(event); });
    stick.addEventListener("pointermove", (event) => { if (stick.hasPointerCapture(event.pointerId)) this.#walk(event); });
    for (const end of ["pointerup", "pointercancel"]) stick.addEventListener(end, () => this.#stand());
    picture.addEventListener("pointerdown", (event) => {
      if (event.pointerType !== "mouse") {
        this.show();
        this.dragging = { id: event.pointerId, x: event.clientX, y: event.clientY };
        picture.setPointerCapture(event.pointerId);
      }
    });
    picture.addEventListener("pointermove", (event) => this.#look(event));
    for (const end of ["pointerup", "pointercancel"]) picture.addEventListener(end, () => { this.dragging = null; });
    if (matchMedia("(pointer: coarse)").matches) this.show();
  }

  show() {
    this.layer.hidden = false;
    document.body.classList.add("touching");
  }

  learn(game) {
    const controls = new Set(game.meanings.flatMap(([names]) => names));
    this.stick.hidden = !DIRECTIONS.some((one) => controls.has(one));
    const buttons = game.meanings.filter(([names]) => !DIRECTIONS.includes(names[0]) && names.length === 1)
      .filter(([[name]]) => !["drop", "inventory"].includes(name));
    this.pads.replaceChildren(...buttons.slice(0, 6).map(([[name], text]) => this.#pad(name, text.split(",")[0])));
  }

  #pad(control, text) {
    const pad = document.createElement("button");
    pad.textContent = text;
    const press = (down) => (event) => {
      event.preventDefault();
      pad.classList.toggle("held", down);
      this.hands.hold(`pad ${control}`, control, down);
    };
    pad.addEventListener("pointerdown", press(true));
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) pad.addEventListener(end, press(false));
    return pad;
  }

  #walk(event) {
    const box = this.stick.getBoundingClientRect();
    let x = (event.clientX - box.x - box.width / 2) / REACH, y = (event.clientY - box.y - box.height / 2) / REACH;
    const far = Math.max(1, Math.hypot(x, y));
    x /= far;
    y /= far;
    this.knob.style.translate = `${x * REACH}px ${y * REACH}px`;
    const along = { forward: y < -REST, back: y > REST, left: x < -REST, right: x > REST };
    for (const [control, down] of Object.entries(along)) this.hands.hold(`stick ${control}`, control, down);
  }

  #stand() {
    this.knob.style.translate = "0 0";
    for (const control of DIRECTIONS) this.hands.hold(`stick ${control}`, control, false);
  }

  #look(event) {
    const from = this.dragging;
    if (!from || from.id !== event.pointerId || !this.hands.camera || !this.hands.on) return;
    this.hands.turn((event.clientY - from.y) * TURN, (event.clientX - from.x) * TURN);
    from.x = event.clientX;
    from.y = event.clientY;
  }
}
