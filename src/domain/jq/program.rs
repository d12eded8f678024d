//! Compiles an expression so that its values are paid for when they are built.

use std::collections::HashSet;

use jaq_core::box_iter::box_once;
use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::load::{self, Arena, File, Loader};
use jaq_core::native::{Fun, bome, v};
use jaq_core::ops::Math;
use jaq_core::path::{Part, Path};
use jaq_core::{Compiler, Error as JqError, Filter, Native};
use jaq_json::Val;

use super::meter::Jq;

/// Filters of jq that the jaq library lacks, and those that it has without steps that can be counted.
const DEFINITIONS: &str = r"
def range($from; $to; $by):
  def up: if . < $to then ., (. + $by | up) else ({}[] as $x | .) end;
  def down: if . > $to then ., (. + $by | down) else ({}[] as $x | .) end;
  def on: if . != $to then ., (. + $by | on) else ({}[] as $x | .) end;
  $from | if $by > 0 then up elif $by < 0 then down else on end;
";
const FORMATS: &str = r#"
def _cell(of_text): if type == "string" then of_text elif . == null then "" elif type == "number" or type == "boolean"
  then tojson else error("\(type) is not valid in a row") end;
def @csv: [.[] | _cell("\"" + (split("\"") | join("\"\"")) + "\"")] | join(",");
def @tsv: [.[] | _cell(reduce (["\\", "\\\\"], ["\t", "\\t"], ["\n", "\\n"], ["\r", "\\r"]) as $pair
  (.; split($pair[0]) | join($pair[1])))] | join("\t");
"#;

/// The longest expression. The parser recurses over it.
const MAX_TEXT: usize = 10_000;

/// How deep JSON in a text may be nested that an expression parses.
const MAX_NESTING: usize = 1000;

/// Pays for its input with all that is in it, or without, or for a product. No expression can name these.
const PAID: &str = "!paid";
const PAID_FLAT: &str = "!paid_flat";
const PRODUCT: &str = "!product";
const NOT_DEEP: &str = "!not_deep";
/// The variable of an arithmetic update.
const OPERAND: &str = "$!operand";
const MAIN: &str = "_main";

