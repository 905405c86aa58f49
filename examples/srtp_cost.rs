//! Encrypts so many packets with one SRTP profile and ends: what a counter of instructions is wrapped around.
//!
//! `srtp_cost cm|gcm PACKETS [BYTES]`: twice the packets less once the packets is the cost of the packets, without that
//! of the start. How it was measured is in docs/design-srtp.md.

use rtc::srtp::context::Context;
use rtc::srtp::protection_profile::ProtectionProfile;
use std::hint::black_box;

/// A full packet's payload, as in `rtcam bench`.
const PAYLOAD: usize = 1160;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let profile = match arguments.first().map(String::as_str) {
        Some("cm") => ProtectionProfile::Aes128CmHmacSha1_80,
        Some("gcm") => ProtectionProfile::AeadAes128Gcm,
        _ => return eprintln!("srtp_cost cm|gcm PACKETS [BYTES]"),
    };
    let number =
        |at: usize, otherwise: usize| arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    let (packets, payload) = (number(1, 1000), number(2, PAYLOAD));
    let provider = rtc::crypto::default_provider().expect("a provider is built in");
    let (key, salt) = (vec![7; profile.key_len()], vec![9; profile.salt_len()]);
    let mut context =
        Context::new(&key, &salt, profile, None, None, provider.crypto()).expect("the lengths are its own");
    let mut packet = vec![0x55; 12 + payload];
    packet[..12].copy_from_slice(&[0x80, 102, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    let mut bytes = 0;
    for sequence in 0..packets as u32 {
        packet[2..4].copy_from_slice(&(sequence as u16).to_be_bytes());
        bytes += black_box(context.encrypt_rtp(&packet)).expect("a sound packet").len();
    }
    println!("{packets} packets, {bytes} bytes");
}
