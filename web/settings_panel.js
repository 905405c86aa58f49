// What this viewer chooses for himself: name, look, language, bandwidth; the keys; and the way out.

import { button, element, field, isEnter, select, toggle } from './dom.js';
import { NAME_LONGEST, tidyName } from './memory.js';

export class SettingsPanel {
  #words;
  #memory;
  #act;
  #who = element('p', { className: 'who' });
  #name;
  #save;
  #you;
  #out;

  /** `act`: { rename(name), theme(theme), language(language), logOut() }; `keys`: [[key, words]]. */
  constructor(body, { words, memory, act, keys, languages }) {
    this.#words = words;
    this.#memory = memory;
    this.#act = act;
    this.#name = element('input', { id: 'own-name', maxLength: NAME_LONGEST, autocomplete: 'nickname', value: memory.name, oninput: () => this.#look(), onkeydown: (event) => isEnter(event) && this.#rename() });
    this.#save = button(words('name_save'), () => this.#rename(), 'primary', { id: 'own-name-save', disabled: true });
    this.#you = element('section', { className: 'group', hidden: true }, element('h3', {}, words('you_title')), this.#who, field(words('name_wish'), this.#name), this.#save);
    this.#out = element('section', { className: 'group', hidden: true }, button(words('log_out'), () => act.logOut(), '', { id: 'log-out' }));
    body.append(this.#you, this.#look_section(languages), this.#keys(keys), this.#out);
  }

  get nameBox() { return this.#name; }

  /** `me`: the seat, or null outside a room; `loggedIn`: whether there is a login to end. */
  show(me, loggedIn = false) {
    this.#you.hidden = !me;
    this.#out.hidden = !me || !loggedIn;
    if (me) this.#who.replaceChildren(element('bdi', {}, me.name), element('span', { className: 'fine' }, ` ${this.#words(`role_${me.role}`)}`));
  }

  #look_section(languages) {
    const words = this.#words;
    const themes = ['', 'light', 'dark'].map((theme) => [theme, words(`theme_${theme || 'system'}`)]);
    return element('section', { className: 'group' },
      element('h3', {}, words('look')),
      field(words('theme'), select(themes, this.#memory.theme, (theme) => this.#act.theme(theme), { id: 'theme' })),
      field(words('language'), select([['', words('language_system')], ...languages], this.#memory.language, (language) => this.#act.language(language), { id: 'language' })),
      field(words('bandwidth'), select([['auto', words('bandwidth_auto')], ['more', words('bandwidth_more'), true]], 'auto', () => {}, { id: 'bandwidth' })));
  }

  #keys(keys) {
    return element('section', { className: 'group keys' }, element('h3', {}, this.#words('keys')),
      toggle(this.#words('keys_use'), this.#memory.keys, (on) => { this.#memory.keys = on; }, { id: 'keys-use' }),
      element('dl', { className: 'list' }, keys.map(([key, words]) => element('div', {}, element('dt', {}, element('kbd', {}, key)), element('dd', {}, this.#words(words))))));
  }

  #look() {
    this.#save.disabled = tidyName(this.#name.value) === this.#memory.name;
  }

  #rename() {
    if (this.#save.disabled) return;
    this.#act.rename(tidyName(this.#name.value));
  }
}