/// Why an expression does not compile.
pub(super) enum Mistake {
    Invalid,
    /// The kind of what is not known, and its name.
    Unknown(&'static str, String),
}

/// Compiles an expression; on a thread with a big stack, as the compiler recurses.
pub(super) fn compile(expression: &str) -> Result<Filter<Jq>, Mistake> {
    let parsed = (expression.len() <= MAX_TEXT).then(|| load::parse(expression, |parser| parser.term())).flatten();
    let parsed = parsed.ok_or(Mistake::Invalid)?;
    // `env` is excluded, as it would expose the token.
    let is_replaced = |(name, arguments, _): &Fun<Jq>| *name == "env" || *name == "range" && arguments.len() == 3;
    let library = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    let library: Vec<Fun<Jq>> = library.filter(|function| !is_replaced(function)).collect();
    let payment = Payment { natives: library.iter().map(|(name, ..)| *name).collect() };
    let own = |text| load::parse(text, |parser| parser.defs()).unwrap_or_default();
    let defined = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let defined = own(DEFINITIONS).into_iter().chain(defined).chain(own(FORMATS));
    let main = Def { name: MAIN, args: Vec::new(), body: parsed };
    let defined = defined.map(|def: Def<&str>| payment.def(def)).chain([payment.def(main)]);
    let arena = Arena::default();
    let modules = Loader::new(defined).load(&arena, File { code: MAIN, path: () }).map_err(|_| Mistake::Invalid)?;
    Compiler::default().with_funs(library.into_iter().chain(functions())).compile(modules).map_err(|errors| {
        let unknown = errors.iter().flat_map(|(_, undefined)| undefined).next();
        unknown.map_or(Mistake::Invalid, |(name, kind)| Mistake::Unknown(kind.as_str(), (*name).to_owned()))
    })
}

fn functions() -> [Fun<Jq>; 4] {
    // Those that give their input back are paths too, so that what they stand behind may be updated.
    let paid: Native<Jq> = Native::new(|cv| {
        cv.0.data().meter.pay(&cv.1);
        box_once(Ok(cv.1))
    });
    let paid_flat: Native<Jq> = Native::new(|cv| {
        cv.0.data().meter.pay_flat(&cv.1);
        box_once(Ok(cv.1))
    });
    let product: Native<Jq> = Native::new(|mut cv| {
        let (right, left) = (cv.0.pop_var(), cv.0.pop_var());
        let meter = cv.0.data().meter;
        meter.pay_product(&left, &right);
        bome((left * right).inspect(|product| meter.pay(product)))
    });
    let not_deep: Native<Jq> = Native::new(|cv| {
        bome(if is_deep(&cv.1) { Err(JqError::str("the JSON is nested too deeply")) } else { Ok(cv.1) })
    });
    [
        (PAID, v(0), paid.with_paths(|cv| box_once(Ok(cv.1))).with_update(|cv, update| update(cv.1))),
        (PAID_FLAT, v(0), paid_flat),
        (PRODUCT, v(2), product),
        (NOT_DEEP, v(0), not_deep),
    ]
}

fn is_deep(text: &Val) -> bool {
    let (Val::TStr(text) | Val::BStr(text)) = text else { return false };
    let mut depth = 0_usize;
    text.iter().any(|byte| {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > MAX_NESTING
    })
}

type Expression<'s> = Term<&'s str>;

fn boxed(term: Expression<'_>) -> Box<Expression<'_>> {
    Box::new(term)
}

fn pipe<'s>(left: Expression<'s>, right: Expression<'s>) -> Expression<'s> {
    Term::BinOp(boxed(left), BinaryOp::Pipe(None), boxed(right))
}

fn then<'s>(term: Expression<'s>, function: &'s str) -> Expression<'s> {
    pipe(term, Term::Call(function, Vec::new()))
}

fn math<'s>(left: Expression<'s>, operator: Math, right: Expression<'s>) -> Expression<'s> {
    match operator {
        Math::Mul => Term::Call(PRODUCT, vec![left, right]),
        operator => then(Term::BinOp(boxed(left), BinaryOp::Math(operator), boxed(right)), PAID_FLAT),
    }
}

/// Rewrites expressions: behind what builds a value stands what pays for it, and behind what gives many, a step for each.
struct Payment {
    /// Functions whose steps are not counted.
    natives: HashSet<&'static str>,
}

impl Payment {
    fn def<'s>(&self, def: Def<&'s str>) -> Def<&'s str> {
        Def { name: def.name, args: def.args, body: self.term(def.body) }
    }

