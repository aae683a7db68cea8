//! "Did you mean": the known word nearest to one that is not known.

/// How alike two words must be (Jaro-Winkler, 0 to 1) for one to be offered for the other: below this the
/// suggestions look like guesses.
const ALIKE_MIN: f64 = 0.85;

/// The word of `known` that `word` was probably meant to be. Case and underscores do not count, so that
/// camelCase finds its snake_case.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| -> String {
        text.chars().take(64).filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let word = plain(word);
    known
        .into_iter()
        .map(|candidate| (alike(&word, &plain(candidate)), candidate))
        .filter(|(alike, _)| *alike >= ALIKE_MIN)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, candidate)| candidate)
}

/// How alike two words are, 0 to 1. Short words are judged by their typing errors: one is little enough.
fn alike(left: &str, right: &str) -> f64 {
    let one_error = left.len().min(right.len()) >= 3 && strsim::damerau_levenshtein(left, right) <= 1;
    let alike = strsim::jaro_winkler(left, right);
    if one_error { alike.max(ALIKE_MIN) } else { alike }
}

/// What to say of a field that does not exist.
pub(super) fn unknown_field(field: &str, known: &[&str]) -> String {
    match nearest(field, known.iter().copied()) {
        Some(meant) => format!("unknown field; did you mean `{meant}`?"),
        None => format!("unknown field; the fields here are {}", listed(known)),
    }
}

/// What to say of a word that may not stand there.
pub(super) fn unknown_word(word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(meant) => format!("unknown value; did you mean `{meant}`?"),
        None => format!("unknown value; use one of {}", listed(known)),
    }
}

fn listed(known: &[&str]) -> String {
    let mut known: Vec<String> = known.iter().map(|word| format!("`{word}`")).collect();
    known.sort_unstable();
    known.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let known = ["max_attempts", "restart_policy", "image", "env", "attempt_timeout"];
        let table = [
            ("maxAttempts", Some("max_attempts")),
            ("max_attempt", Some("max_attempts")),
            ("restartPolicy", Some("restart_policy")),
            ("imgae", Some("image")),
            ("envs", Some("env")),
            ("emv", Some("env")),
            ("volumes", None),
            ("", None),
        ];
        for (word, meant) in table {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
    }
}
