//! TOML text and `--set` arguments to a checked `Config`, or every mistake in them with its file and line.
//!
//! Must never guess a value: a config with one mistake is no config. Input: the user's file, read as a whole and at
//! most 1 MiB long.

use super::Config;
use super::board::Machine;
use super::check::{FurtherRule, check};
use super::keys::{CONFIG, ICE_SERVERS, OVERLAYS, PRESETS, USERS};
use super::rule::{Key, List, Plan, Rule};
use crate::error::{Error, ErrorKind, Result};
use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

const MAX_FILE_BYTES: u64 = 1 << 20;
const MAX_PROBLEMS_SHOWN: usize = 10;
/// Longer values are cut where a message quotes them.
const MAX_QUOTED_CHARS: usize = 60;

/// The defaults, over them the profile of the board this machine is, over that `file` (if any), over that the `--set`
/// arguments; then our own rules and the `further` ones. The message has one line per mistake.
pub fn load(file: Option<&Path>, sets: &[String], further: &[FurtherRule]) -> Result<Config> {
    let machine = Machine::this();
    let Some(path) = file else { return parse_by(&machine, "", "", sets, further) };
    let name = path.display().to_string();
    let refuse = |why: &str| Error::new(ErrorKind::BadConfig, format!("{name}: {why}"));
    let found = std::fs::metadata(path).map_err(|error| refuse("cannot read the config").because(error))?;
    if !found.is_file() || found.len() > MAX_FILE_BYTES {
        return Err(refuse("this is not a config file: expected a text file of at most 1 MiB"));
    }
    let bytes = std::fs::read(path).map_err(|error| refuse("cannot read the config").because(error))?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => parse_by(&machine, &name, text, sets, further),
        Err(error) => {
            let line = line_of(&bytes, error.valid_up_to());
            Err(Error::new(ErrorKind::BadConfig, format!("{name}:{line}: this line is not UTF-8 text")))
        }
    }
}

/// As `load`, with the text of the file given, on a machine that is no known board; `name` is how messages call the text.
pub fn parse(name: &str, text: &str, sets: &[String]) -> Result<Config> {
    parse_on(&Machine::unknown(), name, text, sets)
}

pub fn parse_on(machine: &Machine, name: &str, text: &str, sets: &[String]) -> Result<Config> {
    parse_by(machine, name, text, sets, &[])
}

fn parse_by(machine: &Machine, name: &str, text: &str, sets: &[String], further: &[FurtherRule]) -> Result<Config> {
    let mut config = Config::default();
    let mut notes = Notes::default();
    let (root, mistakes) = DeTable::parse_recoverable(text);
    config.profile = machine.profile(&wanted_board(root.get_ref(), sets))?;
    config.profile.clone().lay_under(&mut config);
    if mistakes.is_empty() {
        Reader { source: Source::File { name, text }, notes: &mut notes }.root(root.get_ref(), &mut config);
    }
    notes.syntax(name, text, &mistakes);
    for (number, argument) in sets.iter().enumerate() {
        let source = Source::Argument { text: argument, order: text.len() + number };
        Reader { source, notes: &mut notes }.argument(argument, &mut config);
    }
    if mistakes.is_empty() {
        check(&config, &mut notes);
        further.iter().for_each(|rule| rule.judge(&config, &mut notes));
    }
    notes.verdict().map(|()| config)
}

/// What `board` will be set to: its profile lies below all other settings, so it is looked at first.
fn wanted_board(root: &DeTable, sets: &[String]) -> String {
    let argument = sets.iter().rev().find_map(|set| {
        let (key, value) = set.split_once('=')?;
        (key.trim() == "board").then(|| value.trim().trim_matches('"').to_owned())
    });
    let in_file = || root.iter().find(|(key, _)| key.get_ref() == "board")?.1.get_ref().as_str().map(str::to_owned);
    argument.or_else(in_file).unwrap_or_else(|| "auto".into())
}

