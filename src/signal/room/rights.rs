//! Which message needs which role: the one table of it.
//!
//! Pure. What depends on more than the role (who holds control, who agreed) is judged where the message is handled.

use crate::config::Role;
use crate::signal::room::words::Said;

/// The least role that may say it.
pub fn least_role(said: &Said) -> Role {
    match said {
        Said::Grant { .. }
        | Said::Revoke
        | Said::Role { .. }
        | Said::Kick { .. }
        | Said::Room { .. }
        | Said::Link { .. }
        | Said::Links
        | Said::Unlink { .. }
        | Said::Watch { .. } => Role::Host,
        Said::Request { .. }
        | Said::Release
        | Said::Chat { .. }
        | Said::Set { .. }
        | Said::Call { .. }
        | Said::Accept { .. }
        | Said::Decline { .. }
        | Said::Hangup { .. }
        | Said::Relay { .. }
        | Said::Report(_) => Role::Viewer,
    }
}

/// It goes to everybody or to the disk: nobody may do so all the time.
pub fn is_weighty(said: &Said) -> bool {
    matches!(
        said,
        Said::Request { .. }
            | Said::Grant { .. }
            | Said::Release
            | Said::Revoke
            | Said::Role { .. }
            | Said::Room { .. }
            | Said::Call { .. }
            | Said::Link { .. }
            | Said::Links
            | Said::Unlink { .. }
    )
}

/// Who may change the state: hosts, the holder of control, and operators while nobody holds it.
pub fn may_set(role: Role, holds: bool, is_free: bool) -> bool {
    role == Role::Host || holds || is_free && role == Role::Operator
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_beats_the_role_and_hosts_beat_control() {
        for (role, holds, is_free, may) in [
            (Role::Viewer, false, true, false),
            (Role::Viewer, true, false, true),
            (Role::Operator, false, true, true),
            (Role::Operator, false, false, false),
            (Role::Host, false, false, true),
        ] {
            assert_eq!(may_set(role, holds, is_free), may, "{role:?} {holds} {is_free}");
        }
    }
}
