// Elements made in code. Texts become text nodes, never markup: what people write cannot turn into a page.

const DRAWINGS = {
  close: ['M6 6l12 12M18 6L6 18'],
  pencil: ['M5 19l1-4L16 5l3 3L9 18z'],
  undo: ['M5 9h9a5 5 0 010 10h-4M5 9l4-4M5 9l4 4'],
  phone: ['M6 4h3l1.5 4-2 1.5a10 10 0 006 6l1.5-2 4 1.5v3a2 2 0 01-2 2A16 16 0 014 6a2 2 0 012-2z'],
  send: ['M4 12l16-8-6 16-3-6z'],
  file: ['M7 3h7l4 4v14H7zM14 3v4h4'],
  clip: ['M19 11l-7.5 7.5a4.5 4.5 0 01-6.4-6.4L13 4.3a3 3 0 014.3 4.2l-7.7 7.7a1.5 1.5 0 01-2.2-2.1L14 7.6'],
  copy: ['M9 9h10v11H9zM15 9V4H5v11h4'],
  bin: ['M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13'],
};

/** `properties`: `onclick` and its like are listeners, names with a dash are attributes, the rest is set as it is. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (typeof value === 'function') made.addEventListener(name.slice(2), value);
    else if (name.includes('-') || name === 'role' || name === 'for') made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

export function icon(name) {
  const { namespaceURI } = document.querySelector('svg');
  const drawing = document.createElementNS(namespaceURI, 'svg');
  drawing.setAttribute('viewBox', '0 0 24 24');
  drawing.setAttribute('aria-hidden', 'true');
  for (const d of DRAWINGS[name]) {
    const path = document.createElementNS(namespaceURI, 'path');
    path.setAttribute('d', d);
    drawing.append(path);
  }
  return drawing;
}

export function iconButton(name, label, onclick, more = {}) {
  return element('button', { type: 'button', className: 'icon-button', 'aria-label': label, title: label, onclick, ...more }, icon(name));
}

export function button(text, onclick, className = '', more = {}) {
  return element('button', { type: 'button', className: `push ${className}`, onclick, ...more }, text);
}

/** Enter, but not the one that ends a composition: Safari tells of it only afterwards, with the key code 229. */
export function isEnter(event) {
  return event.key === 'Enter' && !event.isComposing && event.keyCode !== 229;
}

/** A switch with its words beside it. */
export function toggle(text, checked, onchange, more = {}) {
  const box = element('input', { type: 'checkbox', role: 'switch', className: 'switch', checked, onchange: () => onchange(box.checked), ...more });
  return element('label', { className: 'row switch-row' }, element('span', {}, text), box);
}

/** `choices`: [[value, words, disabled?]]. */
export function select(choices, value, onchange, more = {}) {
  const options = choices.map(([key, words, disabled = false]) => element('option', { value: String(key), disabled }, words));
  const box = element('select', { onchange: () => onchange(box.value), ...more }, options);
  box.value = String(value);
  return box;
}

/** A labelled line of a form. */
export function field(text, control, ...more) {
  return element('label', { className: 'field' }, element('span', { className: 'field-name' }, text), control, ...more);
}

/** Fills `root` with the same things in a new state and leaves the focus where it was, as far as ids tell: else near it. */
export function refill(root, ...children) {
  const id = root.contains(document.activeElement) ? document.activeElement.id : '';
  root.replaceChildren(...children.flat().filter(Boolean));
  if (id) (document.getElementById(id) ?? root.querySelector('button') ?? root.closest('.panel')).focus();
}
