//! Times and spans as people read them.

use std::time::Duration;

use dogwatch_actors::clock::Timestamp;

/// A span in its one or two largest units: `42s`, `3m10s`, `5h`, `12d`.
pub(super) fn span(span: Duration) -> String {
    let secs = span.as_secs();
    let pair = |big: u64, big_unit: &str, small: u64, small_unit: &str| {
        if small == 0 { format!("{big}{big_unit}") } else { format!("{big}{big_unit}{small}{small_unit}") }
    };
    match secs {
        0..60 => format!("{secs}s"),
        60..3_600 => pair(secs / 60, "m", secs % 60, "s"),
        3_600..86_400 => pair(secs / 3_600, "h", secs % 3_600 / 60, "m"),
        _ => pair(secs / 86_400, "d", secs % 86_400 / 3_600, "h"),
    }
}

/// A moment seen from `now`: `3m10s ago`, `in 5s`.
pub(super) fn relative(at: Timestamp, now: Timestamp) -> String {
    if at > now {
        // A moment less than a second ahead is still ahead.
        format!("in {}", span(at.since(now).max(Duration::from_secs(1))))
    } else {
        format!("{} ago", span(now.since(at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_at_most_two_units() {
        for (secs, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (190, "3m10s"),
            (3_600, "1h"),
            (90_000, "1d1h"),
            (864_000, "10d"),
        ] {
            assert_eq!(span(Duration::from_secs(secs)), text);
        }
        let at = Timestamp::from_millis;
        assert_eq!(relative(at(1_000), at(6_000)), "5s ago");
        assert_eq!(relative(at(6_000), at(1_000)), "in 5s");
        assert_eq!(relative(at(1_200), at(1_000)), "in 1s");
    }
}
