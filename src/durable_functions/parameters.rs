//! Reading query parameters as the extension does: names without regard to case, unknown ones ignored.

use std::time::Duration;

use dogwatch_actors::clock::Timestamp;
use url::form_urlencoded;

use super::answer::Refusal;
use crate::limits::QUERY_BYTES_MAX;

/// The parameters of a request.
#[derive(Debug)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn read(query: &str) -> Result<Self, Refusal> {
        if query.len() > QUERY_BYTES_MAX {
            return Err(Refusal::incorrect(format_args!("the query is longer than {QUERY_BYTES_MAX} bytes")));
        }
        let pairs = form_urlencoded::parse(query.as_bytes());
        Ok(Self(pairs.map(|(name, value)| (name.to_ascii_lowercase(), value.into_owned())).collect()))
    }

    /// Every value of a parameter, also where several are in one, with commas.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let name = name.to_ascii_lowercase();
        let values = self.0.iter().filter(move |(known, _)| *known == name);
        values.flat_map(|(_, value)| value.split(',')).map(str::trim).filter(|value| !value.is_empty())
    }

    /// The text of a parameter.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let name = name.to_ascii_lowercase();
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Yes or no. Clients are known that send `false` with a space behind it.
    pub(super) fn flag(&self, name: &str, default: bool) -> Result<bool, Refusal> {
        let Some(text) = self.text(name) else { return Ok(default) };
        let text = text.trim().to_ascii_lowercase();
        text.parse().map_err(|_| Refusal::incorrect(format_args!("`{name}` is true or false")))
    }

    /// Seconds.
    pub(super) fn seconds(&self, name: &str) -> Result<Option<Duration>, Refusal> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let seconds = text.trim().parse::<f64>().ok().filter(|seconds| (0.0..=86_400.0).contains(seconds));
        let wrong = || Refusal::incorrect(format_args!("`{name}` is a number of seconds"));
        seconds.map(Duration::from_secs_f64).map(Some).ok_or_else(wrong)
    }

    /// A number.
    pub(super) fn number(&self, name: &str) -> Result<Option<usize>, Refusal> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let wrong = |_| Refusal::incorrect(format_args!("`{name}` is a number"));
        text.trim().parse().map(Some).map_err(wrong)
    }

    /// An ISO 8601 time; without a zone it is UTC, without a time it is midnight.
    pub(super) fn time(&self, name: &str) -> Result<Option<Timestamp>, Refusal> {
        let Some(text) = self.text(name) else { return Ok(None) };
        // A plus that was not encoded has become a space.
        let text = text.trim().replace(' ', "+");
        let forms = [text.clone(), format!("{text}Z"), format!("{text}T00:00:00Z")];
        let parsed = forms.iter().find_map(|form| form.parse().ok());
        parsed.map(Some).ok_or_else(|| Refusal::incorrect(format_args!("`{name}` is no ISO 8601 time")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_existing_clients_send_is_understood() {
        let read = |query: &str| Parameters::read(query).unwrap();
        assert!(!read("showInput=false%20").flag("showInput", true).unwrap());
        assert!(read("SHOWINPUT=True").flag("showInput", false).unwrap());
        assert!(read("").flag("showInput", true).unwrap());
        assert!(read("showInput=maybe").flag("showInput", true).is_err());
        let statuses = read("runtimeStatus=Running,Failed&runtimeStatus=Pending");
        assert_eq!(statuses.all("runtimeStatus").collect::<Vec<_>>(), ["Running", "Failed", "Pending"]);
        for text in ["2026-11-21T00:00:00Z", "2026-11-21", "2026-11-21T00:00:00", "2026-11-21T01:00:00+01:00"]
        {
            let query = format!("from={text}");
            let time = read(&query).time("from").unwrap().unwrap();
            assert_eq!(time.to_string(), "2026-11-21T00:00:00.000Z", "{text}");
        }
        assert!(read("from=yesterday").time("from").is_err());
        assert!(read("timeout=-1").seconds("timeout").is_err());
    }
}