/// Reads a file of another plan than the config, such as a board's profile.
pub fn read<T: Default>(plan: &'static Plan<T>, name: &str, text: &str) -> Result<T> {
    let mut made = T::default();
    let mut notes = Notes::default();
    let (root, mistakes) = DeTable::parse_recoverable(text);
    if mistakes.is_empty() {
        let mut reader = Reader { source: Source::File { name, text }, notes: &mut notes };
        for (name, value) in root.get_ref() {
            reader.entry(&mut made, plan, name, value);
        }
    }
    notes.syntax(name, text, &mistakes);
    notes.verdict().map(|()| made)
}

/// What was found while reading: mistakes, and where each key was set.
#[derive(Default)]
pub struct Notes {
    problems: Vec<(usize, String)>,
    set: Vec<Place>,
}

struct Place {
    key: String,
    order: usize,
    /// How a message about this key begins.
    lead: String,
}

impl Notes {
    /// Adds a mistake about a key that was set, or that kept its default.
    pub fn about(&mut self, key: &str, why: &str) {
        // the last one counts: an argument overrides the file
        let (order, lead) = match self.set.iter().rev().find(|place| place.key == key) {
            Some(place) => (place.order, place.lead.clone()),
            None => (usize::MAX, key.to_owned()),
        };
        self.add(order, format!("{lead}: {why}"));
    }

    pub fn was_set(&self, key: &str) -> bool {
        self.set.iter().any(|place| place.key == key)
    }

    fn add(&mut self, order: usize, problem: String) {
        self.problems.push((order, problem));
    }

    fn syntax(&mut self, name: &str, text: &str, mistakes: &[toml::de::Error]) {
        for mistake in mistakes {
            let at = mistake.span().map_or(text.len(), |span| span.start);
            self.add(at, format!("{name}:{}: {}", line_of(text.as_bytes(), at), mistake.message()));
        }
    }

    fn verdict(mut self) -> Result<()> {
        if self.problems.is_empty() {
            return Ok(());
        }
        self.problems.sort_by_key(|(order, _)| *order);
        let more = self.problems.len().saturating_sub(MAX_PROBLEMS_SHOWN);
        let mut lines: Vec<String> = self.problems.into_iter().map(|(_, text)| text).collect();
        lines.truncate(MAX_PROBLEMS_SHOWN);
        if more > 0 {
            lines.push(format!("... and {more} more"));
        }
        Err(Error::new(ErrorKind::BadConfig, lines.join("\n")))
    }
}

/// Reads one source: finds the row of each key, stores the value, notes what is wrong and where.
struct Reader<'a> {
    source: Source<'a>,
    notes: &'a mut Notes,
}

