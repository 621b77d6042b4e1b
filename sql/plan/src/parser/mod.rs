//! Text to statements. What is PostgreSQL's own goes to sqlparser; what is EBAP's is read here, token
//! by token, with expressions and queries handed to sqlparser again.

mod alert;
mod as_of;
mod copy;
mod cursor;
mod dialect;
mod exclude;
mod flink;
mod function;
mod grant;
mod object;
mod policy;
mod portals;
mod role;
mod spellings;
mod types;
mod variants;

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::{
    ast::{self, Expr, Ident, Query, Reset, ResetStatement, TableFactor, Visit, VisitMut, Visitor},
    parser::Parser,
    tokenizer::{Token, TokenWithSpan, Tokenizer, TokenizerError},
};
use ebap_catalog::{ObjectKind, ResumeFrom};

use crate::{
    Emit, Error, Result, SourceKind,
    error::{from_parser, position_of},
};
pub use copy::{Copy, CopyFormat, CopyOptions, ForceQuote};
use cursor::Cursor;
use dialect::Budget;
pub(crate) use dialect::{BETWEEN_SYMMETRIC, Postgres, call};
pub(crate) use function::{Argument, FunctionBody};
pub(crate) use grant::{Grant, Granted, Grantee, On};
pub(crate) use policy::{PolicyAction, PolicyChange};
pub use portals::{Declare, Direction, Prepare, select_of_types};
pub use role::{NewPassword, Password, RoleName, RoleStatement};
pub(crate) use role::{RoleChange, RoleOption};
pub(crate) use types::{ColumnType, parsed_type};

/// A statement and where it stands.
#[derive(Clone, Debug)]
pub struct Parsed {
    pub statement: Statement,
    /// Its text, without the semicolon.
    pub text: String,
    /// Byte in the given text at which `text` starts.
    pub start: usize,
}

