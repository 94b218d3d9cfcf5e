//! A date in words, for templates that tell the model what day it is: the part of `strftime` that they use, in UTC.

use minijinja::{Error, ErrorKind};

const DAY_S: u64 = 86_400;
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// From the first of January 1970 on.
const WEEKDAYS: [&str; 7] = [
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
];
/// Seconds since 1970 that are taken at most: the end of the year 9999.
const NOW_S_MAX: u64 = 253_402_300_799;

/// `now_s` seconds after 1970 began, as `pattern` says.
pub(super) fn format(now_s: u64, pattern: &str) -> Result<String, Error> {
    let now_s = now_s.min(NOW_S_MAX);
    let (year, month, day) = date_of(now_s / DAY_S);
    let month_name = MONTHS[month - 1];
    let weekday = WEEKDAYS[(now_s / DAY_S % 7) as usize];
    let (hour, minute, second) = (now_s / 3600 % 24, now_s / 60 % 60, now_s % 60);
    let mut text = String::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            text.push(character);
            continue;
        }
        match characters.next() {
            Some('Y') => text.push_str(&format!("{year:04}")),
            Some('y') => text.push_str(&format!("{:02}", year % 100)),
            Some('m') => text.push_str(&format!("{month:02}")),
            Some('d') => text.push_str(&format!("{day:02}")),
            Some('B') => text.push_str(month_name),
            Some('b') => text.push_str(&month_name[..3]),
            Some('A') => text.push_str(weekday),
            Some('a') => text.push_str(&weekday[..3]),
            Some('H') => text.push_str(&format!("{hour:02}")),
            Some('M') => text.push_str(&format!("{minute:02}")),
            Some('S') => text.push_str(&format!("{second:02}")),
            Some('%') => text.push('%'),
            other => {
                let found: String = other.into_iter().collect();
                let message = format!("strftime_now does not know %{found}");
                return Err(Error::new(ErrorKind::InvalidOperation, message));
            }
        }
    }
    Ok(text)
}

/// Year, month and day, both from 1, of a day counted from the first of January 1970.
fn date_of(mut day: u64) -> (u64, usize, u64) {
    let mut year = 1970;
    while day >= days_of_year(year) {
        day -= days_of_year(year);
        year += 1;
    }
    let mut month = 0;
    while day >= days_of_month(year, month) {
        day -= days_of_month(year, month);
        month += 1;
    }
    (year, month + 1, day + 1)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of_year(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

/// `month` counts from 0.
fn days_of_month(year: u64, month: usize) -> u64 {
    match month {
        1 if is_leap(year) => 29,
        1 => 28,
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(now_s: u64, pattern: &str, text: &str) {
        assert_eq!(format(now_s, pattern).unwrap(), text);
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        check(0, "%A %d %B %Y", "Thursday 01 January 1970");
        check(951_782_399, "%d %b %Y %H:%M:%S", "28 Feb 2000 23:59:59");
        check(951_782_400, "%Y-%m-%d %a", "2000-02-29 Tue");
        check(1_721_952_000, "%d %b %Y", "26 Jul 2024");
        check(4_107_542_400, "%y/%m/%d 100%%", "00/03/01 100%");
        check(u64::MAX, "%Y-%m-%d", "9999-12-31");
        assert!(format(0, "%Q").is_err());
        assert!(format(0, "%").is_err());
    }
}
