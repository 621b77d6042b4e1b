//! PostgreSQL's grammar of expressions, where sqlparser's dialect of it reads another tree.
//!
//! | written | read as | sqlparser's own |
//! |---|---|---|
//! | `a IS DISTINCT FROM b AND c` | `(a IS DISTINCT FROM b) AND c` | `a IS DISTINCT FROM (b AND c)` |
//! | `a ~ b \|\| c` | `(a ~ b) \|\| c` | `a ~ (b \|\| c)` |
//! | `-2 ^ 2` | `(-2) ^ 2` | `-(2 ^ 2)` |
//! | `~ 1 + 1` | `~ (1 + 1)` | `(~ 1) + 1` |
//! | `a < b = c` | an error | `(a < b) = c` |
//! | `a BETWEEN SYMMETRIC b AND c` | a range in either order | an error |
//! | `a ISNULL` | `a IS NULL` | a column called `isnull` |
//! | `f(a := 1)` | a named argument | an assignment |
//!
//! Source: section 4.1.6 of PostgreSQL's manual, "Operator Precedence".

use std::{any::TypeId, cell::Cell};

use datafusion::sql::sqlparser::{
    ast::{
        BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
        ObjectName, UnaryOperator,
    },
    dialect::{Dialect, PostgreSqlDialect, Precedence},
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::Token,
};

use super::spellings;

/// The dialect that every text is read with.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Postgres;