#[derive(Clone, Debug)]
pub enum Statement {
    Create(Box<Create>),
    Drop {
        kind: ObjectKind,
        names: Vec<String>,
        if_exists: bool,
        cascade: bool,
    },
    Alter {
        kind: ObjectKind,
        name: String,
        if_exists: bool,
        action: AlterAction,
    },
    Comment {
        kind: ObjectKind,
        name: String,
        column: Option<String>,
        text: Option<String>,
    },
    /// About roles, who is a member of them, and what they may do.
    Role(Box<RoleStatement>),
    Show(ShowKind),
    ShowCreate {
        kind: Option<ObjectKind>,
        name: String,
    },
    Describe {
        name: String,
    },
    Flush,
    Explain {
        analyze: bool,
        verbose: bool,
        statement: Box<Statement>,
    },
    /// `EXPLAIN [ANALYZE] MATERIALIZED VIEW name`
    ExplainView {
        analyze: bool,
        name: String,
    },
    /// `EXPLAIN ALERT name`
    ExplainAlert {
        name: String,
    },
    Copy(Box<Copy>),
    Declare(Box<Declare>),
    /// `moves`: it is `MOVE`.
    Fetch {
        name: String,
        direction: Direction,
        moves: bool,
    },
    /// Without a name all cursors.
    Close {
        name: Option<String>,
    },
    Prepare(Box<Prepare>),
    Execute {
        name: String,
        values: Vec<Expr>,
    },
    /// Anything else that PostgreSQL's grammar has; the server decides what it does with it.
    Query(Box<ast::Statement>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlterAction {
    Pause,
    /// Also starts a job again that has failed.
    Resume,
    /// The same where what a stream was to read next is not there any more.
    ResumeFrom(ResumeFrom),
    /// Writes every row of the view again, for a sink.
    Rebuild,
    /// Exchanges the names of two materialized views.
    SwapWith(String),
    /// Of an alert: microseconds from now for which nobody is told; `None` ends it.
    Silence(Option<i64>),
    OwnerTo(RoleName),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShowKind {
    Objects(ObjectKind),
    Jobs,
    Alerts,
}

#[derive(Clone, Debug)]
pub struct Create {
    pub(crate) name: String,
    pub(crate) if_not_exists: bool,
    pub(crate) or_replace: bool,
    pub(crate) body: Body,
}

impl Create {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn kind(&self) -> ObjectKind {
        self.body.kind()
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Body {
    Secret(SecretBody),
    Connection { kind: String, options: Vec<OptionValue> },
    Function(Box<FunctionBody>),
    Source(SourceBody),
    View(Box<ViewBody>),
    Sink(SinkBody),
    Alert(Box<AlertBody>),
}

impl Body {
    pub(crate) fn kind(&self) -> ObjectKind {
        match self {
            Self::Secret(_) => ObjectKind::Secret,
            Self::Connection { .. } => ObjectKind::Connection,
            Self::Function(_) => ObjectKind::Function,
            Self::Source(source) => match source.kind {
                SourceKind::Stream => ObjectKind::Stream,
                SourceKind::Table => ObjectKind::Table,
            },
            Self::View(_) => ObjectKind::MaterializedView,
            Self::Sink(_) => ObjectKind::Sink,
            Self::Alert(_) => ObjectKind::Alert,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum SecretBody {
    Env(String),
    File(String),
    Literal(String),
}

#[derive(Clone, Debug)]
pub(crate) struct OptionValue {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) secret: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct ColumnDef {
    pub(crate) name: String,
    pub(crate) column_type: ColumnType,
    pub(crate) not_null: bool,
    pub(crate) pii: Option<&'static str>,
    pub(crate) checks: Vec<(Option<String>, Expr)>,
    pub(crate) computed: Option<Expr>,
    pub(crate) primary_key: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct SourceBody {
    pub(crate) kind: SourceKind,
    /// `*`, or no list at all: a registry knows the columns, but for those that are declared.
    pub(crate) inferred: bool,
    pub(crate) columns: Vec<ColumnDef>,
    pub(crate) checks: Vec<(Option<String>, Expr)>,
    pub(crate) primary_key: Vec<String>,
    pub(crate) watermark: Option<(String, i64)>,
    pub(crate) options: Vec<OptionValue>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WindowKind {
    Tumble,
    Hop,
    Session,
}

impl WindowKind {
    /// By its name in lower case.
    pub(crate) fn of(name: &str) -> Option<Self> {
        [Self::Tumble, Self::Hop, Self::Session].into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name))
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tumble => "TUMBLE",
            Self::Hop => "HOP",
            Self::Session => "SESSION",
        }
    }

    /// How the table function is written.
    pub(crate) fn usage(self) -> &'static str {
        match self {
            Self::Tumble => "TUMBLE(stream, time, INTERVAL '1 minute')",
            Self::Hop => "HOP(stream, time, INTERVAL '1 minute', INTERVAL '1 hour'), the slide before the size",
            Self::Session => "SESSION(stream, time, INTERVAL '30 minutes')",
        }
    }
}

/// `WINDOW HOP (time, slide, size)` behind `GROUP BY`.
#[derive(Clone, Debug)]
pub(crate) struct WindowClause {
    pub(crate) kind: WindowKind,
    pub(crate) time: Expr,
    pub(crate) args: Vec<Expr>,
}

impl SourceBody {
    /// Of computed columns and `CHECK`.
    pub(crate) fn expressions(&self) -> impl Iterator<Item = &Expr> {
        let of_columns = self.columns.iter().flat_map(|column| column.computed.iter().chain(exprs(&column.checks)));
        of_columns.chain(exprs(&self.checks))
    }

    pub(crate) fn expressions_mut(&mut self) -> impl Iterator<Item = &mut Expr> {
        let of_columns = self.columns.iter_mut().flat_map(|column| {
            let checks = column.checks.iter_mut().map(|(_, expr)| expr);
            column.computed.iter_mut().chain(checks)
        });
        of_columns.chain(self.checks.iter_mut().map(|(_, expr)| expr))
    }
}

fn exprs(checks: &[(Option<String>, Expr)]) -> impl Iterator<Item = &Expr> {
    checks.iter().map(|(_, expr)| expr)
}

#[derive(Clone, Debug)]
pub(crate) struct ViewBody {
    pub(crate) options: Vec<OptionValue>,
    pub(crate) query: Box<Query>,
    /// Of the clause `WINDOW TUMBLE (…)`.
    pub(crate) window: Option<WindowClause>,
    pub(crate) emit: Emit,
}

#[derive(Clone, Debug)]
pub(crate) struct SinkBody {
    pub(crate) from: String,
    /// Column, transform.
    pub(crate) partitions: Vec<(String, String)>,
    pub(crate) options: Vec<OptionValue>,
}

/// `ON from WHEN condition …`
#[derive(Clone, Debug)]
pub(crate) struct AlertBody {
    pub(crate) from: String,
    pub(crate) condition: Expr,
    /// Intervals as they were written, and in microseconds.
    pub(crate) hold: Option<(String, i64)>,
    pub(crate) keep: Option<(String, i64)>,
    pub(crate) no_data: Option<(String, i64)>,
    /// `None` where `BY` is not said; `BY ()` is one key for the whole view.
    pub(crate) by: Option<Vec<String>>,
    pub(crate) options: Vec<OptionValue>,
}

/// Every statement of the text. Comments and empty statements give nothing.
///
/// # Errors
/// 42601 with the position in `text`.
pub fn parse(text: &str) -> Result<Vec<Parsed>> {
    let tokens = Tokenizer::new(&Postgres, text).tokenize_with_location().map_err(|error| tokenizer(&error, text))?;
    let tokens = variants::joined(tokens, text)?;
    let _budget = Budget::of(tokens.len());
    named(&tokens, text)?;
    let mut out = Vec::new();
    for part in tokens.split(|token| token.token == Token::SemiColon) {
        let mut solid: Vec<TokenWithSpan> =
            part.iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).cloned().collect();
        let (Some(first), Some(last)) = (solid.first(), solid.last()) else { continue };
        let start = byte_of(text, first.span.start.line, first.span.start.column);
        let end = byte_of(text, last.span.end.line, last.span.end.column);
        exclude::without_default(&mut solid, text)?;
        let statement = statement(&mut Cursor::new(text, solid))?;
        out.push(Parsed { statement, text: text[start..end.max(start)].to_owned(), start });
    }
    Ok(out)
}

/// Refuses names without a character.
fn named(tokens: &[TokenWithSpan], text: &str) -> Result<()> {
    let empty = |token: &&TokenWithSpan| matches!(&token.token, Token::Word(word) if word.quote_style.is_some() && word.value.is_empty());
    match tokens.iter().find(empty) {
        Some(token) => {
            let message = "zero-length delimited identifier at or near \"\"\"\"";
            let (line, column) = (token.span.start.line as usize, token.span.start.column as usize);
            let mut error = Error::syntax(message);
            error.position = position_of(text, line, column);
            Err(error)
        }
        None => Ok(()),
    }
}

/// Without white space and comments.
fn solid_tokens(text: &str) -> Result<Vec<TokenWithSpan>> {
    let tokens = Tokenizer::new(&Postgres, text).tokenize_with_location();
    let mut tokens = variants::joined(tokens.map_err(|error| tokenizer(&error, text))?, text)?;
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
    Ok(tokens)
}

fn tokenizer(error: &TokenizerError, text: &str) -> Error {
    let position = position_of(text, error.location.line as usize, error.location.column as usize);
    let mut mapped = Error::syntax(error.message.to_lowercase());
    mapped.position = position;
    mapped
}

fn byte_of(text: &str, line: u64, column: u64) -> usize {
    let characters = position_of(text, line as usize, column as usize).unwrap_or(1) - 1;
    text.char_indices().nth(characters).map_or(text.len(), |(at, _)| at)
}

fn statement(cursor: &mut Cursor<'_>) -> Result<Statement> {
    if let Some(own) = role::statement(cursor)? {
        return Ok(own);
    }
    if let Some(own) = object::create(cursor)? {
        return Ok(own);
    }
    if cursor.at(&["DROP"])
        && let Some(kind) = object::kind_at(cursor, 1)
    {
        return object::drop(cursor, kind);
    }
    if cursor.at(&["ALTER"])
        && let Some(kind) = object::kind_at(cursor, 1)
    {
        return object::alter(cursor, kind);
    }
    if cursor.at(&["COMMENT", "ON"]) {
        return object::comment(cursor);
    }
    if cursor.at(&["FLUSH"]) {
        cursor.skip(1);
        cursor.end()?;
        return Ok(Statement::Flush);
    }
    if cursor.at(&["SHOW"])
        && let Some(show) = object::show(cursor)?
    {
        return Ok(show);
    }
    if cursor.at(&["DESCRIBE"]) || cursor.at(&["DESC"]) {
        cursor.skip(1);
        let name = cursor.object_name()?;
        cursor.end()?;
        return Ok(Statement::Describe { name });
    }
    if cursor.at(&["EXPLAIN"]) {
        return explain(cursor);
    }
    match cursor.word(0).as_deref() {
        Some("COPY") => return copy::copy(cursor),
        Some("DECLARE") => return portals::declare(cursor),
        Some("FETCH" | "MOVE") => return portals::fetch(cursor),
        Some("CLOSE") => return portals::close(cursor),
        Some("PREPARE") => return portals::prepare(cursor),
        Some("EXECUTE") => return portals::execute(cursor),
        Some(_) | None => {}
    }
    if cursor.at(&["RESET", "TIME", "ZONE"]) {
        cursor.skip(3);
        cursor.end()?;
        let reset = Reset::ConfigurationParameter(vec![Ident::new("timezone")].into());
        return Ok(Statement::Query(Box::new(ResetStatement { reset }.into())));
    }
    query(cursor)
}

fn query(cursor: &mut Cursor<'_>) -> Result<Statement> {
    if let Some(ahead) = as_of::find(cursor.rest()) {
        cursor.skip(ahead);
        let what = "FOR SYSTEM_TIME AS OF outside of a materialized view";
        let hint = "Use it in CREATE MATERIALIZED VIEW: a query sees the newest row of each key.";
        return Err(Error::unsupported(what, hint).at(cursor.position()));
    }
    if cursor.at(&["SELECT"]) && cursor.rest().len() == 1 {
        return Err(Error::unsupported("SELECT without columns", "Use SELECT 1.").at(cursor.position()));
    }
    cursor.replace(flink::plain_windows);
    cursor.replace(variants::plain);
    let mut parser = Parser::new(&Postgres).with_tokens_with_locations(cursor.rest().to_vec());
    let mut parsed = parser.parse_statement().map_err(|error| from_parser(&error, cursor.text()))?;
    let next = parser.peek_token();
    if next.token != Token::EOF {
        return Err(cursor.near(&next));
    }
    let _ = VisitMut::visit(&mut parsed, &mut variants::Tables);
    crate::laterals::named(&mut parsed);
    match windowed(&parsed) {
        Some(function) => {
            let what = format!("{} outside of a materialized view", function.to_uppercase());
            let hint = "Use date_bin(INTERVAL '1 minute', time) in a query, or CREATE MATERIALIZED VIEW.";
            let error = Error::unsupported(what, hint);
            Err(match crate::error::find_word(cursor.text(), &function) {
                Some(position) => error.at(position),
                None => error,
            })
        }
        None => Ok(Statement::Query(Box::new(parsed))),
    }
}

/// The first function in `FROM` that is a window of a view.
fn windowed(statement: &ast::Statement) -> Option<String> {
    struct Windows;
    impl Visitor for Windows {
        type Break = String;

        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<String> {
            match factor {
                TableFactor::Table { name, args: Some(_), .. } => {
                    let name = name.to_string();
                    match WindowKind::of(&name).is_some() || name.eq_ignore_ascii_case("cumulate") {
                        true => ControlFlow::Break(name),
                        false => ControlFlow::Continue(()),
                    }
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    match Visit::visit(statement, &mut Windows) {
        ControlFlow::Break(name) => Some(name),
        ControlFlow::Continue(()) => None,
    }
}

/// `(ANALYZE, VERBOSE false, FORMAT TEXT, …)`: analyze, and verbose.
fn explain_options(cursor: &mut Cursor<'_>) -> Result<(bool, bool)> {
    let inside = cursor.group()?;
    let mut list = cursor.inside(inside);
    let (mut analyze, mut verbose) = (false, false);
    loop {
        let position = list.position();
        let option = list.identifier()?;
        let value = match list.finished() || list.is(&Token::Comma) {
            true => "on".to_owned(),
            false => match list.next()? {
                Token::Word(word) => word.value.to_lowercase(),
                Token::Number(digits, _) => digits,
                Token::SingleQuotedString(text) => text.to_lowercase(),
                _ => return Err(list.unexpected()),
            },
        };
        let is_on = matches!(value.as_str(), "on" | "true" | "1");
        match option.as_str() {
            "analyze" => analyze = is_on,
            "verbose" => verbose = is_on,
            "format" if value == "text" => {}
            "format" => {
                let what = format!("EXPLAIN (FORMAT {})", value.to_uppercase());
                return Err(Error::unsupported(what, "Use EXPLAIN, whose lines are text.").at(position));
            }
            // What they would add is not counted here.
            "costs" | "settings" | "generic_plan" | "buffers" | "wal" | "timing" | "summary" | "memory"
            | "serialize" => {}
            other => return Err(Error::syntax(format!("unrecognized EXPLAIN option \"{other}\"")).at(position)),
        }
        if !list.take_token(&Token::Comma) {
            break;
        }
    }
    list.end()?;
    Ok((analyze, verbose))
}

fn explain(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.skip(1);
    let (mut analyze, mut verbose) = (false, false);
    let first = cursor.word(1).filter(|word| !["SELECT", "WITH", "VALUES", "TABLE"].contains(&word.as_str()));
    if cursor.is(&Token::LParen) && first.is_some() {
        (analyze, verbose) = explain_options(cursor)?;
    }
    loop {
        if cursor.take(&["ANALYZE"]) {
            analyze = true;
        } else if cursor.take(&["VERBOSE"]) {
            verbose = true;
        } else {
            break;
        }
    }
    if cursor.at(&["MATERIALIZED", "VIEW"]) {
        cursor.skip(2);
        let name = cursor.object_name()?;
        cursor.end()?;
        return Ok(Statement::ExplainView { analyze, name });
    }
    if cursor.take(&["ALERT"]) {
        let name = cursor.object_name()?;
        cursor.end()?;
        return Ok(Statement::ExplainAlert { name });
    }
    Ok(Statement::Explain { analyze, verbose, statement: Box::new(statement(cursor)?) })
}
