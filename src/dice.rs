//! Dice for unit tests: random, and yet the same throws on every machine and in every run.
//!
//! Owns the one generator of the tests (xorshift64*). Must never be part of the program. Input: a seed.

pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        // never 0: from there it would not get away
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).max(1))
    }

    /// From 0 to `sides`, without it.
    pub fn roll(&mut self, sides: u64) -> u64 {
        (self.throw() >> 33) % sides
    }

    pub fn byte(&mut self) -> u8 {
        (self.throw() >> 56) as u8
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }

    /// Where in something so long.
    pub fn place(&mut self, len: usize) -> usize {
        self.roll(len as u64) as usize
    }

    /// Up to `times` bytes become others.
    pub fn damage(&mut self, bytes: &mut [u8], times: usize) {
        for _ in 0..times {
            let at = self.place(bytes.len());
            bytes[at] = self.byte();
        }
    }

    fn throw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

#[test]
fn the_same_seed_throws_the_same_and_every_side_comes_up() {
    let throws = |seed| -> Vec<u64> {
        let mut dice = Dice::new(seed);
        (0..1000).map(|_| dice.roll(6)).collect()
    };
    assert_eq!(throws(7), throws(7));
    assert_ne!(throws(7), throws(8));
    for seed in [0, 7] {
        assert!((0..6).all(|side| throws(seed).contains(&side)), "seed {seed}");
    }
}