impl Reader<'_> {
    fn root(&mut self, root: &DeTable, config: &mut Config) {
        for (name, value) in root {
            if name.get_ref() == "overlay" {
                self.list(&OVERLAYS, value, &mut config.overlays);
            } else {
                self.entry(config, &CONFIG, name, value);
            }
        }
        let within = |section: &str, list: &str| root.get(section).and_then(|s| s.get_ref().as_table()?.get(list));
        if let Some(presets) = within("camera", "preset") {
            self.list(&PRESETS, presets, &mut config.camera.presets);
        }
        if let Some(users) = within("auth", "user") {
            self.list(&USERS, users, &mut config.auth.users);
        }
        if let Some(servers) = within("webrtc", "ice_server") {
            self.list(&ICE_SERVERS, servers, &mut config.webrtc.ice_servers);
        }
    }

    /// A section, or a key at the top.
    fn entry<T>(&mut self, target: &mut T, plan: &'static Plan<T>, name: &Spanned<Cow<str>>, value: &Spanned<DeValue>) {
        let section = plan.sections.iter().find(|section| section.name == name.get_ref());
        match (section, value.get_ref()) {
            (Some(section), DeValue::Table(table)) => {
                let is_list = |key: &str| plan.lists.iter().any(|list| *list == format!("{}.{key}", section.name));
                for (key, value) in table.iter().filter(|(key, _)| !is_list(key.get_ref())) {
                    self.key(target, section.keys, (plan, section.name), (key.get_ref(), key.span()), value);
                }
            }
            (Some(section), _) => self.problem(&name.span(), &format!("{0} must be a section: [{0}]", section.name)),
            (None, _) if plan.top.iter().any(|key| key.name == name.get_ref()) => {
                self.key(target, plan.top, (plan, ""), (name.get_ref(), name.span()), value);
            }
            (None, value) => {
                let what = unknown_section(plan, name.get_ref(), value.is_table() || value.is_array());
                self.problem(&name.span(), &what);
            }
        }
    }

    /// The list replaces what was there.
    fn list<T: Default>(&mut self, list: &'static List<T>, value: &Spanned<DeValue>, target: &mut Vec<T>) {
        let name = list.name;
        target.clear();
        self.notes.set.retain(|place| !place.key.starts_with(&format!("{name}.")));
        let rows = match value.get_ref() {
            DeValue::Array(rows) if rows.len() <= list.most => rows,
            DeValue::Array(_) => {
                return self.problem(&value.span(), &format!("at most {} {name}s are possible", list.most));
            }
            _ => return self.problem(&value.span(), &format!("{name} must be a list: write [[{name}]]")),
        };
        for (number, row) in rows.iter().enumerate() {
            let DeValue::Table(table) = row.get_ref() else {
                self.problem(&row.span(), &format!("each {name} is a table such as {}", list.example));
                continue;
            };
            let mut made = T::default();
            for (key, value) in table {
                let section = format!("{name}.{number}");
                self.key(&mut made, list.keys, (&CONFIG, &section), (key.get_ref(), key.span()), value);
            }
            target.push(made);
        }
    }

    /// One `--set section.key=value`.
    fn argument(&mut self, argument: &str, config: &mut Config) {
        let nowhere = 0..0;
        let Some((path, text)) = argument.split_once('=') else {
            return self.problem(&nowhere, "expected section.key=value");
        };
        let (path, text) = (path.trim(), text.trim());
        // what is no TOML value is meant as bare text
        let value = DeValue::parse(text).unwrap_or_else(|_| Spanned::new(0..0, DeValue::String(text.into())));
        let (name, key) = path.split_once('.').unwrap_or((path, ""));
        match CONFIG.sections.iter().find(|section| section.name == name) {
            _ if CONFIG.top.iter().any(|key| key.name == path) => {
                self.key(config, CONFIG.top, (&CONFIG, ""), (path, nowhere), &value);
            }
            _ if path == OVERLAYS.name => self.list(&OVERLAYS, &value, &mut config.overlays),
            _ if path == USERS.name => self.list(&USERS, &value, &mut config.auth.users),
            _ if path == ICE_SERVERS.name => self.list(&ICE_SERVERS, &value, &mut config.webrtc.ice_servers),
            _ if path == PRESETS.name => self.list(&PRESETS, &value, &mut config.camera.presets),
            _ if name == "overlay" => self.problem(&nowhere, "overlays are set as a whole: overlay=[{type=\"logo\"}]"),
            Some(section) if !key.is_empty() => {
                self.key(config, section.keys, (&CONFIG, name), (key, nowhere), &value);
            }
            Some(_) => self.problem(&nowhere, &format!("expected {name}.key=value")),
            None => self.problem(&nowhere, &unknown_section(&CONFIG, name, !key.is_empty())),
        }
    }

    fn key<T, P>(
        &mut self,
        target: &mut T,
        keys: &'static [Key<T>],
        (plan, section): (&Plan<P>, &str),
        (name, name_span): (&str, Range<usize>),
        value: &Spanned<DeValue>,
    ) {
        let Some(key) = keys.iter().find(|key| key.name == name) else {
            let lists = plan.lists.iter().filter_map(|list| list.strip_prefix(section)?.strip_prefix('.'));
            let names: Vec<&'static str> = keys.iter().map(|key| key.name).chain(lists).collect();
            return self.problem(&name_span, &unknown_key(plan, section, name, &names));
        };
        let list = list_of(section);
        let shown = match list.unwrap_or(section) {
            "" => name.to_owned(),
            section => format!("{section}.{name}"),
        };
        let is_secret = |key: &Key<T>| matches!(key.rule, Rule::Secret { .. });
        // an argument holds the whole list: its other keys' values as well
        let whole_list = list.is_some() && matches!(self.source, Source::Argument { .. });
        let secret = is_secret(key) || whole_list && keys.iter().any(is_secret);
        let (order, lead) = (self.source.order(&value.span()), self.source.lead(&shown, &value.span(), secret));
        if let Err(why) = put(target, &key.rule, value.get_ref()) {
            self.notes.add(order, format!("{lead}: {why}"));
        }
        self.notes.set.push(Place { key: format!("{section}.{name}"), order, lead });
    }

    fn problem(&mut self, span: &Range<usize>, what: &str) {
        self.notes.add(self.source.order(span), format!("{}: {what}", self.source.place(span)));
    }
}

