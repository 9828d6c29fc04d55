//! Calendar arithmetic on plain integers: days since 1970-01-01 and back. Proleptic Gregorian, any year.

/// Seconds of a day.
pub(crate) const DAY_SECS: i64 = 86_400;

/// A local date and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    /// 1–12.
    pub(crate) month: i64,
    /// 1–31.
    pub(crate) day: i64,
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    pub(crate) second: i64,
}

impl Civil {
    /// The fields of a local time, given as seconds since 1970-01-01T00:00:00 of the same clock.
    pub(crate) fn of(local: i64) -> Self {
        let days = local.div_euclid(DAY_SECS);
        let secs = local.rem_euclid(DAY_SECS);
        let (year, month, day) = date_of(days);
        Self {
            year,
            month,
            day,
            hour: secs / 3600,
            minute: secs / 60 % 60,
            second: secs % 60,
        }
    }

    /// Seconds since 1970-01-01T00:00:00 of the same clock. Fields may overflow: month 13 is January of the next year, day
    /// 0 the last of the month before.
    pub(crate) fn local(self) -> i64 {
        let year = self.year + (self.month - 1).div_euclid(12);
        let month = (self.month - 1).rem_euclid(12) + 1;
        let days = days_of(year, month, 1) + self.day - 1;
        days * DAY_SECS + self.hour * 3600 + self.minute * 60 + self.second
    }

    /// 0 is Sunday.
    pub(crate) fn weekday(self) -> i64 {
        weekday_of(days_of(self.year, self.month, self.day))
    }
}

/// The weekday of a day; 0 is Sunday.
pub(crate) fn weekday_of(days: i64) -> i64 {
    // 1970-01-01 was a Thursday.
    (days + 4).rem_euclid(7)
}

/// Days from 1970-01-01 to a date.
pub(crate) fn days_of(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March here, so that the leap day is the last of a year.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The date that lies so many days from 1970-01-01.
pub(crate) fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// How many days a month has.
pub(crate) fn month_days(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_days_agree_over_two_eras() {
        for days in -300_000..300_000 {
            let (year, month, day) = date_of(days);
            assert_eq!(days_of(year, month, day), days);
            assert!((1..=month_days(year, month)).contains(&day));
        }
        assert_eq!(date_of(0), (1970, 1, 1));
        assert_eq!(weekday_of(0), 4);
    }

    #[test]
    fn overflowing_fields_move_on() {
        let overflowing = Civil {
            year: 2023,
            month: 13,
            day: 0,
            hour: 24,
            minute: 0,
            second: 0,
        };
        let plain = Civil {
            year: 2024,
            month: 1,
            day: 1,
            hour: 0,
            minute: 0,
            second: 0,
        };
        assert_eq!(overflowing.local(), plain.local());
    }
}
