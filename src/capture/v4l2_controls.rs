//! The controls of a V4L2 camera: found, read, set, and kept true by the driver's events.
//!
//! Owns what is known of them. They are asked for a few at a time between pictures: a USB camera answers each question
//! over its cable. Vendors' drivers lack some of the calls, each for itself; whatever is missing, the rest works, and
//! the pictures never depend on any of it. Input: a driver that may fail or lie at any call.

use crate::capture::controls::{Control, ControlKind, Controls, key_of};
use crate::capture::v4l2_device::{ControlDescription, ControlEvent, Device, Width};
use crate::clock::Clock;
use crate::units::Micros;
use std::io;
use std::sync::Arc;
use std::time::Duration;

pub const CTRL_TYPE_INTEGER: u32 = 1;
pub const CTRL_TYPE_BOOLEAN: u32 = 2;
pub const CTRL_TYPE_MENU: u32 = 3;
pub const CTRL_TYPE_BUTTON: u32 = 4;
pub const CTRL_TYPE_INTEGER64: u32 = 5;
pub const CTRL_TYPE_CLASS: u32 = 6;
pub const CTRL_TYPE_INTEGER_MENU: u32 = 9;
pub const CTRL_FLAG_DISABLED: u32 = 0x001;
const CTRL_FLAG_GRABBED: u32 = 0x002;
const CTRL_FLAG_READ_ONLY: u32 = 0x004;
const CTRL_FLAG_INACTIVE: u32 = 0x010;
const CTRL_FLAG_WRITE_ONLY: u32 = 0x040;
const CTRL_FLAG_HAS_PAYLOAD: u32 = 0x100;
/// Another picture size or layout: nothing for a camera that streams.
const CTRL_FLAG_MODIFY_LAYOUT: u32 = 0x400;

/// More than any camera has; a broken driver could go on for ever.
const MOST_CONTROLS: usize = 128;
const MOST_QUESTIONS: u32 = 1024;
const MOST_MENU_ITEMS: usize = 64;
/// Menus have holes.
const MENU_SPAN: i64 = 256;
/// How often what a driver tells nothing about is read again.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// What one turn of `work` may take, and ask at most.
const TURN: Duration = Duration::from_millis(2);
const TURN_STEPS: usize = 8;
/// A camera that takes this long over one question is asked no more than it must: every answer delays a picture.
const TOO_SLOW: Duration = Duration::from_millis(500);

pub struct CameraControls {
    device: Arc<dyn Device>,
    clock: Clock,
    name: String,
    /// Some while not all are known.
    search: Option<Search>,
    /// What the driver calls each of `list`.
    known: Vec<Known>,
    list: Vec<Control>,
    looked_at: Micros,
    changed: bool,
    too_slow: bool,
}

struct Known {
    id: u32,
    /// V4L2_CTRL_TYPE_*
    kind: u32,
    write_only: bool,
    /// The driver tells when it changes.
    tells: bool,
    /// To be asked for again.
    stale: bool,
    /// Also a menu's items.
    stale_items: bool,
}

impl CameraControls {
    /// Asks for nothing yet. `name` is that of the device, wherever it is plugged in.
    pub fn new(device: Arc<dyn Device>, clock: &Clock, name: String) -> CameraControls {
        CameraControls {
            device,
            clock: clock.clone(),
            name,
            search: Some(Search::default()),
            known: Vec::new(),
            list: Vec::new(),
            looked_at: clock.now(),
            changed: false,
            too_slow: false,
        }
    }

    /// What the driver told by itself.
    pub fn hear(&mut self, event: ControlEvent) {
        let Some(at) = self.known.iter().position(|known| known.id == event.id) else { return };
        let (known, control) = (&mut self.known[at], &mut self.list[at]);
        known.stale |= event.range;
        known.stale_items |= event.range;
        let (read_only, inactive) = states(event.flags);
        let value = event.value.filter(|_| !known.write_only).map_or(control.value, |value| clean(control, value));
        self.changed |= (control.value, control.read_only, control.inactive) != (value, read_only, inactive);
        (control.value, control.read_only, control.inactive) = (value, read_only, inactive);
    }