/// Where a value stands, for the beginning of messages about it.
enum Source<'a> {
    File { name: &'a str, text: &'a str },
    Argument { text: &'a str, order: usize },
}

impl Source<'_> {
    fn order(&self, span: &Range<usize>) -> usize {
        match self {
            Source::File { .. } => span.start,
            Source::Argument { order, .. } => *order,
        }
    }

    /// `rtcam.toml:7`, or `--set camera.fps`: what follows the `=` of a name we do not know may be a secret.
    fn place(&self, span: &Range<usize>) -> String {
        match self {
            Source::File { name, text } => format!("{name}:{}", line_of(text.as_bytes(), span.start)),
            Source::Argument { text, .. } => {
                let path = text.split('=').next().unwrap_or(text);
                format!("--set {}", quoted(path).escape_debug())
            }
        }
    }

    /// `rtcam.toml:7: camera.fps = 0`, or `--set camera.fps=0`; a secret's value is left out.
    fn lead(&self, key: &str, value: &Range<usize>, secret: bool) -> String {
        match self {
            Source::File { .. } if secret => format!("{}: {key}", self.place(value)),
            Source::File { text, .. } => format!("{}: {key} = {}", self.place(value), quoted(&text[value.clone()])),
            Source::Argument { .. } if secret => format!("--set {key}"),
            Source::Argument { text, .. } => format!("--set {}", quoted(text)),
        }
    }
}

/// `overlay.2` is a row of the list `overlay`.
fn list_of(section: &str) -> Option<&str> {
    let (list, number) = section.rsplit_once('.')?;
    number.parse::<usize>().is_ok().then_some(list)
}

fn line_of(text: &[u8], at: usize) -> usize {
    1 + text[..at.min(text.len())].iter().filter(|&&b| b == b'\n').count()
}

/// The first line of a value, cut to a readable length.
fn quoted(value: &str) -> String {
    let line = value.lines().next().unwrap_or_default();
    match line.char_indices().nth(MAX_QUOTED_CHARS) {
        Some((cut, _)) => format!("{}...", &line[..cut]),
        None => line.to_owned(),
    }
}

