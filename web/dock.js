// The panels beside the picture (over it on a phone): at most one is open. Owns which one, its button, and where the
// keyboard's focus goes when one opens or closes. Knows nothing of what is in them.

export class Dock {
  #stage;
  #panels = new Map();
  #open = null;

  constructor(stage) {
    this.#stage = stage;
  }

  /** `opened()` and `closed()` tell the panel; `focus()` may choose what gets the keyboard. */
  add(name, { root, button, opened = () => {}, closed = () => {}, focus = null }) {
    this.#panels.set(name, { root, button, opened, closed, focus });
    root.tabIndex = -1;
    root.inert = true;
    button.setAttribute('aria-controls', root.id);
    button.setAttribute('aria-expanded', 'false');
    button.addEventListener('click', () => this.toggle(name));
  }

  isOpen(name) {
    return this.#open === name;
  }

  toggle(name) {
    if (this.isOpen(name)) this.close();
    else this.open(name);
  }

  open(name) {
    const panel = this.#panels.get(name);
    if (!panel || this.isOpen(name) || panel.button.hidden) return;
    this.#shut();
    this.#open = name;
    this.#show(panel, true);
    panel.opened();
    (panel.focus?.() ?? panel.root).focus({ preventScroll: true });
  }

  /** Gives the focus back to the button if the panel had it. */
  close() {
    const panel = this.#panels.get(this.#open);
    if (!panel) return;
    const within = panel.root.contains(document.activeElement);
    this.#shut();
    if (within && !panel.button.hidden) panel.button.focus({ preventScroll: true });
  }

  #shut() {
    const panel = this.#panels.get(this.#open);
    if (!panel) return;
    this.#open = null;
    this.#show(panel, false);
    panel.closed();
  }

  #show(panel, open) {
    panel.root.hidden = !open;
    panel.root.inert = !open;
    panel.button.setAttribute('aria-expanded', String(open));
    this.#stage.classList.toggle('with-panel', open);
  }
}
