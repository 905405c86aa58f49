//! The text of a text layer: strftime codes in local time, {host}, {fps}, and what is written as it is.
//!
//! Owns the check that every code is known, at start-up. Must never read a clock. Input: config, the moment.

use super::Moment;
use crate::clock::WallMicros;
use crate::error::{Error, ErrorKind, Result};
use chrono::format::{Fixed, Item, Numeric, StrftimeItems};
use chrono::{DateTime, Local, TimeZone};
use std::fmt::Write;

pub struct Template {
    pieces: Vec<Piece>,
    /// How long a written text stays true.
    tick_us: u64,
}

enum Piece {
    Time(Vec<Item<'static>>),
    Host,
    Fps,
}

const SECOND_US: u64 = 1_000_000;

impl Template {
    pub fn parse(text: &str) -> Result<Template> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (literal, token) = split_at_token(rest);
            if !literal.is_empty() {
                pieces.push(Piece::Time(parse_time(literal)?));
            }
            rest = &rest[literal.len()..];
            if let Some((name, piece)) = token {
                rest = &rest[name.len()..];
                pieces.push(piece);
            }
        }
        let shows_fraction = pieces.iter().any(|piece| matches!(piece, Piece::Time(items) if has_fraction(items)));
        let template = Template { pieces, tick_us: if shows_fraction { 1 } else { SECOND_US } };
        // a code may be known and still not be writable
        template.write(&Moment { wall: WallMicros(0), host: "", fps: 0.0 }, &mut String::new())?;
        Ok(template)
    }

    /// Changes whenever the written time may change.
    pub fn tick(&self, wall: WallMicros) -> u64 {
        wall.0 / self.tick_us
    }

    /// Appends the text as it reads at that moment.
    pub fn write(&self, moment: &Moment, to: &mut String) -> Result<()> {
        let unwritable = || Error::new(ErrorKind::BadConfig, "text: the time cannot be written in this form");
        let local = local_time(moment.wall).ok_or_else(unwritable)?;
        for piece in &self.pieces {
            let written = match piece {
                Piece::Time(items) => local.format_with_items(items.iter()).write_to(to),
                Piece::Host => to.write_str(moment.host),
                Piece::Fps => write!(to, "{:.0}", moment.fps),
            };
            written.map_err(|_| unwritable())?;
        }
        Ok(())
    }
}

fn local_time(wall: WallMicros) -> Option<DateTime<Local>> {
    Local.timestamp_micros(i64::try_from(wall.0).ok()?).single()
}

fn split_at_token(text: &str) -> (&str, Option<(&'static str, Piece)>) {
    let tokens = [("{host}", Piece::Host), ("{fps}", Piece::Fps)];
    let found = tokens.into_iter().filter_map(|token| text.find(token.0).map(|at| (at, token)));
    match found.min_by_key(|(at, _)| *at) {
        Some((at, token)) => (&text[..at], Some(token)),
        None => (text, None),
    }
}

fn parse_time(text: &str) -> Result<Vec<Item<'static>>> {
    StrftimeItems::new(text).parse_to_owned().map_err(|_| {
        let code = first_bad_code(text);
        Error::new(ErrorKind::BadConfig, format!("text: \"{code}\" is no strftime code; a percent sign is \"%%\""))
    })
}

/// The percent sign and the character after it, of the first code that is none.
fn first_bad_code(text: &str) -> &str {
    /// `%:::z` and `%-3f` are the longest forms.
    const LONGEST_CODE: usize = 5;
    let upto = |text: &str, chars: usize| text.char_indices().nth(chars).map_or(text.len(), |(at, _)| at);
    let is_known = |code: &str| StrftimeItems::new(code).all(|item| item != Item::Error);
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        rest = &rest[at..];
        match (2..=LONGEST_CODE).map(|len| upto(rest, len)).find(|&end| is_known(&rest[..end])) {
            Some(end) => rest = &rest[end..],
            None => return &rest[..upto(rest, 2)],
        }
    }
    text
}

fn has_fraction(items: &[Item]) -> bool {
    items.iter().any(|item| match item {
        Item::Numeric(Numeric::Nanosecond, _) => true,
        // chrono keeps some of its fraction forms to itself; those that never show one are few and known
        Item::Fixed(fixed) => !matches!(
            fixed,
            Fixed::ShortMonthName
                | Fixed::LongMonthName
                | Fixed::ShortWeekdayName
                | Fixed::LongWeekdayName
                | Fixed::LowerAmPm
                | Fixed::UpperAmPm
                | Fixed::TimezoneName
                | Fixed::TimezoneOffset
                | Fixed::TimezoneOffsetColon
                | Fixed::TimezoneOffsetDoubleColon
                | Fixed::TimezoneOffsetTripleColon
                | Fixed::TimezoneOffsetColonZ
                | Fixed::TimezoneOffsetZ
                | Fixed::RFC2822
        ),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: WallMicros = WallMicros(1_700_000_000_123_456);

    fn written(text: &str) -> String {
        let mut out = String::new();
        let template = Template::parse(text).expect("a good text");
        template.write(&Moment { wall: WALL, host: "cam-%H", fps: 29.7 }, &mut out).expect("writable");
        out
    }

    #[test]
    fn time_host_and_rate_are_put_in_and_the_rest_stays() {
        assert_eq!(written("{host} 第1机 {fps} fps {x} 100%%"), "cam-%H 第1机 30 fps {x} 100%");
        assert_eq!(written("%s|{host}|%S"), "1700000000|cam-%H|20", "a host name is no format");
        assert_eq!(written(""), "");
    }

    #[test]
    fn bad_codes_are_refused_and_named() {
        for (text, code) in [("%Y %Q", "%Q"), ("%%%-d %é", "%é"), ("100%", "%"), ("%H {fps}%", "%"), ("%-", "%-")] {
            let error = Template::parse(text).err().unwrap_or_else(|| panic!("{text} was taken"));
            assert_eq!(error.kind(), ErrorKind::BadConfig);
            assert!(error.to_string().contains(&format!("\"{code}\"")), "{text}: {error}");
        }
    }

    #[test]
    fn only_fractions_of_a_second_make_the_text_change_within_one() {
        for text in ["%Y-%m-%d %H:%M:%S", "%a %b %p %Z %z %:z", "%c", "{host} {fps}"] {
            assert_eq!(Template::parse(text).expect("a good text").tick_us, SECOND_US, "{text}");
        }
        for text in ["%f", "%.f", "%3f", "%.3f", "%9f", "%+"] {
            assert_eq!(Template::parse(text).expect("a good text").tick_us, 1, "{text}");
        }
    }

    #[test]
    fn a_time_that_does_not_exist_is_an_error_not_a_panic() {
        let template = Template::parse("%Y %+ %c").expect("a good text");
        for wall in [u64::MAX, i64::MAX as u64, 1 << 62] {
            let _ = template.write(&Moment { wall: WallMicros(wall), host: "", fps: f64::NAN }, &mut String::new());
        }
        assert!(
            Template::parse("%Y")
                .expect("good")
                .write(&Moment { wall: WallMicros(u64::MAX), host: "", fps: 0.0 }, &mut String::new())
                .is_err()
        );
    }
}
