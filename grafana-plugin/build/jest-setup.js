// What browsers have and jsdom lacks, as far as Grafana's components ask for it.
const { TextDecoder, TextEncoder } = require('util');
const { ReadableStream, TransformStream, WritableStream } = require('stream/web');

// Node's own MessageChannel would keep Jest from ever ending.
class Port {
  postMessage(data) {
    setTimeout(() => this.peer.onmessage?.({ data }));
  }
  close() {}
}

class Channel {
  constructor() {
    this.port1 = new Port();
    this.port2 = new Port();
    this.port1.peer = this.port2;
    this.port2.peer = this.port1;
  }
}

class NoObserver {
  observe() {}
  unobserve() {}
  disconnect() {}
}

Object.assign(globalThis, {
  MessageChannel: Channel,
  ReadableStream,
  TransformStream,
  WritableStream,
  TextDecoder,
  TextEncoder,
  ResizeObserver: NoObserver,
  IntersectionObserver: NoObserver,
  matchMedia: () => ({ matches: false, addListener() {}, removeListener() {}, addEventListener() {}, removeEventListener() {} }),
});

// Combobox measures text on a canvas and shows only the options that fit.
HTMLCanvasElement.prototype.getContext = () => ({ measureText: (text) => ({ width: text.length * 8 }) });
Element.prototype.getBoundingClientRect = () => ({ x: 0, y: 0, top: 0, left: 0, bottom: 240, right: 240, width: 240, height: 240 });
for (const size of ['clientHeight', 'clientWidth', 'offsetHeight', 'offsetWidth']) {
  Object.defineProperty(HTMLElement.prototype, size, { configurable: true, value: 240 });
}
Element.prototype.scrollTo ??= () => {};
Element.prototype.scrollIntoView ??= () => {};
