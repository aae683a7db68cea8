//! What a spec says of files: shapes only; what is accepted is decided in `job/validate/files.rs`. Pure.

use std::fmt;
use std::str::FromStr as _;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::id::JobId;

/// The mode of an input that names none: everybody may read it.
const MODE_DEFAULT: u32 = 0o644;

/// All that a job says of files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Files {
    /// What is placed before the start.
    pub inputs: Vec<Input>,
    /// What is collected after the exit.
    pub outputs: Vec<Output>,
}

impl Files {
    /// Whether there is nothing to do.
    pub const fn is_empty(&self) -> bool {
        self.inputs.is_empty() && self.outputs.is_empty()
    }
}

/// A file that is placed before an attempt starts. It has exactly one of `content`, `content_base64`, `url` and
/// `artifact`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Input {
    /// Where it is placed. In a container absolute, or relative to the directory it starts in; for a process relative
    /// to the directory of its attempt.
    pub path: String,
    /// The content itself, a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// The content itself, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_base64: Option<String>,
    /// An http or https address that has it. It may go where webhooks may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// An artifact of another job, `<job>/<name>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact: Option<String>,
    /// Its mode, in octal digits; default: `0644`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// The SHA-256 that it must have, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// Where the content of an input comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source<'a> {
    /// It stands in the spec.
    Text(&'a str),
    /// It stands in the spec, in base64.
    Base64(&'a str),
    /// From this address.
    Url(&'a str),
    /// From what another job left: its id and the artifact's name.
    Artifact(JobId, &'a str),
}

impl Input {
    /// Where it comes from; what is wrong when that is not said once and clearly.
    pub fn source(&self) -> Result<Source<'_>, &'static str> {
        const ONE: &str = "needs exactly one of `content`, `content_base64`, `url` and `artifact`";
        let found = (&self.content, &self.content_base64, &self.url, &self.artifact);
        match found {
            (Some(text), None, None, None) => Ok(Source::Text(text)),
            (None, Some(text), None, None) => Ok(Source::Base64(text)),
            (None, None, Some(url), None) => Ok(Source::Url(url)),
            (None, None, None, Some(artifact)) => {
                let (job, name) = artifact.split_once('/').unwrap_or((artifact, ""));
                let job = JobId::from_str(job).ok().filter(|_| !name.is_empty());
                let job = job.ok_or("names no artifact; write it like `<job id>/<name>`")?;
                Ok(Source::Artifact(job, name))
            }
            _ => Err(ONE),
        }
    }

    /// Its mode; `None` when it is not one.
    pub fn mode(&self) -> Option<u32> {
        let Some(text) = &self.mode else { return Some(MODE_DEFAULT) };
        let octal = (3..=4).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        // Without the bits that lend a user or a group: a file of ours must not be more than a file.
        u32::from_str_radix(text, 8).ok().filter(|mode| octal && *mode <= 0o777)
    }
}

/// What is collected after an attempt has ended. May be written as the path alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, ToSchema)]
#[serde(default)]
pub struct Output {
    /// A file, a directory with all that is in it, or a pattern: `*` and `?` stand for characters within one name, `**`
    /// for any number of directories.
    pub path: String,
    /// What it is called; default: its path without the first `/`. Of a directory or a pattern: what stands before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// That there is none is no fault of an attempt that succeeded.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

impl<'de> Deserialize<'de> for Output {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            path: String,
            #[serde(default)]
            name: Option<String>,
            #[serde(default)]
            optional: bool,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Output;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path, or an object with `path`")
            }

            fn visit_str<E>(self, path: &str) -> Result<Output, E> {
                Ok(Output { path: path.to_owned(), ..Output::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Output, A::Error> {
                let Fields { path, name, optional } = Fields::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Output { path, name, optional })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_a_path_or_an_object_and_reads_back() {
        let read: Vec<Output> =
            serde_json::from_str(r#"["/out/a", {"path": "b/*", "name": "c", "optional": true}]"#).unwrap();
        assert_eq!(read[0], Output { path: "/out/a".into(), ..Output::default() });
        assert_eq!(read[1], Output { path: "b/*".into(), name: Some("c".into()), optional: true });
        let again: Vec<Output> = serde_json::from_str(&serde_json::to_string(&read).unwrap()).unwrap();
        assert_eq!(again, read);
        for bad in [r#"[1]"#, r#"[{"name": "x"}]"#, r#"[{"path": "x", "pth": 1}]"#] {
            assert!(serde_json::from_str::<Vec<Output>>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_input_says_once_where_it_comes_from() {
        let text = |text: &str| Some(text.to_owned());
        let job = "01939f6e-2d5c-7a00-8000-0123456789ab";
        let one = Input { content: text(""), ..Input::default() };
        assert_eq!(one.source(), Ok(Source::Text("")));
        assert!(Input { url: text("http://x"), ..one }.source().is_err());
        assert!(Input::default().source().is_err());
        let artifact = |from: String| Input { artifact: Some(from), ..Input::default() };
        let good = artifact(format!("{job}/a/b"));
        assert_eq!(good.source(), Ok(Source::Artifact(job.parse().unwrap(), "a/b")));
        for bad in [job.to_owned(), format!("{job}/"), "x/a".to_owned()] {
            assert!(artifact(bad.clone()).source().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_mode_is_three_or_four_octal_digits_without_the_lending_bits() {
        let mode = |text: &str| Input { mode: Some(text.to_owned()), ..Input::default() }.mode();
        assert_eq!(
            (mode("0755"), mode("600"), Input::default().mode()),
            (Some(0o755), Some(0o600), Some(0o644))
        );
        for bad in ["", "7", "0o755", "4755", "888", "+75", "rwx"] {
            assert_eq!(mode(bad), None, "{bad}");
        }
    }
}