    pub fn has_changed(&self) -> bool {
        self.changed && self.search.is_none()
    }

    /// One piece of work; whether there may be more.
    fn step(&mut self, watched: bool) -> bool {
        if let Some(search) = &mut self.search {
            match search.next(self.device.as_ref()) {
                Answer::Control(found) if self.list.len() < MOST_CONTROLS => self.take(&found),
                Answer::Control(_) => {
                    tracing::info!("camera: {}: more than {MOST_CONTROLS} controls; the rest is left out", self.name);
                    self.found_all();
                }
                Answer::Nothing => {}
                Answer::End => self.found_all(),
            }
            return true;
        }
        if let Some(at) = self.known.iter().position(|known| known.stale) {
            self.look_again(at);
            return true;
        }
        let now = self.clock.now();
        if !watched || self.too_slow || now.since(self.looked_at) < LOOK_AGAIN {
            return false;
        }
        self.looked_at = now;
        self.doubt_the_silent();
        true
    }

    fn give_up(&mut self) {
        if !std::mem::replace(&mut self.too_slow, true) {
            let (name, count) = (&self.name, self.list.len());
            tracing::warn!("camera: {name}: slow to answer about its controls; {count} are offered, no more is asked");
        }
        if self.search.is_some() {
            self.found_all();
        }
    }

    fn found_all(&mut self) {
        self.search = None;
        self.looked_at = self.clock.now();
        self.changed = !self.list.is_empty();
    }

    fn take(&mut self, found: &ControlDescription) {
        let device = self.device.as_ref();
        let Some(kind) = kind(device, found) else { return };
        // before its value is read, so that no change is missed between the two
        let tells = device.subscribe_control(found.id).is_ok();
        let key = key_of(&found.name, found.id, &self.list);
        let control = control(device, found, key, kind);
        let write_only = found.flags & CTRL_FLAG_WRITE_ONLY != 0;
        self.known.push(Known { id: found.id, kind: found.kind, write_only, tells, stale: false, stale_items: false });
        self.list.push(control);
    }

    /// Whatever the driver does not tell about may be different now.
    fn doubt_the_silent(&mut self) {
        self.known.iter_mut().filter(|known| !known.tells).for_each(|known| known.stale = true);
    }

    fn look_again(&mut self, at: usize) {
        let device = self.device.as_ref();
        let (known, before) = (&mut self.known[at], &self.list[at]);
        let new_items = std::mem::take(&mut known.stale_items);
        known.stale = false;
        let asked = device.control(known.id).or_else(|_| device.old_control(known.id));
        let Ok(found) = asked else { return };
        if found.id != known.id || found.kind != known.kind {
            return;
        }
        let kind = match &before.kind {
            ControlKind::Menu { .. } if !new_items => Some(before.kind.clone()),
            _ => kind(device, &found),
        };
        let Some(kind) = kind else { return };
        let mut now = control(device, &found, before.key.clone(), kind);
        if known.write_only {
            now.value = before.value;
        }
        self.changed |= now != *before;
        self.list[at] = now;
    }

    fn set_at(&mut self, at: usize, value: i64) -> Result<(), String> {
        if self.list[at].inactive {
            // the control that overrides it may just have been changed
            self.look_again(at);
        }
        let (known, control) = (&self.known[at], &self.list[at]);
        if control.read_only || control.inactive {
            let why = if control.read_only { "it cannot be changed now" } else { "another control overrides it" };
            return Err(format!("{}: {why}", control.name));
        }
        let value = control.fitted(value)?;
        let taken = write(self.device.as_ref(), known, value).map_err(|cause| format!("{}: {cause}", control.name))?;
        self.hold(at, taken);
        self.doubt_the_silent();
        Ok(())
    }

    fn hold(&mut self, at: usize, taken: i64) {
        let control = &mut self.list[at];
        let value = clean(control, taken);
        self.changed |= control.value != value;
        control.value = value;
    }
}

impl Controls for CameraControls {
    fn device(&self) -> &str {
        &self.name
    }

    fn list(&self) -> &[Control] {
        if self.search.is_some() { &[] } else { &self.list }
    }

