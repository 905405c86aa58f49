//! What was said to everybody: the last lines, and what a line may hold.
//!
//! Pure. In memory only; must never grow beyond `KEPT` lines of `LONGEST` characters.

use crate::signal::room::words::ChatLine;
use std::collections::VecDeque;

const KEPT: usize = 50;
/// Characters of one line.
pub const LONGEST: usize = 500;

#[derive(Default)]
pub struct Chat(VecDeque<ChatLine>);

impl Chat {
    /// The line as it is told: no two that are kept have the same time, so that who hears one twice knows it.
    pub fn add(&mut self, mut line: ChatLine) -> ChatLine {
        while self.0.iter().any(|known| known.at_ms == line.at_ms) {
            line.at_ms += 1;
        }
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(line.clone());
        line
    }

    /// The oldest first.
    pub fn lines(&self) -> Vec<ChatLine> {
        self.0.iter().cloned().collect()
    }
}

/// Without control characters but newlines, and without blanks around it. None: nothing is left.
pub fn clean(text: &str) -> Option<String> {
    let text: String = text.chars().filter(|c| *c == '\n' || !c.is_control()).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::room::words::SeatId;

    #[test]
    fn the_last_fifty_lines_are_kept() {
        let mut chat = Chat::default();
        for at_ms in 0..60 {
            chat.add(ChatLine { from: SeatId(1), name: "Ann".into(), text: "hi".into(), at_ms });
        }
        let lines = chat.lines();
        assert_eq!((lines.len(), lines[0].at_ms, lines[49].at_ms), (50, 10, 59));
    }

    #[test]
    fn two_lines_of_one_moment_can_be_told_apart() {
        let mut chat = Chat::default();
        let line = ChatLine { from: SeatId(1), name: "Ann".into(), text: "hi".into(), at_ms: 7 };
        let times: Vec<u64> = (0..3).map(|_| chat.add(line.clone()).at_ms).collect();
        assert_eq!(times, [7, 8, 9]);
    }

    #[test]
    fn lines_are_text_of_any_language_and_nothing_else() {
        assert_eq!(clean(" 你好\u{7}\n\u{1b}[31mfriend \n").as_deref(), Some("你好\n[31mfriend"));
        assert_eq!(clean("\u{0} \n"), None);
    }
}
