//! YAML as JSON, in which all scalars are texts.

use std::path::Path;

use saphyr_parser::{Event, Parser};
use serde_json::{Map, Value};

/// Reads a file, which must be one document.
pub fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap();
    // What has not ended yet, with the key that the next value is of.
    let mut open: Vec<(Value, Option<String>)> = vec![(Value::Array(Vec::new()), None)];
    for event in Parser::new_from_str(&text) {
        let (event, span) = event.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let done = match event {
            Event::Scalar(text, ..) => match open.last_mut() {
                Some((Value::Object(_), key @ None)) => {
                    *key = Some(text.into_owned());
                    continue;
                }
                _ => Value::from(text.into_owned()),
            },
            Event::SequenceStart(..) => {
                open.push((Value::Array(Vec::new()), None));
                continue;
            }
            Event::MappingStart(..) => {
                open.push((Value::Object(Map::new()), None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => open.pop().unwrap().0,
            Event::Alias(_) => panic!("{}: an alias at {span:?}", path.display()),
            _ => continue,
        };
        match open.last_mut().unwrap() {
            (Value::Array(list), _) => list.push(done),
            (Value::Object(table), key) => {
                let before = table.insert(key.take().unwrap(), done);
                assert!(before.is_none(), "{}: a key twice at {span:?}", path.display());
            }
            _ => unreachable!("only lists and tables are open"),
        }
    }
    let Value::Array(mut documents) = open.remove(0).0 else { unreachable!("it began as a list") };
    assert_eq!(documents.len(), 1, "{}", path.display());
    documents.remove(0)
}
