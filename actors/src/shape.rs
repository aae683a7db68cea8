//! From a JSON value to a type, naming every problem at once.
//!
//! Finds unknown fields (with a suggestion), missing ones and wrong types, each with a JSON pointer
//! (RFC 6901). It does not judge values: bounds and combinations are the business of `job/validate.rs`.
//!
//! How: the value is deserialised; when that fails, the fault is noted, the offending member is cut out and
//! the rest is tried again, a bounded number of times. Elements of an array are never cut out alone, so that
//! the pointers of the others stay true.
//!
//! Invariants: a fault names the *kind* of a wrong value and never the value, which may be a secret; whatever
//! the input, this ends and does not panic.

mod fault;
mod node;
mod suggest;

use std::fmt::Write as _;

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use self::fault::Fault;
use self::node::Node;
pub use self::suggest::nearest;
use crate::handle::FieldError;
use crate::json::Tree;
use crate::limits::FIELD_ERRORS_MAX;

/// What to say of a field that does not exist but that people write: `None` when there is nothing special.
pub type Hint = fn(parent: &str, field: &str) -> Option<&'static str>;

/// Reads `value` as a `T`. On failure: every problem found, at most [`FIELD_ERRORS_MAX`], in the order found.
pub fn read<T: DeserializeOwned>(value: &Value, hint: Hint) -> Result<T, Vec<FieldError>> {
    // Nearly always there is no problem, and keeping track of where one would be costs as much as reading.
    T::deserialize(Node(&Tree::of(value))).or_else(|_| read_in_parts(value, hint))
}

/// The same of a document as it stands in its text.
pub fn read_tree<T: DeserializeOwned>(tree: &Tree<'_>, hint: Hint) -> Result<T, Vec<FieldError>> {
    T::deserialize(Node(tree)).or_else(|_| read_in_parts(&tree.clone().into_value(), hint))
}

/// The same of one that has a problem.
fn read_in_parts<T: DeserializeOwned>(value: &Value, hint: Hint) -> Result<T, Vec<FieldError>> {
    let mut errors = Vec::new();
    let mut pruned: Option<Value> = None;
    let mut cut: Vec<String> = Vec::new();
    while errors.len() < FIELD_ERRORS_MAX && cut.len() < 2 * FIELD_ERRORS_MAX {
        let (path, fault) = match read_once::<T>(pruned.as_ref().unwrap_or(value)) {
            Ok(read) if errors.is_empty() => return Ok(read),
            Ok(_) => return Err(errors),
            Err(found) => found,
        };
        let consequence = matches!(&fault, Fault::Missing { field } if cut.contains(&join(&path, field)));
        if !consequence {
            errors.push(describe(&path, &fault, hint));
        }
        let rest = pruned.get_or_insert_with(|| value.clone());
        match prune(rest, &path) {
            Some(gone) => cut.push(gone),
            None => break,
        }
    }
    Err(errors)
}

/// The pointer to member `name` of `parent`.
pub fn join(parent: &str, name: &str) -> String {
    if name.contains(['~', '/']) {
        return format!("{parent}/{}", name.replace('~', "~0").replace('/', "~1"));
    }
    [parent, "/", name].concat()
}

fn read_once<T: DeserializeOwned>(value: &Value) -> Result<T, (String, Fault)> {
    serde_path_to_error::deserialize(Node(&Tree::of(value))).map_err(|error| {
        let mut pointer = String::new();
        for segment in error.path() {
            match segment {
                Segment::Seq { index } => write!(pointer, "/{index}").expect("a String takes any text"),
                Segment::Map { key } => pointer = join(&pointer, key),
                Segment::Enum { .. } | Segment::Unknown => {}
            }
        }
        (pointer, error.into_inner())
    })
}

