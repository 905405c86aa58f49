//! The WebRTC output: all viewers over one UDP socket, driven by one media loop on the sans-IO core `rtc`.
