//! Mutations of a seed, drawn from a generator that starts the same way in every run.

/// What parsers have trouble with.
const NASTY: [&[u8]; 16] = [
    b"\0",
    b"\xff",
    b"\n",
    b"\"",
    b"\\u0000",
    b"\\ud800",
    b"{",
    b"[[[[[[[[",
    b"-1",
    b"18446744073709551616",
    b"1e999",
    b"null",
    b"\0\0\x01",
    b"=",
    b"\r\n",
    "\u{202e}".as_bytes(),
];
const MAX_BYTES: usize = 70_000;

pub struct Mutator(u64);

impl Mutator {
    pub fn new(seed: u64) -> Mutator {
        Mutator(seed)
    }

    /// xorshift64
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// One to four changes; `others` are for splicing.
    pub fn mutate(&mut self, seed: &[u8], others: &[&[u8]]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=self.below(4) {
            self.change(&mut bytes, others);
        }
        bytes.truncate(MAX_BYTES);
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, others: &[&[u8]]) {
        let at = self.below(bytes.len() + 1);
        let until = at + self.below(bytes.len() + 1 - at);
        match self.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            1 if at < bytes.len() => bytes[at] = self.next() as u8,
            2 => drop(bytes.drain(at..until)),
            3 => {
                let part = bytes[at..until].to_vec();
                let times = 1 + self.below(8);
                bytes.splice(at..at, part.repeat(times));
            }
            4 => bytes.truncate(at),
            5 => {
                let other = others[self.below(others.len())];
                let from = self.below(other.len() + 1);
                bytes.splice(at..until, other[from..].iter().copied());
            }
            _ => {
                let nasty = NASTY[self.below(NASTY.len())];
                bytes.splice(at..at, nasty.iter().copied());
            }
        }
    }
}
