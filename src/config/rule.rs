//! The form of a table of keys: plans, sections, lists, and what the value of a key must be.
//!
//! Must never know a key (those are in `keys.rs` and `board_keys.rs`). The words of a rule serve the error messages and are
//! compared with the comments of `rtcam.example.toml`.

/// A kind of file: the keys at its top, and its sections.
pub struct Plan<T: 'static> {
    pub top: &'static [Key<T>],
    pub sections: &'static [Section<T>],
    /// Lists of tables, which the reader knows by itself.
    pub lists: &'static [&'static str],
}

pub struct Section<T: 'static> {
    pub name: &'static str,
    pub keys: &'static [Key<T>],
}

/// A list of tables such as `[[overlay]]`.
pub struct List<T: 'static> {
    pub name: &'static str,
    pub keys: &'static [Key<T>],
    pub most: usize,
    /// A short one, for messages.
    pub example: &'static str,
}

pub struct Key<T: 'static> {
    pub name: &'static str,
    pub rule: Rule<T>,
}

/// What a value must be. Text setters answer whether they took the value.
pub enum Rule<T: 'static> {
    Whole {
        min: i64,
        max: i64,
        even: bool,
        set: fn(&mut T, i64),
    },
    Fraction {
        min: f32,
        max: f32,
        set: fn(&mut T, f32),
    },
    Flag(fn(&mut T, bool)),
    OneOf(&'static [Named<T>]),
    /// As `OneOf`, for words that a table elsewhere holds.
    Known {
        words: fn() -> Vec<&'static str>,
        set: fn(&mut T, &str),
    },
    Text {
        form: &'static str,
        set: fn(&mut T, &str) -> bool,
    },
    /// As `Text`, but the value is never shown.
    Secret {
        form: &'static str,
        set: fn(&mut T, &str) -> bool,
    },
    Texts {
        form: &'static str,
        clear: fn(&mut T),
        add: fn(&mut T, &str) -> bool,
    },
    /// A table of names that are free, each with a whole number or true or false.
    Numbers {
        form: &'static str,
        add: fn(&mut T, &str, i64) -> bool,
    },
}

/// A word and what it sets.
pub type Named<T> = (&'static str, fn(&mut T));

impl<T> Rule<T> {
    /// The kind of value, for a value of the wrong type.
    pub fn kind(&self) -> &'static str {
        match self {
            Rule::Whole { .. } => "a whole number",
            Rule::Fraction { .. } => "a number",
            Rule::Flag(_) => "true or false",
            Rule::OneOf(_) | Rule::Known { .. } | Rule::Text { .. } | Rule::Secret { .. } => "text in quotes",
            Rule::Texts { .. } => "a list of texts such as [\"a\", \"b\"]",
            Rule::Numbers { .. } => "a table such as {brightness = 10}",
        }
    }

    /// What is allowed: a range, the words, or the form.
    pub fn allowed(&self) -> String {
        match self {
            Rule::Whole { min, max, even, .. } => format!("{min}..={max}{}", if *even { ", even" } else { "" }),
            Rule::Fraction { min, max, .. } => format!("{min:?}..={max:?}"),
            Rule::Flag(_) => "true or false".into(),
            Rule::OneOf(_) | Rule::Known { .. } => {
                let quoted: Vec<String> = self.words().iter().map(|word| format!("{word:?}")).collect();
                quoted.join(", ")
            }
            Rule::Text { form, .. }
            | Rule::Secret { form, .. }
            | Rule::Texts { form, .. }
            | Rule::Numbers { form, .. } => (*form).into(),
        }
    }

    /// The words that may stand there; empty where the value is free.
    pub fn words(&self) -> Vec<&'static str> {
        match self {
            Rule::OneOf(words) => words.iter().map(|(word, _)| *word).collect(),
            Rule::Known { words, .. } => words(),
            _ => Vec::new(),
        }
    }
}

pub const fn whole<T>(name: &'static str, min: i64, max: i64, set: fn(&mut T, i64)) -> Key<T> {
    Key { name, rule: Rule::Whole { min, max, even: false, set } }
}

pub const fn even<T>(name: &'static str, min: i64, max: i64, set: fn(&mut T, i64)) -> Key<T> {
    Key { name, rule: Rule::Whole { min, max, even: true, set } }
}

pub const fn fraction<T>(name: &'static str, min: f32, max: f32, set: fn(&mut T, f32)) -> Key<T> {
    Key { name, rule: Rule::Fraction { min, max, set } }
}

pub const fn flag<T>(name: &'static str, set: fn(&mut T, bool)) -> Key<T> {
    Key { name, rule: Rule::Flag(set) }
}

pub const fn one_of<T>(name: &'static str, words: &'static [Named<T>]) -> Key<T> {
    Key { name, rule: Rule::OneOf(words) }
}

pub const fn text<T>(name: &'static str, form: &'static str, set: fn(&mut T, &str) -> bool) -> Key<T> {
    Key { name, rule: Rule::Text { form, set } }
}

pub const fn secret<T>(name: &'static str, form: &'static str, set: fn(&mut T, &str) -> bool) -> Key<T> {
    Key { name, rule: Rule::Secret { form, set } }
}