/// Checks a value against its rule and stores it.
fn put<T>(target: &mut T, rule: &Rule<T>, value: &DeValue) -> Result<(), String> {
    let must_be = || format!("must be {}", rule.allowed());
    let wrong_type = || format!("expected {}", rule.kind());
    match (rule, value) {
        (Rule::Whole { min, max, even, set }, DeValue::Integer(number)) => {
            // what does not fit 64 bits is out of every range
            let number = i64::from_str_radix(number.as_str(), number.radix()).map_err(|_| must_be())?;
            if !(*min..=*max).contains(&number) || *even && number % 2 != 0 {
                return Err(must_be());
            }
            set(target, number);
            Ok(())
        }
        (Rule::Fraction { min, max, set }, DeValue::Integer(_) | DeValue::Float(_)) => {
            let number: f32 = match value {
                DeValue::Float(float) => float.as_str().parse().map_err(|_| must_be())?,
                DeValue::Integer(whole) if whole.radix() == 10 => whole.as_str().parse().map_err(|_| must_be())?,
                _ => return Err(wrong_type()),
            };
            // NaN is in no range
            if !(*min..=*max).contains(&number) {
                return Err(must_be());
            }
            set(target, number);
            Ok(())
        }
        (Rule::Flag(set), DeValue::Boolean(on)) => {
            set(target, *on);
            Ok(())
        }
        (Rule::OneOf(words), DeValue::String(text)) => match words.iter().find(|(word, _)| word == text) {
            Some((_, set)) => {
                set(target);
                Ok(())
            }
            None => Err(format!("must be one of {}{}", rule.allowed(), did_you_mean(text, &rule.words()))),
        },
        (Rule::Known { words, set }, DeValue::String(text)) => {
            if !words().contains(&text.as_ref()) {
                return Err(format!("must be one of {}{}", rule.allowed(), did_you_mean(text, &words())));
            }
            set(target, text);
            Ok(())
        }
        (Rule::Text { set, .. } | Rule::Secret { set, .. }, DeValue::String(text)) => {
            if set(target, text) {
                Ok(())
            } else {
                Err(must_be())
            }
        }
        (Rule::Numbers { add, .. }, DeValue::Table(table)) => {
            for (name, value) in table {
                let number = match value.get_ref() {
                    DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok(),
                    DeValue::Boolean(on) => Some(i64::from(*on)),
                    _ => None,
                };
                let number = number.ok_or_else(|| format!("{:?}: {}", name.get_ref(), must_be()))?;
                if !add(target, name.get_ref(), number) {
                    return Err(format!("{:?}: {}", name.get_ref(), must_be()));
                }
            }
            Ok(())
        }
        (Rule::Texts { clear, add, .. }, DeValue::Array(items)) => {
            clear(target);
            for item in items.iter() {
                let text = item.get_ref().as_str().ok_or_else(wrong_type)?;
                if !add(target, text) {
                    return Err(format!("{text:?}: {}", must_be()));
                }
            }
            Ok(())
        }
        _ => Err(wrong_type()),
    }
}

fn unknown_key<P>(plan: &Plan<P>, section: &str, name: &str, names: &[&'static str]) -> String {
    let title = list_of(section).map_or(format!("[{section}]"), |list| format!("[[{list}]]"));
    let hint = match did_you_mean(name, names) {
        none if none.is_empty() => belongs_to(plan, name),
        near => near,
    };
    format!("{title} unknown key {name:?}{hint}")
}

/// A name at the top level that is no section: a misspelt one, or a key that lost its section.
fn unknown_section<P>(plan: &Plan<P>, name: &str, is_section: bool) -> String {
    if !is_section {
        let top: Vec<&'static str> = plan.top.iter().map(|key| key.name).collect();
        let hint = match belongs_to(plan, name) {
            none if none.is_empty() => did_you_mean(name, &top),
            home => home,
        };
        return format!("unknown key {name:?} outside a section{hint}");
    }
    let sections = plan.sections.iter().map(|section| section.name);
    let lists = plan.lists.iter().copied().filter(|list| !list.contains('.'));
    let names: Vec<&'static str> = sections.chain(lists).collect();
    let hint = match nearest(name, &names) {
        Some(list) if plan.lists.contains(&list) => format!("; did you mean [[{list}]]?"),
        Some(near) => format!("; did you mean [{near}]?"),
        None => format!("; the sections are {}", names.join(", ")),
    };
    format!("unknown section [{}]{hint}", quoted(name).escape_debug())
}

fn belongs_to<P>(plan: &Plan<P>, name: &str) -> String {
    match plan.sections.iter().find(|section| section.keys.iter().any(|key| key.name == name)) {
        Some(section) => format!("; it belongs under [{}]", section.name),
        None => String::new(),
    }
}

fn did_you_mean(word: &str, words: &[&'static str]) -> String {
    nearest(word, words).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default()
}

/// The likeliest word meant: at most one third of its letters differ.
fn nearest(word: &str, words: &[&'static str]) -> Option<&'static str> {
    // the distance takes time and memory in the product of the lengths
    if word.len() > 64 {
        return None;
    }
    let word = word.to_lowercase();
    let distance = |known: &'static str| (strsim::damerau_levenshtein(&word, known), known);
    let (distance, near) = words.iter().map(|known| distance(known)).min()?;
    (distance <= (near.len() / 3).clamp(1, 3)).then_some(near)
}