fn describe(path: &str, fault: &Fault, hint: Hint) -> FieldError {
    let message = match fault {
        Fault::Unknown { field, expected } => {
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            hint(parent, field).map_or_else(
                || suggest::unknown_field(field, expected),
                |hint| format!("unknown field; {hint}"),
            )
        }
        Fault::Missing { field } => {
            return FieldError { pointer: join(path, field), message: "is missing; add it".to_owned() };
        }
        other => other.to_string(),
    };
    FieldError { pointer: path.to_owned(), message }
}

/// Cuts out the member at `pointer`, or the nearest one around it that is a field of an object. Returns what
/// was cut; `None` when only the whole document is left.
fn prune(value: &mut Value, pointer: &str) -> Option<String> {
    let mut rest = pointer;
    loop {
        let (parent, name) = rest.rsplit_once('/')?;
        if let Some(Value::Object(members)) = value.pointer_mut(parent) {
            members.remove(&name.replace("~1", "/").replace("~0", "~"))?;
            return Some(rest.to_owned());
        }
        rest = parent;
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Outer {
        name: Option<String>,
        many: Vec<Inner>,
        words: Vec<String>,
        inner: Option<Inner>,
        kind: Option<Kind>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the shape matters")]
    struct Inner {
        port: u16,
        label: Option<String>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Small,
        Large,
    }

    fn problems(value: Value) -> Vec<(String, String)> {
        match read::<Outer>(&value, |_, _| None) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.into_iter().map(|error| (error.pointer, error.message)).collect(),
        }
    }

    #[test]
    fn every_problem_is_named_with_its_pointer() {
        let found = problems(json!({
            "name": 5, "nmae": "x", "words": ["a", 2, 3], "kind": "lage",
            "many": [{"port": 1}, {"port": "x", "labl": "y"}], "inner": {"label": "z"}, "a/b~c": 1,
        }));
        let mut pointers: Vec<&str> = found.iter().map(|(pointer, _)| pointer.as_str()).collect();
        pointers.sort_unstable();
        let expected = [
            "/a~1b~0c",
            "/inner/port",
            "/kind",
            "/many/1/labl",
            "/many/1/port",
            "/name",
            "/nmae",
            "/words/1",
        ];
        assert_eq!(pointers, expected, "{found:?}");
        let message = |pointer: &str| &found.iter().find(|(found, _)| found == pointer).unwrap().1;
        assert!(message("/nmae").contains("did you mean `name`"), "{}", message("/nmae"));
        assert!(message("/kind").contains("did you mean `large`"), "{}", message("/kind"));
        assert!(message("/a~1b~0c").contains("`inner`, `kind`, `many`, `name`, `words`"), "{found:?}");
        assert_eq!(message("/name"), "expected a string, found a number");
    }

    #[test]
    fn a_field_that_was_cut_out_is_not_also_missing() {
        assert_eq!(problems(json!({"inner": {"port": "x"}})).len(), 1);
        assert_eq!(problems(json!({"many": [{"port": 1}, {"port": "x"}]})).len(), 1);
    }

    #[test]
    fn a_document_of_another_kind_is_one_problem() {
        for value in [json!([]), json!(1), json!("x"), json!(null)] {
            let found = problems(value);
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].0, "");
            assert!(found[0].1.starts_with("expected a JSON object"), "{found:?}");
        }
    }

    #[test]
    fn a_list_is_no_object() {
        assert_eq!(problems(json!({"inner": [80, "x"]}))[0].0, "/inner");
    }

    #[test]
    fn a_wrong_value_is_never_repeated() {
        for value in [json!({"words": "hunter2"}), json!({"inner": {"port": "hunter2"}}), json!("hunter2")] {
            assert!(!format!("{:?}", problems(value)).contains("hunter2"));
        }
    }

    #[test]
    fn the_number_of_problems_is_bounded() {
        let many: serde_json::Map<String, Value> = (0..1000).map(|n| (format!("x{n}"), json!(1))).collect();
        assert_eq!(problems(Value::Object(many)).len(), FIELD_ERRORS_MAX);
    }
}