    fn set(&mut self, key: &str, value: i64) -> Result<(), String> {
        match self.list().iter().position(|control| control.key == key) {
            Some(at) => self.set_at(at, value),
            None => Err(format!("{key}: the camera has no such control")),
        }
    }

    fn work(&mut self, watched: bool) {
        let started = self.clock.now();
        for _ in 0..TURN_STEPS {
            let before = self.clock.now();
            let more = self.step(watched);
            let now = self.clock.now();
            if now.since(before) > TOO_SLOW {
                self.give_up();
            }
            if !more || now.since(started) > TURN {
                break;
            }
        }
    }

    fn take_changed(&mut self) -> bool {
        self.search.is_none() && std::mem::take(&mut self.changed)
    }
}

/// Read-only (for good or for now), and inactive.
fn states(flags: u32) -> (bool, bool) {
    let has = |bits| flags & bits != 0;
    let read_only = has(CTRL_FLAG_READ_ONLY | CTRL_FLAG_GRABBED | CTRL_FLAG_MODIFY_LAYOUT);
    (read_only, has(CTRL_FLAG_INACTIVE | CTRL_FLAG_DISABLED))
}

/// None for what we do not offer: class headers, texts, bit masks, arrays, and what makes no sense.
fn kind(device: &dyn Device, found: &ControlDescription) -> Option<ControlKind> {
    let (minimum, maximum) = (found.minimum, found.maximum);
    let useless = found.flags & (CTRL_FLAG_DISABLED | CTRL_FLAG_HAS_PAYLOAD) != 0
        || found.flags & CTRL_FLAG_READ_ONLY != 0 && found.flags & CTRL_FLAG_WRITE_ONLY != 0;
    match found.kind {
        _ if useless => None,
        CTRL_TYPE_INTEGER | CTRL_TYPE_INTEGER64 if minimum <= maximum => {
            Some(ControlKind::Integer { minimum, maximum, step: found.step.max(1) })
        }
        CTRL_TYPE_BOOLEAN => Some(ControlKind::Boolean),
        CTRL_TYPE_BUTTON => Some(ControlKind::Button),
        CTRL_TYPE_MENU | CTRL_TYPE_INTEGER_MENU => {
            let items = menu(device, found);
            (!items.is_empty()).then_some(ControlKind::Menu { items })
        }
        _ => None,
    }
}

/// The items a menu really has.
pub fn menu(device: &dyn Device, found: &ControlDescription) -> Vec<(i64, String)> {
    let first = found.minimum.max(0);
    let last = found.maximum.min(first.saturating_add(MENU_SPAN)).min(u32::MAX.into());
    let item = |index: i64| {
        let label = match found.kind {
            CTRL_TYPE_MENU => device.menu_item(found.id, index as u32).ok()?,
            _ => device.menu_number(found.id, index as u32).ok()?.to_string(),
        };
        Some((index, label))
    };
    (first..=last).filter_map(item).take(MOST_MENU_ITEMS).collect()
}

fn control(device: &dyn Device, found: &ControlDescription, key: String, kind: ControlKind) -> Control {
    let (read_only, inactive) = states(found.flags);
    let name = if found.name.is_empty() { key.clone() } else { found.name.clone() };
    let mut control = Control { key, name, kind, value: 0, default: 0, read_only, inactive };
    if control.kind != ControlKind::Button {
        control.default = control.fitted(found.default).unwrap_or_else(|_| first(&control.kind));
        let readable = found.flags & CTRL_FLAG_WRITE_ONLY == 0;
        let value = if readable { read(device, found.id, found.kind).ok() } else { None };
        control.value = value.map_or(control.default, |value| clean(&control, value));
    }
    control
}

fn first(kind: &ControlKind) -> i64 {
    match kind {
        ControlKind::Integer { minimum, .. } => *minimum,
        ControlKind::Menu { items } => items.first().map_or(0, |(item, _)| *item),
        ControlKind::Boolean | ControlKind::Button => 0,
    }
}

