//! Reading query parameters: every unknown, repeated or malformed one is refused, with a suggestion.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use actix_web::HttpRequest;
use dogwatch_actors::shape;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::form_urlencoded;

use super::problem::{Code, Problem};
use crate::limits::{QUERY_BYTES_MAX, QUERY_LABELS_MAX};

/// The parameters of one request.
#[derive(Debug)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// The parameters of `req`, all of which must be in `known`.
    pub(crate) fn read(req: &HttpRequest, known: &[&str]) -> Result<Self, Problem> {
        Self::parse(req.query_string(), known)
    }

    /// No parameters at all.
    pub(crate) fn none(req: &HttpRequest) -> Result<(), Problem> {
        Self::read(req, &[]).map(|_| ())
    }

    fn parse(text: &str, known: &[&str]) -> Result<Self, Problem> {
        if text.len() > QUERY_BYTES_MAX {
            return Err(Problem::invalid_request(format!(
                "the query is longer than {QUERY_BYTES_MAX} bytes"
            )));
        }
        let pairs: Vec<(String, String)> = form_urlencoded::parse(text.as_bytes()).into_owned().collect();
        for (name, _) in &pairs {
            if !known.contains(&name.as_str()) {
                return Err(unknown(name, known));
            }
        }
        Ok(Self(pairs))
    }

    /// Every value of a parameter that may be repeated.
    pub(crate) fn all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The text of a parameter that may be given once.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self.all(name);
        let first = values.next();
        match values.next() {
            None => Ok(first),
            Some(_) => Err(invalid(name, &"it is given more than once; give it once")),
        }
    }

    /// A parameter that reads as a `T`.
    pub(crate) fn one<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, Problem> {
        self.text(name)?.map(|text| text.parse().map_err(|error| invalid(name, &error))).transpose()
    }

    /// The values of a parameter that is written as `key:value` and may be repeated.
    pub(crate) fn pairs(&self, name: &str) -> Result<BTreeMap<String, String>, Problem> {
        let mut pairs = BTreeMap::new();
        for text in self.all(name) {
            let pair = text.split_once(':').filter(|(key, _)| !key.is_empty());
            let (key, value) = pair.ok_or_else(|| invalid(name, &"write it as `key:value`"))?;
            let before = pairs.insert(key.to_owned(), value.to_owned());
            if before.is_some_and(|before| before != value) {
                return Err(invalid(name, &"one key is asked for with two values, which nothing has"));
            }
        }
        if pairs.len() > QUERY_LABELS_MAX {
            return Err(invalid(name, &format_args!("at most {QUERY_LABELS_MAX} of them can be asked for")));
        }
        Ok(pairs)
    }

    /// A number within `bounds`, or `default`.
    pub(crate) fn number(
        &self,
        name: &str,
        bounds: std::ops::RangeInclusive<usize>,
        default: usize,
    ) -> Result<usize, Problem> {
        let Some(text) = self.text(name)? else { return Ok(default) };
        text.parse().ok().filter(|number| bounds.contains(number)).ok_or_else(|| {
            invalid(name, &format_args!("expected a number between {} and {}", bounds.start(), bounds.end()))
        })
    }
}

/// One word of a closed list, as JSON writes it.
pub(crate) fn word<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, Problem> {
    shape::read(&Value::from(text), |_, _| None).map_err(|errors| {
        invalid(name, &errors.first().map_or("unknown value", |error| error.message.as_str()))
    })
}

/// A parameter that is not what it should be.
pub(crate) fn invalid(name: &str, why: &dyn Display) -> Problem {
    Problem::new(Code::InvalidRequest, format!("the query parameter `{name}` is not valid: {why}"))
}

fn unknown(name: &str, known: &[&str]) -> Problem {
    let shown: String = name.chars().take(64).collect();
    let advice = match (shape::nearest(name, known.iter().copied()), known) {
        (Some(meant), _) => format!("did you mean `{meant}`?"),
        (None, []) => "this route takes none".to_owned(),
        (None, known) => format!("this route takes {}", known.join(", ")),
    };
    Problem::invalid_request(format!("there is no query parameter `{shown}` here; {advice}"))
}

#[cfg(test)]
mod tests {
    use dogwatch_actors::job::view::JobState;

    use super::*;

    const KNOWN: [&str; 3] = ["limit", "label", "wait"];

    fn detail<T>(result: Result<T, Problem>) -> String {
        result.err().map(|problem| problem.document().detail.clone()).unwrap_or_default()
    }

    #[test]
    fn what_is_not_known_is_refused_with_a_suggestion() {
        assert!(detail(Query::parse("limt=3", &KNOWN)).contains("did you mean `limit`"));
        assert!(detail(Query::parse("zzz", &KNOWN)).contains("limit, label, wait"));
        assert!(detail(Query::parse("x=1", &[])).contains("takes none"));
        assert!(detail(Query::parse(&"x".repeat(9000), &KNOWN)).contains("longer than"));
        assert!(Query::parse("", &[]).is_ok());
    }

    #[test]
    fn values_are_read_strictly() {
        let query = Query::parse("limit=5&label=a%3Ab&label=c:d&wait=1&wait=2", &KNOWN).unwrap();
        assert_eq!(query.number("limit", 1..=10, 3), Ok(5));
        assert!(detail(query.number("limit", 1..=4, 3)).contains("between 1 and 4"));
        assert_eq!(query.all("label").collect::<Vec<_>>(), ["a:b", "c:d"]);
        assert!(detail(query.text("wait")).contains("more than once"));
        let query = Query::parse("limit=x", &KNOWN).unwrap();
        assert!(detail(query.one::<u64>("limit")).contains("`limit`"));
        assert_eq!(query.number("wait", 1..=4, 3), Ok(3));
    }

    #[test]
    fn words_are_those_of_the_json() {
        assert_eq!(word("state", "backing_off"), Ok(JobState::BackingOff));
        assert!(detail(word::<JobState>("state", "runing")).contains("did you mean `running`"));
    }
}
