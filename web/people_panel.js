// Who is there and who steers; what a host may do with each. Shows the room, decides nothing.

import { button, element, iconButton, refill, select } from './dom.js';

const SURE_WITHIN_MS = 4000;
const ROLES = ['viewer', 'operator', 'host'];

export class PeoplePanel {
  #room;
  #words;
  #act;
  #steering = element('section', { className: 'steering' });
  #list = element('ul', { className: 'people' });
  #unfolded = null;
  #mayCall = true;
  #shown = '';
  #sure = null;

  /** `act`: { request(), withdraw(), release(), revoke(), grant(id), role(id, role), kick(id), call(person), editName() }. */
  constructor(body, { room, words, act }) {
    this.#room = room;
    this.#words = words;
    this.#act = act;
    body.append(this.#steering, this.#list);
  }

  /** Only when something is different: a list made anew closes the menu somebody has open in it. */
  show(mayCall = this.#mayCall) {
    this.#mayCall = mayCall;
    const { people, holder, asking, me } = this.#room;
    const shown = JSON.stringify([people, holder, asking, me, mayCall, this.#unfolded, this.#sure]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    refill(this.#steering, this.#steeringParts());
    refill(this.#list, people.map((person) => this.#row(person, mayCall)));
  }

  #steeringParts() {
    const [room, words, act] = [this.#room, this.#words, this.#act];
    const me = room.me?.id;
    const mine = room.holder !== null && room.holder === me;
    const said = room.holder === null ? words('control_free') : mine ? words('control_mine') : words('control_held', { name: room.nameOf(room.holder) });
    const parts = [element('p', { className: mine ? 'holds' : '' }, said)];
    if (mine) parts.push(button(words('control_release'), act.release, '', { id: 'control-release' }));
    else if (room.isHost && room.holder !== null) parts.push(button(words('control_revoke'), act.revoke, '', { id: 'control-revoke' }));
    else if (room.mayAsk && room.asking.includes(me)) parts.push(button(words('control_withdraw'), act.withdraw, '', { id: 'control-withdraw' }));
    else if (room.mayAsk) parts.push(button(words('control_request'), act.request, 'primary', { id: 'control-request' }));
    return parts;
  }

  #row(person, mayCall) {
    const [words, room] = [this.#words, this.#room];
    const mine = person.id === room.me?.id;
    const marks = [];
    if (room.holder === person.id) marks.push(element('span', { className: 'mark holds' }, words('mark_steers')));
    if (room.asking.includes(person.id)) marks.push(element('span', { className: 'mark asks' }, words('mark_asks')));
    if (!person.watching) marks.push(element('span', { className: 'mark' }, words('mark_away')));
    const name = element('p', { className: 'person-name' }, element('bdi', {}, person.name), mine ? element('span', { className: 'fine' }, words('you')) : null);
    const row = element('li', { className: 'person' },
      element('span', { className: `face face-${Number(person.id) % 6}`, 'aria-hidden': 'true' }, [...person.name][0] ?? '?'),
      element('div', { className: 'person-words' }, name, element('p', { className: 'fine' }, words(`role_${person.role}`), ' ', marks)),
      element('div', { className: 'person-tools' }, this.#tools(person, mine, mayCall)));
    row.dataset.id = person.id;
    if (this.#unfolded === person.id && room.isHost && !mine) row.append(this.#hostTools(person));
    return row;
  }

  #tools(person, mine, mayCall) {
    const [words, room] = [this.#words, this.#room];
    if (mine) return [iconButton('pencil', words('name_edit'), this.#act.editName, { id: 'name-edit' })];
    const tools = [];
    if (room.isHost && room.asking.includes(person.id)) tools.push(button(words('control_grant'), () => this.#act.grant(person.id), 'primary', { id: `grant-${person.id}` }));
    tools.push(iconButton('phone', words('call_name', { name: person.name }), () => this.#act.call(person), { id: `call-${person.id}`, disabled: !mayCall }));
    if (room.isHost) tools.push(this.#more(person));
    return tools;
  }

  #more(person) {
    const open = this.#unfolded === person.id;
    return element('button', { type: 'button', id: `more-${person.id}`, className: 'icon-button', 'aria-expanded': String(open), 'aria-label': this.#words('more_name', { name: person.name }), title: this.#words('more_name', { name: person.name }), onclick: () => {
      this.#unfolded = open ? null : person.id;
      this.show();
    } }, element('span', { className: 'dots', 'aria-hidden': 'true' }, '⋯'));
  }

  #hostTools(person) {
    const [words, room] = [this.#words, this.#room];
    const sure = this.#sure === person.id;
    const steers = room.holder === person.id;
    return element('div', { className: 'person-more' },
      element('label', { className: 'row' }, element('span', {}, words('role')), select(ROLES.map((role) => [role, words(`role_${role}`)]), person.role, (role) => this.#act.role(person.id, role), { id: `role-${person.id}` })),
      element('div', { className: 'row' },
        steers ? button(words('control_revoke'), this.#act.revoke, '', { id: `take-${person.id}` }) : button(words('control_grant'), () => this.#act.grant(person.id), '', { id: `give-${person.id}` }),
        button(words(sure ? 'kick_sure' : 'kick'), () => this.#kick(person), 'danger', { id: `kick-${person.id}` })));
  }

  /** Twice: the first press only asks. */
  #kick(person) {
    if (this.#sure === person.id) {
      this.#sure = null;
      return this.#act.kick(person.id);
    }
    this.#sure = person.id;
    setTimeout(() => {
      if (this.#sure !== person.id) return;
      this.#sure = null;
      this.show();
    }, SURE_WITHIN_MS);
    this.show();
  }
}
