//! The date, for what expires after days. Everything shorter is timed by a clock that never jumps.
//!
//! The system's date can be set, by hand or by a time server; then what is young looks old. So a date that has
//! jumped is not believed at once: whoever set it by mistake has an hour to set it right again.

use std::time::{Duration, Instant};

use tracing::warn;

use crate::admission::deadlock::unix_now;

/// Seconds by which the date may run ahead of the clock that never jumps, or behind it, from one look to the next.
const SLACK: u64 = 60;
/// How long a date that has jumped is not believed.
const DOUBT: Duration = Duration::from_secs(3600);

/// The date, as far as it can be believed.
#[derive(Debug)]
pub(super) struct Calendar {
    /// At the last look: the date, and the clock that never jumps.
    last: (u64, Instant),
    doubted_until: Option<Instant>,
}

impl Calendar {
    /// The date is believed now.
    pub(super) fn new() -> Calendar {
        Calendar { last: (unix_now(), Instant::now()), doubted_until: None }
    }

    /// Seconds since 1970; `None`: the date has jumped of late.
    pub(super) fn date(&mut self) -> Option<u64> {
        self.at(unix_now(), Instant::now())
    }

    fn at(&mut self, date: u64, clock: Instant) -> Option<u64> {
        let (last, then) = self.last;
        let expected = last + (clock - then).as_secs();
        if date.abs_diff(expected) > SLACK {
            warn!(from = expected, to = date, "the system's date has jumped: for an hour nothing expires");
            self.doubted_until = Some(clock + DOUBT);
        }
        self.last = (date, clock);
        Some(date).filter(|_| self.doubted_until.is_none_or(|until| clock >= until))
    }
}

#[cfg(test)]
mod tests {
    use super::{Calendar, DOUBT};
    use std::time::{Duration, Instant};

    const DAY: u64 = 86_400;

    #[test]
    fn a_date_that_jumps_is_not_believed_for_an_hour() {
        let start = Instant::now();
        let mut calendar = Calendar { last: (1_000_000, start), doubted_until: None };
        let mut look = |seconds: u64, jump: u64| {
            let date = 1_000_000 + seconds + jump;
            calendar.at(date, start + Duration::from_secs(seconds)).map(|date| date - 1_000_000)
        };
        assert_eq!(look(0, 0), Some(0));
        assert_eq!(look(2, 0), Some(2));
        // A time server corrects it by some seconds.
        assert_eq!(look(4, 30), Some(34));
        assert_eq!(look(6, 40 * DAY), None);
        assert_eq!(look(8, 40 * DAY), None);
        // Back again: a jump, too.
        assert_eq!(look(10, 0), None);
        assert_eq!(look(9 + DOUBT.as_secs(), 0), None);
        assert_eq!(look(10 + DOUBT.as_secs(), 0), Some(10 + DOUBT.as_secs()));
    }
}
