//! The scripted camera's controls: a driver that lacks calls, overrides, rounds, tells and keeps silent on command.

use crate::capture::v4l2_device::{ControlCalls, ControlDescription, ControlEvent, Width};
use crate::capture::v4l2_fake::{Handle, errno};
use std::collections::{HashSet, VecDeque};
use std::io;
use std::time::Duration;

pub const USER: u32 = 0x0098_0900;
pub const INACTIVE: u32 = 0x10;
pub const WRITE_ONLY: u32 = 0x40;

#[derive(Clone)]
pub struct FakeControl {
    pub said: ControlDescription,
    pub value: i64,
    /// Of menus: index, name, number.
    pub items: Vec<(u32, &'static str, i64)>,
}

pub struct FakeControls {
    pub list: Vec<FakeControl>,
    /// While control `.0` has value `.1`, control `.2` is inactive.
    pub overrides: Vec<(u32, i64, u32)>,
    pub events: VecDeque<ControlEvent>,
    /// Whether changes are told at all.
    pub tells: bool,
    listeners: HashSet<u32>,
    /// What was set from outside or by us, in order.
    pub sets: Vec<(u32, i64)>,
    /// How long each answer takes.
    pub slow: Duration,
}

impl Default for FakeControls {
    fn default() -> FakeControls {
        let control =
            |id, name: &str, kind, maximum| FakeControl { value: i64::from(id) + 1, ..fake(id, name, kind, maximum) };
        let mut menu = control(30, "Anti Flicker", 3, 2);
        menu.items = vec![(0, "item 0", 0), (2, "item 2", 0)];
        let list = vec![
            control(10, "Brightness", 1, 255),
            control(20, "Camera Class", 6, 0),
            menu,
            control(40, "A type nobody knows", 0x4711, 0),
        ];
        FakeControls {
            list,
            overrides: Vec::new(),
            events: VecDeque::new(),
            tells: true,
            listeners: HashSet::new(),
            sets: Vec::new(),
            slow: Duration::ZERO,
        }
    }
}

/// From 0 to `maximum`, by one.
pub fn fake(id: u32, name: &str, kind: u32, maximum: i64) -> FakeControl {
    let name = name.into();
    let said = ControlDescription { id, name, kind, minimum: 0, maximum, step: 1, default: 0, flags: 0 };
    FakeControl { said, value: 0, items: Vec::new() }
}

impl FakeControls {
    pub fn at(&mut self, id: u32) -> &mut FakeControl {
        self.list.iter_mut().find(|control| control.said.id == id).expect("the test put it there")
    }

    /// As the driver does it for whoever asks: clamps, changes what depends on it, tells.
    pub fn put(&mut self, id: u32, value: i64) -> i64 {
        let control = self.at(id);
        let value = value.clamp(control.said.minimum, control.said.maximum);
        let differs = std::mem::replace(&mut control.value, value) != value;
        self.sets.push((id, value));
        if differs {
            self.tell(id, Some(value), false);
        }
        for (by, when, whom) in self.overrides.clone() {
            if by == id {
                let flags = &mut self.at(whom).said.flags;
                let before = *flags;
                *flags = if value == when { *flags | INACTIVE } else { *flags & !INACTIVE };
                if *flags != before {
                    self.tell(whom, None, false);
                }
            }
        }
        value
    }

    pub fn tell(&mut self, id: u32, value: Option<i64>, range: bool) {
        let flags = self.at(id).said.flags;
        if self.listeners.contains(&id) {
            self.events.push_back(ControlEvent { id, value, flags, range });
        }
    }

    pub fn forget_listeners(&mut self) {
        self.listeners.clear();
        self.events.clear();
    }
}

impl Handle {
    fn answer<T>(
        &self,
        call: &'static str,
        answer: impl FnOnce(&mut FakeControls) -> Option<io::Result<T>>,
    ) -> io::Result<T> {
        self.camera.enter(call)?;
        let mut state = self.camera.state();
        self.camera.hand.advance(state.controls.slow);
        answer(&mut state.controls).unwrap_or_else(|| errno(libc::EINVAL))
    }

    fn describe(&self, call: &'static str, wanted: impl Fn(u32) -> bool) -> io::Result<ControlDescription> {
        self.answer(call, |controls| {
            let found = controls.list.iter().filter(|control| wanted(control.said.id));
            found.min_by_key(|control| control.said.id).map(|control| Ok(control.said.clone()))
        })
    }

    fn read(&self, call: &'static str, id: u32) -> io::Result<i64> {
        self.answer(call, |controls| {
            let control = controls.list.iter().find(|control| control.said.id == id)?;
            let readable = control.said.flags & WRITE_ONLY == 0;
            Some(if readable { Ok(control.value) } else { errno(libc::EACCES) })
        })
    }

    fn write(&self, call: &'static str, id: u32, value: i64) -> io::Result<i64> {
        self.answer(call, |controls| {
            controls.list.iter().any(|control| control.said.id == id).then(|| Ok(controls.put(id, value)))
        })
    }
}

impl ControlCalls for Handle {
    fn next_control(&self, id: u32) -> io::Result<ControlDescription> {
        self.describe("next_control", |known| known > id)
    }

    fn control(&self, id: u32) -> io::Result<ControlDescription> {
        self.describe("control", |known| known == id)
    }

    fn next_old_control(&self, id: u32) -> io::Result<ControlDescription> {
        self.describe("next_old_control", |known| known > id)
    }

    fn old_control(&self, id: u32) -> io::Result<ControlDescription> {
        self.describe("old_control", |known| known == id)
    }

    fn menu_item(&self, id: u32, index: u32) -> io::Result<String> {
        self.answer("menu_item", |controls| {
            let item = controls.at(id).items.iter().find(|item| item.0 == index)?;
            Some(Ok(item.1.into()))
        })
    }

    fn menu_number(&self, id: u32, index: u32) -> io::Result<i64> {
        self.answer("menu_number", |controls| {
            let item = controls.at(id).items.iter().find(|item| item.0 == index)?;
            Some(Ok(item.2))
        })
    }

    fn value(&self, id: u32, width: Width) -> io::Result<i64> {
        let value = self.read("value", id)?;
        // as the kernel's union would cut it
        Ok(if width == Width::Bits32 { i64::from(value as i32) } else { value })
    }

    fn control_value(&self, id: u32) -> io::Result<i32> {
        self.read("control_value", id).map(|value| value as i32)
    }

    fn set_value(&self, id: u32, _: Width, value: i64) -> io::Result<i64> {
        self.write("set_value", id, value)
    }

    fn set_control_value(&self, id: u32, value: i32) -> io::Result<i32> {
        self.write("set_control_value", id, value.into()).map(|value| value as i32)
    }

    fn subscribe_control(&self, id: u32) -> io::Result<()> {
        self.answer("subscribe_control", |controls| {
            controls.tells.then(|| {
                controls.listeners.insert(id);
                Ok(())
            })
        })
    }
}
