//! Whole numbers of 64 bits in JSON that browsers read: theirs are exact to 53 bits.
//!
//! Pure. Owns how such a number is written: beyond 53 bits as a text of its digits. Must never round one. Input: what
//! drivers say, and what peers sent.

use serde_json::Value;

/// `Number.MAX_SAFE_INTEGER`
const LARGEST_EXACT: u64 = (1 << 53) - 1;

pub fn word(number: i64) -> Value {
    match number.unsigned_abs() <= LARGEST_EXACT {
        true => Value::from(number),
        false => Value::from(number.to_string()),
    }
}

/// From a number, however large, or from a text that `word` would write.
pub fn read(value: &Value) -> Option<i64> {
    let written = || value.as_str()?.parse().ok().filter(|number| word(*number) == *value);
    value.as_i64().or_else(written)
}

/// For serde: an optional number as `word` writes it.
pub mod optional {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::Value;

    pub fn serialize<S: Serializer>(number: &Option<i64>, to: S) -> Result<S::Ok, S::Error> {
        number.map(super::word).serialize(to)
    }

    pub fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Option<i64>, D::Error> {
        Ok(Option::<Value>::deserialize(from)?.as_ref().and_then(super::read))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_53_bits_hold_is_a_number_and_the_rest_a_text() {
        for (number, written) in [
            (0, "0"),
            (-7, "-7"),
            (9_007_199_254_740_991, "9007199254740991"),
            (9_007_199_254_740_992, "\"9007199254740992\""),
            (-9_007_199_254_740_991, "-9007199254740991"),
            (-9_007_199_254_740_992, "\"-9007199254740992\""),
            (i64::MAX, "\"9223372036854775807\""),
            (i64::MIN, "\"-9223372036854775808\""),
        ] {
            assert_eq!(word(number).to_string(), written);
            assert_eq!(read(&word(number)), Some(number));
        }
    }

    #[test]
    fn a_program_may_send_the_number_itself_but_no_other_text_is_one() {
        assert_eq!(read(&Value::from(i64::MAX)), Some(i64::MAX));
        for text in ["5", "", " 9007199254740993", "+9007199254740993", "09007199254740993", "9223372036854775808", "x"]
        {
            assert_eq!(read(&Value::from(text)), None, "{text}");
        }
        for odd in [Value::from(1.5), Value::from(u64::MAX), Value::Null, Value::from(true)] {
            assert_eq!(read(&odd), None, "{odd}");
        }
    }
}
