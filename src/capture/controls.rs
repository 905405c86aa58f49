//! What can be set on a source while it runs: the words, and the trait of sources that have such controls.
//!
//! Pure. Input: the drivers' descriptions, which the sources have cleaned.

/// A setting of the camera.
#[derive(Clone, Debug, PartialEq)]
pub struct Control {
    /// Of the driver's name, lower case, `_` for everything that is no letter or digit: `white_balance_automatic`
    /// (as v4l2-ctl writes them). Unique.
    pub key: String,
    /// The driver's words.
    pub name: String,
    pub kind: ControlKind,
    /// Buttons have none: 0.
    pub value: i64,
    pub default: i64,
    pub read_only: bool,
    /// Has no effect now (V4L2_CTRL_FLAG_INACTIVE): another control overrides it.
    pub inactive: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ControlKind {
    Integer {
        minimum: i64,
        maximum: i64,
        step: u64,
    },
    Boolean,
    /// The values that exist, with the driver's words for them.
    Menu {
        items: Vec<(i64, String)>,
    },
    Button,
}

impl Control {
    /// What the driver is to be given for `value`: the nearest step. Err: why it cannot have it, in words.
    pub fn fitted(&self, value: i64) -> Result<i64, String> {
        match &self.kind {
            ControlKind::Button => Ok(0),
            ControlKind::Boolean if matches!(value, 0 | 1) => Ok(value),
            ControlKind::Boolean => Err(format!("{}: {value} is neither 0 nor 1", self.name)),
            ControlKind::Menu { items } if items.iter().any(|(item, _)| *item == value) => Ok(value),
            ControlKind::Menu { .. } => Err(format!("{}: there is no item {value}", self.name)),
            ControlKind::Integer { minimum, maximum, .. } if !(*minimum..=*maximum).contains(&value) => {
                Err(format!("{}: {value} is not within {minimum} to {maximum}", self.name))
            }
            ControlKind::Integer { minimum, maximum, step } => Ok(on_step(value, *minimum, *maximum, *step)),
        }
    }
}

/// A driver may give any numbers: computed with room to spare.
fn on_step(value: i64, minimum: i64, maximum: i64, step: u64) -> i64 {
    let (minimum, step) = (i128::from(minimum), i128::from(step.max(1)));
    let steps = (i128::from(value) - minimum + step / 2) / step;
    let last = (i128::from(maximum) - minimum) / step;
    (minimum + steps.min(last) * step) as i64
}

/// The key of a driver's name that is not in `taken` yet. `id` is for names without any letter or digit.
pub fn key_of(name: &str, id: u32, taken: &[Control]) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut key = words.collect::<Vec<_>>().join("_").to_ascii_lowercase();
    if key.is_empty() {
        key = format!("control_{id:08x}");
    }
    let is_free = |key: &str| taken.iter().all(|control| control.key != key);
    if is_free(&key) {
        return key;
    }
    let mut numbered = (2..).map(|number| format!("{key}_{number}"));
    numbered.find(|key| is_free(key)).unwrap_or(key)
}

/// A source's controls. None of this waits longer than the driver takes to answer a few calls.
pub trait Controls {
    /// Tells devices apart whose path may change: what was set on one is not for another.
    fn device(&self) -> &str;

    /// As they are now, as far as is known. Empty until all of them have been asked for.
    fn list(&self) -> &[Control];

    /// Sets a control to a value that `fitted` gave; the driver may still take another one. Err: why not, in words.
    fn set(&mut self, key: &str, value: i64) -> Result<(), String>;

    /// Does a little of what is due: asking for what is there after opening, reading again what a driver tells nothing
    /// about (only while `watched`). Called after every picture.
    fn work(&mut self, watched: bool);

    /// Whether `list` may differ from what it was at the last call.
    fn take_changed(&mut self) -> bool;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(key: &str, kind: ControlKind) -> Control {
        let (key, name) = (key.to_owned(), key.to_uppercase());
        Control { key, name, kind, value: 0, default: 0, read_only: false, inactive: false }
    }

    #[test]
    fn keys_are_those_of_v4l2_ctl_and_never_the_same() {
        let mut taken = Vec::new();
        for (name, key) in [
            ("Brightness", "brightness"),
            ("White Balance, Automatic", "white_balance_automatic"),
            ("Exposure Time, Absolute", "exposure_time_absolute"),
            ("  Gain (dB)  ", "gain_db"),
            ("brightness", "brightness_2"),
            ("BRIGHTNESS!", "brightness_3"),
            ("饱和度", "control_00000007"),
            ("", "control_00000007_2"),
        ] {
            let made = key_of(name, 7, &taken);
            assert_eq!(made, key, "{name}");
            taken.push(control(&made, ControlKind::Boolean));
        }
    }

    #[test]
    fn values_are_put_on_the_nearest_step_and_refused_beyond_the_range() {
        let gain = control("gain", ControlKind::Integer { minimum: -7, maximum: 10, step: 5 });
        let fitted = |value| gain.fitted(value).expect("within the range");
        assert_eq!([-7, -5, -4, 0, 8, 10].map(fitted), [-7, -7, -2, -2, 8, 8]);
        for value in [-8, 11, i64::MIN, i64::MAX] {
            let words = gain.fitted(value).expect_err("beyond");
            assert_eq!(words, format!("GAIN: {value} is not within -7 to 10"));
        }
        let whole = ControlKind::Integer { minimum: i64::MIN, maximum: i64::MAX, step: u64::MAX };
        assert_eq!(control("x", whole).fitted(i64::MAX), Ok(i64::MAX));
        let zero = control("x", ControlKind::Integer { minimum: 0, maximum: 9, step: 0 });
        assert_eq!(zero.fitted(4), Ok(4), "a driver that gives no step");
    }

    #[test]
    fn menus_take_their_items_only_and_buttons_anything() {
        let items = vec![(1, "Manual".to_owned()), (3, "Automatic".to_owned())];
        let menu = control("mode", ControlKind::Menu { items });
        assert_eq!((menu.fitted(3), menu.fitted(2).is_err()), (Ok(3), true));
        let flag = control("flag", ControlKind::Boolean);
        assert_eq!((flag.fitted(1), flag.fitted(2).is_err()), (Ok(1), true));
        assert_eq!(control("press", ControlKind::Button).fitted(-9), Ok(0));
    }
}
