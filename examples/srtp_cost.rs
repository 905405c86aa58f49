//! Encrypts so many packets and ends: what a counter of instructions is wrapped around (docs/design-srtp.md).
//!
//! `srtp_cost cm|gcm PACKETS`: the count for twice the packets less that for once is the packets' own, without the start's.

use rtcam::media::srtp::SrtpProfile;
use rtcam::output::webrtc::Sealing;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [profile, packets] = arguments.as_slice() else { return eprintln!("srtp_cost cm|gcm PACKETS") };
    let profile = if profile == "gcm" { SrtpProfile::Gcm } else { SrtpProfile::Cm };
    let packets = packets.parse().expect("a number of packets");
    Sealing::new(profile).expect("both profiles are built in").seal(packets);
    println!("{} {packets}", profile.name());
}
