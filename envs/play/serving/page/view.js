// The picture: decoded and drawn as it comes, the latest one where several wait; how long it took since a key.

export class View {
  constructor(canvas, stage) {
    this.canvas = canvas;
    this.stage = stage;
    this.context = canvas.getContext("2d", { alpha: false });
    this.shown = 0;
    this.smooth = false;
    // When inputs were sent that no picture shows the effect of yet, by number; latest latencies in milliseconds.
    this.sent = new Map();
    this.latencies = [];
    this.waiting = null;
    this.busy = false;
    new ResizeObserver(() => this.fit()).observe(stage);
  }

  size(width, height) {
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    this.fit();
  }

  /** As large as fits; crisp pixels are whole pixels of the screen. */
  fit() {
    const { width, height } = this.canvas, dense = devicePixelRatio || 1;
    let scale = Math.min(this.stage.clientWidth / width, this.stage.clientHeight / height) * dense;
    if (!this.smooth && scale >= 2) scale = Math.floor(scale);
    this.canvas.style.width = `${width * scale / dense}px`;
    this.canvas.style.height = `${height * scale / dense}px`;
    this.canvas.classList.toggle("smooth", this.smooth);
    // Begun between two pixels of the screen, or of the page, one row of squares would be larger than the others.
    this.canvas.style.left = this.canvas.style.top = "0";
    const grid = Number.isInteger(dense) ? 1 : dense, whole = (at) => Math.round(at * grid) / grid - at;
    const { x, y } = this.canvas.getBoundingClientRect();
    this.canvas.style.left = `${whole(x)}px`;
    this.canvas.style.top = `${whole(y)}px`;
  }

  show(bytes) {
    this.waiting = bytes;
    if (!this.busy) this.#next();
  }

  note(number) {
    this.sent.set(number, performance.now());
    // Inputs of a world that stands have no effect to wait for.
    if (this.sent.size > 64) this.sent.delete(this.sent.keys().next().value);
  }

  forget() {
    this.sent.clear();
  }

  latency() {
    if (!this.latencies.length) return null;
    return [...this.latencies].sort((a, b) => a - b)[this.latencies.length >> 1];
  }

  async #next() {
    this.busy = true;
    while (this.waiting) {
      const bytes = this.waiting;
      this.waiting = null;
      try {
        const picture = await createImageBitmap(new Blob([new Uint8Array(bytes, 8)], { type: "image/jpeg" }));
        this.size(picture.width, picture.height);
        this.context.drawImage(picture, 0, 0);
        picture.close();
      } catch { continue; }
      this.shown += 1;
      this.canvas.dataset.shown = this.shown;
      const header = new DataView(bytes);
      this.canvas.dataset.moment = header.getUint32(4);
      // What was drawn is on the screen with the browser's next picture.
      const effect = header.getUint32(0);
      if (this.sent.size) requestAnimationFrame(() => this.#measure(effect));
    }
    this.busy = false;
  }

  #measure(effect) {
    const now = performance.now();
    for (const [number, since] of this.sent) {
      if (number > effect) break;
      this.sent.delete(number);
      this.latencies.push(now - since);
    }
    this.latencies.splice(0, this.latencies.length - 15);
  }
}
