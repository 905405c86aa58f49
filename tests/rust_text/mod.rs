//! Rust text without what is not code: comments, the contents of strings, and test-only items. Line numbers stay.

/// Blanks comments and the contents of string and character literals; keeps every line break.
pub fn code_of(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => end_of_line(&chars, at),
            '/' if chars.get(at + 1) == Some(&'*') => end_of_block_comment(&chars, at),
            '"' => end_of_string(&chars, at),
            'r' if raw_hashes(&chars, at).is_some() => end_of_raw_string(&chars, at),
            '\'' => end_of_char(&chars, at),
            c => {
                code.push(c);
                at += 1;
                continue;
            }
        };
        let quotes = if chars[at] == '"' { "\"\"" } else { "" };
        code.push_str(quotes);
        code.extend(chars[at..end].iter().filter(|c| **c == '\n'));
        at = end;
    }
    code
}

fn end_of_line(chars: &[char], from: usize) -> usize {
    chars[from..].iter().position(|c| *c == '\n').map_or(chars.len(), |length| from + length)
}

fn end_of_block_comment(chars: &[char], from: usize) -> usize {
    let (mut depth, mut at) = (0, from);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at.min(chars.len())
}

fn end_of_string(chars: &[char], from: usize) -> usize {
    let mut at = from + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// The number of `#` of a raw string that starts here: `r"`, `r#"`. An `r` inside a word starts none.
fn raw_hashes(chars: &[char], at: usize) -> Option<usize> {
    let before = at.checked_sub(1).map(|before| chars[before]);
    if before.is_some_and(|c| (c.is_alphanumeric() && c != 'b') || c == '_') {
        return None;
    }
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    (chars.get(at + 1 + hashes) == Some(&'"')).then_some(hashes)
}

fn end_of_raw_string(chars: &[char], from: usize) -> usize {
    let hashes = raw_hashes(chars, from).unwrap_or_default();
    let mut at = from + hashes + 2;
    while at < chars.len() {
        if chars[at] == '"' && chars[at + 1..].iter().take_while(|c| **c == '#').take(hashes).count() == hashes {
            return at + 1 + hashes;
        }
        at += 1;
    }
    chars.len()
}

/// A character literal, or only the quote of a lifetime.
fn end_of_char(chars: &[char], from: usize) -> usize {
    match (chars.get(from + 1), chars.get(from + 2)) {
        (Some('\\'), _) => {
            let rest = &chars[(from + 3).min(chars.len())..];
            rest.iter().position(|c| *c == '\'').map_or(chars.len(), |length| from + 3 + length + 1)
        }
        (Some(_), Some('\'')) => from + 3,
        _ => from + 1,
    }
}

/// Blanks every item under `#[cfg(test)]`. Takes the answer of `code_of`.
pub fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        let (before, item) = rest.split_at(at);
        let length = length_of_item(item);
        kept.push_str(before);
        kept.extend(item[..length].chars().filter(|c| *c == '\n'));
        rest = &item[length..];
    }
    kept.push_str(rest);
    kept
}

/// Up to the item's `;`, or to the end of its braces.
fn length_of_item(item: &str) -> usize {
    let mut depth = 0;
    for (at, c) in item.char_indices() {
        match c {
            ';' if depth == 0 => return at + 1,
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    item.len()
}

#[test]
fn only_code_is_left_and_the_lines_stay() {
    let text = "a /* b\n/* c */ d */ e // f\n\"g\\\"h\" r#\"i\"j\"# 'k' '\\'' '\\u{1f}' &'l m br\"n\"\no";
    assert_eq!(code_of(text), "a \n e \n\"\"     &l m b\no");
    assert_eq!(code_of("for\"x\" r\" unterminated"), "for\"\" ");
}

#[test]
fn test_items_are_left_out_wherever_they_stand() {
    let text = "a\n#[cfg(test)]\nmod tests {\n fn b() {}\n}\nc\n#[cfg(test)]\nuse d;\ne";
    assert_eq!(without_tests(text), "a\n\n\n\n\nc\n\n\ne");
}