    fn boxed<'s>(&self, term: Expression<'s>) -> Box<Expression<'s>> {
        boxed(self.term(term))
    }

    fn terms<'s>(&self, terms: Vec<Expression<'s>>) -> Vec<Expression<'s>> {
        terms.into_iter().map(|term| self.term(term)).collect()
    }

    fn term<'s>(&self, term: Expression<'s>) -> Expression<'s> {
        match term {
            Term::Id | Term::Num(_) | Term::Break(_) | Term::Var(_) | Term::Arr(None) => term,
            Term::Recurse => pipe(Term::Recurse, Term::Id),
            Term::Str(format, parts) => self.text(format, parts),
            Term::Arr(Some(items)) => then(Term::Arr(Some(boxed(pipe(self.term(*items), Term::Id)))), PAID),
            Term::Obj(fields) => {
                let fields = fields.into_iter().map(|(name, value)| match value {
                    Some(value) => (self.term(name), Some(self.term(value))),
                    // The name says where the value is.
                    None => (name, None),
                });
                then(Term::Obj(fields.collect()), PAID)
            }
            Term::Neg(term) => Term::Neg(self.boxed(*term)),
            Term::BinOp(left, operator, right) => self.operation(*left, operator, *right),
            Term::Label(name, term) => Term::Label(name, self.boxed(*term)),
            Term::Fold(name, items, pattern, terms) => {
                Term::Fold(name, self.boxed(*items), self.pattern(pattern), self.terms(terms))
            }
            Term::TryCatch(term, catch) => Term::TryCatch(self.boxed(*term), catch.map(|catch| self.boxed(*catch))),
            Term::IfThenElse(cases, otherwise) => {
                let cases = cases.into_iter().map(|(case, then)| (self.term(case), self.term(then)));
                Term::IfThenElse(cases.collect(), otherwise.map(|term| self.boxed(*term)))
            }
            Term::Def(defs, term) => Term::Def(defs.into_iter().map(|def| self.def(def)).collect(), self.boxed(*term)),
            Term::Call("fromjson", none) if none.is_empty() => {
                then(pipe(Term::Call(NOT_DEEP, Vec::new()), Term::Call("fromjson", none)), PAID)
            }
            Term::Call(name, arguments) => {
                let call = Term::Call(name, self.terms(arguments));
                if self.natives.contains(name) { then(call, PAID) } else { call }
            }
            Term::Path(term, path) => self.path(*term, path),
        }
    }

    fn text<'s>(&self, format: Option<&'s str>, parts: Vec<StrPart<&'s str, Expression<'s>>>) -> Expression<'s> {
        let is_built = parts.iter().any(|part| matches!(part, StrPart::Term(_)));
        let parts = parts.into_iter().map(|part| match part {
            StrPart::Term(term) => StrPart::Term(self.term(term)),
            StrPart::Str(text) => StrPart::Str(text),
            StrPart::Char(c) => StrPart::Char(c),
        });
        let text = Term::Str(format, parts.collect());
        if is_built { then(text, PAID_FLAT) } else { text }
    }

    fn operation<'s>(
        &self,
        left: Expression<'s>,
        operator: BinaryOp<&'s str>,
        right: Expression<'s>,
    ) -> Expression<'s> {
        if let BinaryOp::UpdateMath(operator) = operator {
            // `path += f` is `f as $operand | path |= . + $operand`.
            let changed = math(Term::Id, operator, Term::Var(OPERAND));
            let update = Term::BinOp(self.boxed(left), BinaryOp::Update, boxed(changed));
            let operand = BinaryOp::Pipe(Some(Pattern::Var(OPERAND)));
            return Term::BinOp(self.boxed(right), operand, boxed(update));
        }
        let (left, right) = (self.term(left), self.term(right));
        let (operator, right) = match operator {
            BinaryOp::Math(operator) => return math(left, operator, right),
            BinaryOp::Assign | BinaryOp::Update | BinaryOp::UpdateAlt => (operator, then(right, PAID)),
            BinaryOp::Pipe(Some(pattern)) => (BinaryOp::Pipe(Some(self.pattern(pattern))), right),
            operator => (operator, right),
        };
        Term::BinOp(boxed(left), operator, boxed(right))
    }

    fn pattern<'s>(&self, pattern: Pattern<&'s str>) -> Pattern<&'s str> {
        match pattern {
            Pattern::Var(_) => pattern,
            Pattern::Arr(items) => Pattern::Arr(items.into_iter().map(|item| self.pattern(item)).collect()),
            Pattern::Obj(fields) => {
                let fields = fields.into_iter().map(|(name, value)| (self.term(name), self.pattern(value)));
                Pattern::Obj(fields.collect())
            }
        }
    }

    fn path<'s>(&self, term: Expression<'s>, path: Path<Expression<'s>>) -> Expression<'s> {
        let mut gives_many = false;
        let parts = path.0.into_iter().map(|(part, optional)| {
            let part = match part {
                Part::Index(index) => Part::Index(self.term(index)),
                Part::Range(from, to) => {
                    gives_many |= from.is_none() && to.is_none();
                    Part::Range(from.map(|from| self.term(from)), to.map(|to| self.term(to)))
                }
            };
            (part, optional)
        });
        let path = Term::Path(self.boxed(term), Path(parts.collect()));
        if gives_many { pipe(path, Term::Id) } else { path }
    }
}
