//! Days and moments of formulas: the proleptic Gregorian calendar, as the server counts.

use super::value::Value;

/// Seconds of a day.
const DAY: i64 = 86_400;

/// Units of INTERVAL that are always as long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// `SECOND`
    Second,
    /// `MINUTE`
    Minute,
    /// `HOUR`
    Hour,
    /// `DAY`
    Day,
    /// `WEEK`
    Week,
}

impl Unit {
    fn seconds(self) -> i64 {
        match self {
            Unit::Second => 1,
            Unit::Minute => 60,
            Unit::Hour => 3_600,
            Unit::Day => DAY,
            Unit::Week => 7 * DAY,
        }
    }
}

/// A moment, or its day, in the form that columns compare in.
pub(super) fn moment(seconds: i64, with_time: bool) -> Value<'static> {
    let (year, month, day) = civil(seconds.div_euclid(DAY));
    let date = format!("{year:04}-{month:02}-{day:02}");
    let of_day = seconds.rem_euclid(DAY);
    let time = || format!(" {:02}:{:02}:{:02}", of_day / 3_600, of_day / 60 % 60, of_day % 60);
    Value::Temporal(if with_time { date + &time() } else { date })
}

/// The day of a moment, `2026-11-25 …`.
pub(super) fn date(text: &str) -> Option<Value<'static>> {
    read(text)?;
    Some(Value::Temporal(text.get(..10)?.to_owned()))
}

/// Digits of a moment: those of its year, its month.
pub(super) fn field(text: &str, digits: std::ops::Range<usize>) -> Option<i128> {
    read(text)?;
    text.get(digits)?.parse().ok()
}

/// A moment so many units later or earlier.
pub(super) fn shift(text: &str, count: i128, unit: Unit, later: bool) -> Option<Value<'static>> {
    let (from, with_time) = read(text)?;
    let count = i64::try_from(count).ok()?;
    let by = unit.seconds().checked_mul(if later { count } else { -count })?;
    // A day keeps its form only if whole days are added.
    let to = from.checked_add(by)?;
    let with_time = with_time || by % DAY != 0;
    (0..253_402_300_800).contains(&to).then(|| moment(to, with_time))
}

/// Seconds since 1970 of `YYYY-MM-DD[ hh:mm:ss]`, and whether it has a time.
fn read(text: &str) -> Option<(i64, bool)> {
    let number = |digits: std::ops::Range<usize>| -> Option<i64> {
        let digits = text.get(digits)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let bytes = text.as_bytes();
    let with_time = match bytes.len() {
        10 => false,
        19 if bytes[10] == b' ' && bytes[13] == b':' && bytes[16] == b':' => true,
        _ => return None,
    };
    if bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let mut seconds = days(year, month, day) * DAY;
    if with_time {
        seconds += number(11..13)? * 3_600 + number(14..16)? * 60 + number(17..19)?;
    }
    Some((seconds, with_time))
}

/// Days since 1970 of a date; the year begins in March, so that the leap day is its last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date of a day since 1970.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calendar_goes_both_ways() {
        for day in (-200_000..200_000).step_by(17) {
            let (year, month, of_month) = civil(day);
            assert_eq!(days(year, month, of_month), day);
        }
        assert_eq!(moment(0, true), Value::Temporal("1970-01-01 00:00:00".to_owned()));
        assert_eq!(moment(951_827_696, true), Value::Temporal("2000-02-29 12:34:56".to_owned()));
    }

    #[test]
    fn intervals() {
        let shifted = |text: &str, n, unit| shift(text, n, unit, true);
        let is = |text: &str| Some(Value::Temporal(text.to_owned()));
        assert_eq!(shifted("2024-02-28", 1, Unit::Day), is("2024-02-29"));
        assert_eq!(shifted("2024-02-28", 1, Unit::Hour), is("2024-02-28 01:00:00"));
        assert_eq!(shift("2024-01-01 00:00:00", 1, Unit::Second, false), is("2023-12-31 23:59:59"));
        assert_eq!(shifted("24-2-28", 1, Unit::Day), None);
    }
}
