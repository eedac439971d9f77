//! RFC 3339 timestamps to microseconds since 1970, and back.
//!
//! The calendar arithmetic is that of the proleptic Gregorian calendar, with years counted from March so that
//! the leap day comes last (Howard Hinnant, "chrono-compatible low-level date algorithms").

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
const DAYS_PER_ERA: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH_SHIFT_DAYS: i64 = 719_468;
/// 0000-01-01 and 10000-01-01 in seconds: what four digits of a year can write.
const WRITABLE_SECONDS: std::ops::Range<i64> = -62_167_219_200..253_402_300_800;

/// Parses `2026-01-31T08:05:00.25+01:00`, or a date alone, which means its first moment in UTC.
///
/// Digits beyond the microsecond are cut off. A leap second counts as the second after it.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let (year, month, day) = (digits(bytes, 0, 4)?, digits(bytes, 5, 2)?, digits(bytes, 8, 2)?);
    let well_formed = bytes.get(4) == Some(&b'-') && bytes.get(7) == Some(&b'-');
    let in_range = (1..=12).contains(&month) && day >= 1 && day <= days_in_month(year, month);
    if !well_formed || !in_range {
        return None;
    }
    let midnight = days_from_civil(year, month, day) * SECONDS_PER_DAY;
    if bytes.len() == 10 {
        return Some(midnight * MICROS_PER_SECOND);
    }
    let (seconds, micros, rest) = parse_time(&bytes[10..])?;
    let offset = parse_offset(rest)?;
    let total = midnight + seconds - offset;
    WRITABLE_SECONDS.contains(&total).then_some(total * MICROS_PER_SECOND + micros)
}

/// Writes microseconds since 1970 as RFC 3339 in UTC, with a fraction only where there is one.
pub fn format_rfc3339(micros: i64) -> String {
    let seconds = micros.div_euclid(MICROS_PER_SECOND);
    let fraction = micros.rem_euclid(MICROS_PER_SECOND);
    let (year, month, day) = civil_from_days(seconds.div_euclid(SECONDS_PER_DAY));
    let second = seconds.rem_euclid(SECONDS_PER_DAY);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    let whole = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if fraction == 0 { format!("{whole}Z") } else { format!("{whole}.{fraction:06}Z") }
}

/// Seconds of the day, microseconds, and what follows; `bytes` begins with the `T`.
fn parse_time(bytes: &[u8]) -> Option<(i64, i64, &[u8])> {
    let separators =
        matches!(bytes.first()?, b'T' | b't' | b' ') && bytes.get(3) == Some(&b':') && bytes.get(6) == Some(&b':');
    let (hour, minute, second) = (digits(bytes, 1, 2)?, digits(bytes, 4, 2)?, digits(bytes, 7, 2)?);
    if !separators || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let rest = &bytes[9..];
    let (micros, rest) = match rest.first() {
        Some(b'.') => parse_fraction(&rest[1..])?,
        _ => (0, rest),
    };
    Some((hour * 3_600 + minute * 60 + second, micros, rest))
}

fn parse_fraction(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let length = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if length == 0 {
        return None;
    }
    let micros = (0..6).fold(0, |sum, place| {
        let digit = bytes[..length].get(place).map_or(0, |byte| i64::from(byte - b'0'));
        sum * 10 + digit
    });
    Some((micros, &bytes[length..]))
}

/// Seconds east of UTC.
fn parse_offset(bytes: &[u8]) -> Option<i64> {
    match bytes {
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (digits(bytes, 1, 2)?, digits(bytes, 4, 2)?);
            let seconds = hours * 3_600 + minutes * 60;
            let valid = hours <= 23 && minutes <= 59;
            valid.then_some(if *sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

fn digits(bytes: &[u8], start: usize, length: usize) -> Option<i64> {
    let slice = bytes.get(start..start + length)?;
    slice.iter().try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 31,
    }
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * DAYS_PER_ERA + day_of_era - EPOCH_SHIFT_DAYS
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + EPOCH_SHIFT_DAYS;
    let era = shifted.div_euclid(DAYS_PER_ERA);
    let day_of_era = shifted.rem_euclid(DAYS_PER_ERA);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_moments() {
        let cases = [
            ("1970-01-01", 0),
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59.5Z", -500_000),
            ("2000-02-29T12:00:00Z", 951_825_600_000_000),
            ("2026-01-01T02:00:00+02:00", 1_767_225_600_000_000),
            ("2026-01-01t00:00:00.1234567z", 1_767_225_600_123_456),
            ("2025-12-31T19:30:00-04:30", 1_767_225_600_000_000),
        ];
        for (text, micros) in cases {
            assert_eq!(parse_rfc3339(text), Some(micros), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        let cases = [
            "",
            "2026",
            "2026-1-01",
            "2026-13-01",
            "2026-00-10",
            "2026-02-29",
            "1900-02-29",
            "2026-04-31",
            "2026-01-01T",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+2:00",
            "2026-01-01T00:00:00+25:00",
            "2026/01/01",
            "２０２６-01-01",
            "0000-01-01T00:00:00+02:00",
            "9999-12-31T23:59:59-02:00",
        ];
        for text in cases {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn formatting_and_parsing_are_inverse(micros in -62_135_596_800_000_000_i64..253_402_300_800_000_000) {
            prop_assert_eq!(parse_rfc3339(&format_rfc3339(micros)), Some(micros));
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC{0,40}") {
            if let Some(micros) = parse_rfc3339(&text) {
                prop_assert_eq!(parse_rfc3339(&format_rfc3339(micros)), Some(micros));
            }
        }
    }
}
