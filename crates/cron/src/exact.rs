//! The exact engine: upstream's walk, step for step, its defects included.
//!
//! Where upstream never returns, this says so: each loop of the walk moves time or the walk is given up.
//!
//! Source: `spec/cronjob.md` §2.7, §2.9.

use crate::civil::Civil;
use crate::field::Fields;
use crate::zone::Zone;

/// Steps after which a walk counts as endless. The longest that ends takes 3.2 million: the minutes of six calendar
/// years, for a schedule without minutes.
const STEPS_MAX: u32 = 3_500_000;

/// What upstream's library returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExactNext {
    /// This instant, in seconds since 1970. Not always later than the one asked about.
    At(i64),
    /// Its zero time: nothing found within five years.
    Zero,
    /// Nothing: it loops for ever.
    Hang,
}

/// The walk's state.
struct Walk<'a> {
    zone: &'a Zone,
    at: i64,
    steps: u32,
}

impl Walk<'_> {
    fn civil(&self) -> Civil {
        Civil::of(self.at + self.zone.offset(self.at))
    }

    /// Moves to local fields as Go resolves them: a time that does not exist, or exists twice, by the offset that holds
    /// where the fields read as UTC, corrected once.
    fn set(&mut self, civil: Civil) {
        let local = civil.local();
        let guess = local - self.zone.offset(local);
        self.at = local - self.zone.offset(guess);
    }

    /// Counts a step; false when there were too many.
    fn step(&mut self) -> bool {
        self.steps += 1;
        self.steps <= STEPS_MAX
    }
}

/// The walk from `after` (whole seconds since 1970).
pub(crate) fn next(fields: &Fields, zone: &Zone, after: i64) -> ExactNext {
    let mut walk = Walk {
        zone,
        at: after + 1,
        steps: 0,
    };
    let last_year = walk.civil().year + 5;
    // Set once a field was moved; from then on lower fields are not brought back to their beginning.
    let mut moved = false;
    'wrap: loop {
        let mut now = walk.civil();
        if now.year > last_year {
            return ExactNext::Zero;
        }
        while fields.month & (1 << now.month) == 0 {
            if !walk.step() {
                return ExactNext::Hang;
            }
            if !moved {
                moved = true;
                walk.set(Civil {
                    day: 1,
                    hour: 0,
                    minute: 0,
                    second: 0,
                    ..now
                });
                now = walk.civil();
            }
            walk.set(Civil {
                month: now.month + 1,
                ..now
            });
            now = walk.civil();
            if now.month == 1 {
                continue 'wrap;
            }
        }
        while !fields.matches_day(now.day, now.weekday()) {
            if !walk.step() {
                return ExactNext::Hang;
            }
            if !moved {
                moved = true;
                walk.set(Civil {
                    hour: 0,
                    minute: 0,
                    second: 0,
                    ..now
                });
                now = walk.civil();
            }
            walk.set(Civil {
                day: now.day + 1,
                ..now
            });
            now = walk.civil();
            if now.hour != 0 {
                walk.at += if now.hour > 12 { 24 - now.hour } else { -now.hour } * 3600;
                now = walk.civil();
            }
            if now.day == 1 {
                continue 'wrap;
            }
        }
        while fields.hour & (1 << now.hour) == 0 {
            if !walk.step() {
                return ExactNext::Hang;
            }
            if !moved {
                moved = true;
                walk.set(Civil {
                    minute: 0,
                    second: 0,
                    ..now
                });
            }
            walk.at += 3600;
            now = walk.civil();
            if now.hour == 0 {
                continue 'wrap;
            }
        }
        while fields.minute & (1 << now.minute) == 0 {
            if !walk.step() {
                return ExactNext::Hang;
            }
            if !moved {
                moved = true;
                walk.at -= walk.at.rem_euclid(60);
            }
            walk.at += 60;
            now = walk.civil();
            if now.minute == 0 {
                continue 'wrap;
            }
        }
        while now.second != 0 {
            if !walk.step() {
                return ExactNext::Hang;
            }
            moved = true;
            walk.at += 1;
            now = walk.civil();
            if now.second == 0 {
                continue 'wrap;
            }
        }
        return ExactNext::At(walk.at);
    }
}
