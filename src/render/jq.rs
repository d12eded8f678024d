//! `--jq`: an embedded jq over the JSON of a result.

use jaq_core::data::JustLut;
use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Filter, Vars};
use jaq_json::Val;

use crate::domain::event::repaired;
use crate::error::{Error, ErrorKind};

/// Filters of jq that the jaq library lacks.
const FORMATS: &str = r#"
def _cell(of_text): if type == "string" then of_text elif . == null then "" elif type == "number" or type == "boolean"
  then tojson else error("\(type) is not valid in a row") end;
def @csv: [.[] | _cell("\"" + (split("\"") | join("\"\"")) + "\"")] | join(",");
def @tsv: [.[] | _cell(reduce (["\\", "\\\\"], ["\t", "\\t"], ["\n", "\\n"], ["\r", "\\r"]) as $pair
  (.; split($pair[0]) | join($pair[1])))] | join("\t");
"#;

/// A compiled filter.
pub struct JqFilter(Filter<JustLut<Val>>);

impl std::fmt::Debug for JqFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JqFilter")
    }
}

impl JqFilter {
    /// Compiles an expression.
    ///
    /// # Errors
    /// A usage error for an invalid expression or an unknown filter.
    pub fn compile(expression: &str) -> Result<Self, Error> {
        let formats = jaq_core::load::parse(FORMATS, |parser| parser.defs()).unwrap_or_default();
        let definitions = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs()).chain(formats);
        // `env` is excluded, as it would expose the token.
        let functions = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
        let functions = functions.filter(|(name, ..)| *name != "env");
        let arena = Arena::default();
        let program = File { code: expression, path: () };
        let modules = Loader::new(definitions).load(&arena, program).map_err(|_| wrong(expression))?;
        let filter = Compiler::default().with_funs(functions).compile(modules);
        filter.map(Self).map_err(|errors| {
            let unknown = errors.iter().flat_map(|(_, undefined)| undefined).next();
            unknown.map_or_else(
                || wrong(expression),
                |(name, kind)| Error::usage(format!("--jq: there is no {} `{name}`", kind.as_str())),
            )
        })
    }

    /// Runs the filter on one JSON document and returns its results: strings raw, everything else as JSON.
    ///
    /// # Errors
    /// When the input is not JSON, or the filter fails.
    pub fn run(&self, json: &[u8]) -> Result<Vec<String>, Error> {
        let failed = |error: String| Error::new(ErrorKind::Other, format!("--jq: {}", shortened(&error)));
        let text = str::from_utf8(json).map(repaired).unwrap_or_default();
        let input = jaq_json::read::parse_single(json).or_else(|_| jaq_json::read::parse_single(text.as_bytes()));
        let input = input.map_err(|error| failed(error.to_string()))?;
        let context = Ctx::<JustLut<Val>>::new(&self.0.lut, Vars::new([]));
        let mut results = Vec::new();
        for result in self.0.id.run((context, input)) {
            match result {
                Ok(Val::TStr(text)) => results.push(String::from_utf8_lossy(&text).into_owned()),
                Ok(value) => results.push(value.to_string()),
                Err(exception) => match exception.get_err() {
                    Ok(error) => return Err(failed(error.to_string())),
                    // `halt` and the like end the results.
                    Err(_) => break,
                },
            }
        }
        Ok(results)
    }
}

/// The beginning and the end of an error, which may quote all of the input.
fn shortened(error: &str) -> String {
    const SHOWN: usize = 60;
    let cut = |from_end: bool| {
        let mut places = error.char_indices().map(|(place, _)| place);
        if from_end { places.nth_back(SHOWN - 1) } else { places.nth(SHOWN) }
    };
    match (cut(false), cut(true)) {
        (Some(start), Some(end)) if start < end => format!("{} … {}", &error[..start], &error[end..]),
        _ => error.to_owned(),
    }
}

fn wrong(expression: &str) -> Error {
    Error::usage(format!("--jq: `{expression}` is not a valid jq expression"))
        .hint("for example --jq '.[].hook_id'; see https://jqlang.org/manual for the language")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jq(expression: &str, input: &str) -> Vec<String> {
        JqFilter::compile(expression).unwrap().run(input.as_bytes()).unwrap()
    }

    #[test]
    fn an_error_does_not_repeat_the_input() {
        let input = format!("[{}1]", "{\"título\":\"é\"},".repeat(1000));
        let error = JqFilter::compile(".name").unwrap().run(input.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("--jq: cannot index [{") && error.ends_with("with \"name\""), "{error}");
        assert_eq!(error.chars().count(), "--jq: ".len() + 60 + " … ".chars().count() + 60);
        assert_eq!(shortened("short"), "short");
    }

    #[test]
    fn rows_are_written_as_in_jq() {
        let rows = r#"[["a \"b\"", 1.50, true, null, "x\ty\\z\n"], []]"#;
        assert_eq!(jq(".[] | @csv", rows), [r#""a ""b""",1.50,true,,"x	y\z"#.to_owned() + "\n\"", String::new()]);
        assert_eq!(jq(".[] | @tsv", rows), ["a \"b\"\t1.50\ttrue\t\tx\\ty\\\\z\\n", ""]);
        assert!(JqFilter::compile("@csv").unwrap().run(b"[[1]]").is_err());
    }

    #[test]
    fn filters_run_as_in_jq() {
        let input = r#"[{"hook_id":7,"event":"new_crash"},{"hook_id":null,"event":"x"}]"#;
        assert_eq!(jq(".[].hook_id", input), ["7", "null"]);
        assert_eq!(jq(".[0].event", input), ["new_crash"]);
        assert_eq!(jq("map(select(.hook_id)) | length", input), ["1"]);
        assert_eq!(jq(".[0]", input), [r#"{"hook_id":7,"event":"new_crash"}"#]);
        assert_eq!(jq("1, halt, 2", input), ["1"]);
    }

    #[test]
    fn mistakes_are_told_apart() {
        assert_eq!(JqFilter::compile(".[").unwrap_err().kind(), ErrorKind::Usage);
        assert_eq!(JqFilter::compile("nope").unwrap_err().kind(), ErrorKind::Usage);
        assert_eq!(JqFilter::compile("env").unwrap_err().kind(), ErrorKind::Usage);
        let failing = JqFilter::compile(".[0] | keys").unwrap();
        assert_eq!(failing.run(b"[3]").unwrap_err().kind(), ErrorKind::Other);
    }
}