thread_local! {
    /// Expressions that may still be begun.
    static LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Bounds how often the parser begins an expression, while it lives.
///
/// The parser tries several readings of a call, of `CASE` and of brackets. One in another, each try doubles the work.
pub(crate) struct Budget;

impl Budget {
    /// For a text of so many tokens.
    pub(crate) fn of(tokens: usize) -> Self {
        const EACH: usize = 100;
        const LEAST: usize = 50_000;
        LEFT.set(LEAST.saturating_add(tokens.saturating_mul(EACH)));
        Self
    }

    /// Takes one.
    fn spend() -> Result<(), ParserError> {
        let left = LEFT.get();
        if left == 0 {
            return Err(ParserError::RecursionLimitExceeded);
        }
        LEFT.set(left - 1);
        Ok(())
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        LEFT.set(usize::MAX);
    }
}

const POSTGRES: PostgreSqlDialect = PostgreSqlDialect {};

/// A minus sign binds closer than `COLLATE`, and less than `[]`.
const SIGN: u8 = 125;
/// "Any other operator" of the manual's table.
pub(super) const OTHER: u8 = 70;
/// `BETWEEN SYMMETRIC`, which sqlparser has no node for.
pub(crate) const BETWEEN_SYMMETRIC: &str = "between symmetric";

macro_rules! as_postgres {
    ($($name:ident),* $(,)?) => {
        $(fn $name(&self) -> bool {
            POSTGRES.$name()
        })*
    };
}

impl Dialect for Postgres {
    /// The parser asks in places whether it reads PostgreSQL.
    fn dialect(&self) -> TypeId {
        TypeId::of::<PostgreSqlDialect>()
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        POSTGRES.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        POSTGRES.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        POSTGRES.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        POSTGRES.is_identifier_part(ch)
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        POSTGRES.is_reserved_for_identifier(keyword)
    }

    fn is_custom_operator_part(&self, ch: char) -> bool {
        POSTGRES.is_custom_operator_part(ch)
    }

    fn prec_value(&self, prec: Precedence) -> u8 {
        POSTGRES.prec_value(prec)
    }

    as_postgres!(
        supports_filter_during_aggregation,
        supports_group_by_expr,
        allow_extract_custom,
        allow_extract_single_quotes,
        supports_create_index_with_clause,
        supports_explain_with_utility_options,
        supports_listen_notify,
        supports_factorial_operator,
        supports_bitwise_shift_operators,
        supports_comment_on,
        supports_load_extension,
        supports_named_fn_args_with_colon_operator,
        supports_empty_projections,
        supports_nested_comments,
        supports_string_escape_constant,
        supports_numeric_literal_underscores,
        supports_array_typedef_with_brackets,
        supports_geometric_types,
        supports_set_names,
        supports_alter_column_type_using,
        supports_notnull_operator,
        supports_interval_options,
        supports_insert_table_alias,
        supports_create_table_like_parenthesized,
        supports_select_wildcard_with_alias,
        supports_comma_separated_trim,
        supports_xml_expressions,
        supports_comment_optimizer_hint
    );

    /// The parser would read each argument twice. Names of arguments are words, which it reads all the same.
    fn supports_named_fn_args_with_expr_name(&self) -> bool {
        false
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        match &parser.peek_token_ref().token {
            Token::Tilde
            | Token::TildeAsterisk
            | Token::ExclamationMarkTilde
            | Token::ExclamationMarkTildeAsterisk
            | Token::DoubleTilde
            | Token::DoubleTildeAsterisk
            | Token::ExclamationMarkDoubleTilde
            | Token::ExclamationMarkDoubleTildeAsterisk => Some(Ok(OTHER)),
            Token::Word(word) if word.keyword == Keyword::OPERATOR => Some(Ok(OTHER)),
            Token::Word(_) if is_isnull(&parser.peek_token_ref().token) => {
                Some(Ok(POSTGRES.prec_value(Precedence::Is)))
            }
            // Of `substring(a SIMILAR b ESCAPE c)`.
            Token::Word(word) if word.keyword == Keyword::SIMILAR && !is_to(&parser.peek_nth_token_ref(1).token) => {
                Some(Ok(0))
            }
            // Between the name and the value of an argument.
            Token::Assignment => Some(Ok(0)),
            _ => POSTGRES.get_next_precedence(parser),
        }
    }

    fn supports_named_fn_args_with_assignment_operator(&self) -> bool {
        true
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        if let Err(error) = Budget::spend() {
            return Some(Err(error));
        }
        if let Some(found) = spellings::at(parser) {
            return Some(found);
        }
        let (op, binds) = match &parser.peek_token_ref().token {
            Token::Minus => (UnaryOperator::Minus, SIGN),
            Token::Plus => (UnaryOperator::Plus, SIGN),
            Token::Tilde => (UnaryOperator::BitwiseNot, OTHER),
            Token::AtSign => (UnaryOperator::PGAbs, OTHER),
            Token::PGSquareRoot => (UnaryOperator::PGSquareRoot, OTHER),
            Token::PGCubeRoot => (UnaryOperator::PGCubeRoot, OTHER),
            _ => return None,
        };
        parser.advance_token();
        Some(parser.parse_subexpr(binds).map(|expr| Expr::UnaryOp { op, expr: Box::new(expr) }))
    }

    fn parse_infix(&self, parser: &mut Parser, expr: &Expr, precedence: u8) -> Option<Result<Expr, ParserError>> {
        if is_comparison(&parser.peek_token_ref().token) && is_open_comparison(expr) {
            let token = parser.peek_token_ref();
            let message = format!("syntax error at or near \"{}\"{}", token.token, token.span.start);
            return Some(Err(ParserError::ParserError(message)));
        }
        if is_isnull(&parser.peek_token_ref().token) {
            parser.advance_token();
            return Some(Ok(Expr::IsNull(Box::new(expr.clone()))));
        }
        if parser.parse_keywords(&[Keyword::IS, Keyword::DISTINCT, Keyword::FROM]) {
            return Some(distinct(parser, expr, Expr::IsDistinctFrom));
        }
        if parser.parse_keywords(&[Keyword::IS, Keyword::NOT, Keyword::DISTINCT, Keyword::FROM]) {
            return Some(distinct(parser, expr, Expr::IsNotDistinctFrom));
        }
        let negated = parser.parse_keywords(&[Keyword::NOT, Keyword::BETWEEN, Keyword::SYMMETRIC]);
        if negated || parser.parse_keywords(&[Keyword::BETWEEN, Keyword::SYMMETRIC]) {
            return Some(symmetric(parser, expr, precedence, negated));
        }
        None
    }
}

fn distinct(parser: &mut Parser, left: &Expr, make: fn(Box<Expr>, Box<Expr>) -> Expr) -> Result<Expr, ParserError> {
    let right = parser.parse_subexpr(POSTGRES.prec_value(Precedence::Is))?;
    Ok(make(Box::new(left.clone()), Box::new(right)))
}

/// Read as a call, which what comes later gives its meaning.
fn symmetric(parser: &mut Parser, expr: &Expr, precedence: u8, negated: bool) -> Result<Expr, ParserError> {
    let low = parser.parse_subexpr(precedence)?;
    parser.expect_keyword(Keyword::AND)?;
    let high = parser.parse_subexpr(precedence)?;
    let between = call(BETWEEN_SYMMETRIC, vec![expr.clone(), low, high]);
    Ok(match negated {
        true => Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(between) },
        false => between,
    })
}

/// A call of a function by its exact name.
pub(crate) fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::with_quote('"', name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: vec![] }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

fn is_isnull(token: &Token) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("isnull"))
}

fn is_to(token: &Token) -> bool {
    matches!(token, Token::Word(word) if word.keyword == Keyword::TO)
}

fn is_comparison(token: &Token) -> bool {
    matches!(token, Token::Eq | Token::Neq | Token::Lt | Token::LtEq | Token::Gt | Token::GtEq)
}

/// A comparison without parentheses around it.
fn is_open_comparison(expr: &Expr) -> bool {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(
        expr,
        Expr::BinaryOp { op: Eq | NotEq | Lt | LtEq | Gt | GtEq, .. } | Expr::AnyOp { .. } | Expr::AllOp { .. }
    )
}
