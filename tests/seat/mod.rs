//! A seat at a stream for tests and benches: its holder sleeps until pictures come.

use rtcam::media::packet::AccessUnit;
use rtcam::stream::{Stream, Subscription, Wake};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

pub struct Seat {
    pub subscription: Box<dyn Subscription>,
    bell: Arc<Bell>,
}

#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Wake for Bell {
    fn wake(&self) {
        *self.rung.lock().unwrap() = true;
        self.changed.notify_all();
    }
}

impl Seat {
    pub fn at(stream: &dyn Stream) -> Seat {
        let bell = Arc::new(Bell::default());
        Seat { subscription: stream.subscribe(bell.clone()), bell }
    }

    /// The next unit; waits for it. Allocates nothing.
    pub fn next(&mut self, patience: Duration) -> Arc<AccessUnit> {
        let started = Instant::now();
        loop {
            if let Some(unit) = self.subscription.take() {
                return unit;
            }
            assert!(started.elapsed() < patience, "no unit came");
            let rung = self.bell.rung.lock().unwrap();
            let waited = self.bell.changed.wait_timeout_while(rung, Duration::from_millis(200), |rung| !*rung);
            *waited.unwrap().0 = false;
        }
    }
}
