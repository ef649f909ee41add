//! Durations as Go writes them, the form of every duration in a Kubernetes document.

/// Nanoseconds of a duration like `1m30s`, `-1.5h` or `100ms`, by the rules of Go's
/// `time.ParseDuration`: absent where Go refuses it or it exceeds 64 bits.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let (negative, magnitude) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if magnitude == "0" {
        return Some(0);
    }
    let nanoseconds = sum_of_parts(magnitude)?;
    i64::try_from(if negative { -nanoseconds } else { nanoseconds }).ok()
}

fn sum_of_parts(mut rest: &str) -> Option<i128> {
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, from_unit) = rest.split_at(unit_at);
        let next_at =
            from_unit.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(from_unit.len());
        let (unit, next) = from_unit.split_at(next_at);
        total = total.checked_add(part(number, nanoseconds_per(unit)?)?)?;
        rest = next;
    }
    Some(total)
}

/// `number` times `unit`, what is below a nanosecond cut off.
fn part(number: &str, unit: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    // Digits beyond the eighteenth weigh less than a nanosecond, even of hours.
    let fraction = &fraction[..fraction.len().min(18)];
    let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
    Some(digits(whole)?.checked_mul(unit)? + digits(fraction)? * unit / scale)
}

fn digits(text: &str) -> Option<i128> {
    if text.is_empty() { Some(0) } else { text.parse::<u64>().ok().map(i128::from) }
}

fn nanoseconds_per(unit: &str) -> Option<i128> {
    Some(match unit {
        "ns" => 1,
        // U+00B5 micro sign and U+03BC Greek mu, both taken by Go.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    /// The table of Go's own time_test.go, shortened.
    #[test]
    fn reads_what_go_reads() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("5s", 5_000_000_000),
            ("-5s", -5_000_000_000),
            ("+5s", 5_000_000_000),
            ("-0", 0),
            ("5.0s", 5_000_000_000),
            ("5.6s", 5_600_000_000),
            ("5.s", 5_000_000_000),
            (".5s", 500_000_000),
            ("1.004s", 1_004_000_000),
            ("100.00100s", 100_001_000_000),
            ("10ns", 10),
            ("11us", 11_000),
            ("12\u{b5}s", 12_000),
            ("12\u{3bc}s", 12_000),
            ("13ms", 13_000_000),
            ("3h30m", 12_600_000_000_000),
            ("10.5s4m", 250_500_000_000),
            ("-2m3.4s", -123_400_000_000),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
            ("0.100000000000000000000h", 360_000_000_000),
        ] {
            assert_eq!(parse(text), Some(nanoseconds), "{text}");
        }
    }

    #[test]
    fn refuses_what_go_refuses() {
        for text in [
            "",
            "3",
            "-",
            "s",
            ".",
            "-.",
            ".s",
            "+.s",
            "1d",
            "1 s",
            " 1s",
            "1s ",
            "1S",
            "--1s",
            "1.2.3s",
            "9223372036854775808ns",
            "9223372036854775.808us",
            "3000000h",
            "1e3s",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