/// What a driver says is the value, in the words of the kind.
fn clean(control: &Control, value: i64) -> i64 {
    match control.kind {
        ControlKind::Integer { minimum, maximum, .. } => value.clamp(minimum, maximum),
        ControlKind::Boolean => i64::from(value != 0),
        ControlKind::Menu { .. } => value,
        ControlKind::Button => 0,
    }
}

fn width(kind: u32) -> Width {
    if kind == CTRL_TYPE_INTEGER64 { Width::Bits64 } else { Width::Bits32 }
}

/// Whether another call for the same thing may still work.
fn is_refusal(cause: &io::Error) -> bool {
    matches!(cause.raw_os_error(), Some(libc::ENOTTY | libc::EINVAL))
}

fn read(device: &dyn Device, id: u32, kind: u32) -> io::Result<i64> {
    match device.value(id, width(kind)) {
        Err(cause) if is_refusal(&cause) && kind != CTRL_TYPE_INTEGER64 => device.control_value(id).map(i64::from),
        answer => answer,
    }
}

fn write(device: &dyn Device, known: &Known, value: i64) -> io::Result<i64> {
    match (device.set_value(known.id, width(known.kind), value), i32::try_from(value)) {
        (Err(cause), Ok(value)) if is_refusal(&cause) && known.kind != CTRL_TYPE_INTEGER64 => {
            device.set_control_value(known.id, value).map(i64::from)
        }
        (answer, _) => answer,
    }
}

/// Goes through all controls of a device, one question at a time.
#[derive(Default)]
pub struct Search {
    way: Way,
    after: u32,
    asked: u32,
}

/// How a driver lets its controls be found, the newest way first.
#[derive(Clone, Copy, Default)]
enum Way {
    #[default]
    Next,
    NextOld,
    /// Every id that the standard knows, from this one of the list on.
    Each(u32),
}

pub enum Answer {
    Control(ControlDescription),
    /// Not this time.
    Nothing,
    End,
}

impl Search {
    pub fn next(&mut self, device: &dyn Device) -> Answer {
        self.asked += 1;
        if self.asked > MOST_QUESTIONS {
            return Answer::End;
        }
        let (answer, otherwise) = match self.way {
            Way::Next => (device.next_control(self.after), Way::NextOld),
            Way::NextOld => (device.next_old_control(self.after), Way::Each(0)),
            Way::Each(place) => return self.ask_for(device, place),
        };
        match answer {
            Ok(found) if found.id > self.after => {
                self.after = found.id;
                Answer::Control(found)
            }
            // it runs in circles
            Ok(_) => Answer::End,
            Err(cause) if is_refusal(&cause) && self.after > 0 => Answer::End,
            Err(cause) if is_gone(&cause) => Answer::End,
            Err(cause) => {
                // no such call; or one control that cannot be asked for, which hides those after it
                self.way = if is_refusal(&cause) { otherwise } else { Way::Each(0) };
                Answer::Nothing
            }
        }
    }

    fn ask_for(&mut self, device: &dyn Device, place: u32) -> Answer {
        let Some(id) = standard_id(place) else { return Answer::End };
        self.way = Way::Each(place + 1);
        if id <= self.after {
            return Answer::Nothing;
        }
        match device.old_control(id) {
            Ok(found) if found.id == id => Answer::Control(found),
            Err(cause) if is_gone(&cause) || cause.raw_os_error() == Some(libc::ENOTTY) => Answer::End,
            _ => Answer::Nothing,
        }
    }
}

fn is_gone(cause: &io::Error) -> bool {
    matches!(cause.raw_os_error(), Some(libc::ENODEV | libc::ENXIO | libc::ESHUTDOWN))
}

/// V4L2_CID_BASE, V4L2_CID_CAMERA_CLASS_BASE and V4L2_CID_PRIVATE_BASE, and how many there may be from each on.
const STANDARD_IDS: [(u32, u32); 3] = [(0x0098_0900, 64), (0x009a_0900, 64), (0x0800_0000, 32)];

fn standard_id(place: u32) -> Option<u32> {
    let mut ids = STANDARD_IDS.into_iter().flat_map(|(base, count)| base..base + count);
    ids.nth(place as usize)
}
