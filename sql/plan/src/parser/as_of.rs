//! `table FOR SYSTEM_TIME AS OF time`, which PostgreSQL's grammar does not have, by way of what it has: a function in
//! `FROM`, which becomes the version of the table in the syntax tree. As that is printed, the name of the table may
//! stand before the clause or behind it.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::{
    ast::{Expr, FunctionArg, FunctionArgExpr, ObjectName, Query, TableFactor, TableVersion, VisitMut, VisitorMut},
    parser::Parser,
    tokenizer::{Token, TokenWithSpan},
};

use super::dialect::Postgres;

const FUNCTION: &str = "__as_of";
const WORDS: [&str; 4] = ["FOR", "SYSTEM_TIME", "AS", "OF"];

/// `table FOR SYSTEM_TIME AS OF time` becomes `__as_of(table, time)`.
pub(super) fn as_function(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut tokens = tokens;
    while let Some(at) = find(&tokens) {
        let Some((from, to, call)) = call(&tokens, at) else { return tokens };
        tokens.splice(from..to, call);
    }
    tokens
}

/// Where the clause stands.
pub(super) fn find(tokens: &[TokenWithSpan]) -> Option<usize> {
    let word = |token: &TokenWithSpan, word: &str| match &token.token {
        Token::Word(found) => found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word),
        _ => false,
    };
    tokens.windows(WORDS.len()).position(|window| window.iter().zip(WORDS).all(|(token, name)| word(token, name)))
}

/// The tokens that are replaced, and by what.
fn call(tokens: &[TokenWithSpan], at: usize) -> Option<(usize, usize, Vec<TokenWithSpan>)> {
    let time = at + WORDS.len();
    let mut parser = Parser::new(&Postgres).with_tokens_with_locations(tokens[time..].to_vec());
    parser.parse_expr().ok()?;
    let to = time + parser.index();
    let is_as =
        |token: &TokenWithSpan| matches!(&token.token, Token::Word(word) if word.value.eq_ignore_ascii_case("as"));
    let aliased = at >= 3 && is_as(&tokens[at - 2]);
    let end = if aliased { at - 2 } else { at };
    let mut from = end.checked_sub(1)?;
    while from >= 2 && tokens[from - 1].token == Token::Period {
        from -= 2;
    }
    let like = |token: Token| TokenWithSpan { token, span: tokens[at].span };
    let mut call = vec![like(Token::make_word(FUNCTION, None)), like(Token::LParen)];
    call.extend_from_slice(&tokens[from..end]);
    call.push(like(Token::Comma));
    call.extend_from_slice(&tokens[time..to]);
    call.push(like(Token::RParen));
    call.extend_from_slice(&tokens[end..at]);
    Some((from, to, call))
}

/// The function as the version of its table.
pub(super) fn as_version(query: &mut Query) {
    let _ = VisitMut::visit(query, &mut Versions);
}

struct Versions;

impl VisitorMut for Versions {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let TableFactor::Table { name, args, version, alias, .. } = factor else { return ControlFlow::Continue(()) };
        if name.to_string() != FUNCTION {
            return ControlFlow::Continue(());
        }
        let given = args.take().map(|args| args.args).unwrap_or_default();
        let mut exprs = given.into_iter().filter_map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
            _ => None,
        });
        let table = match exprs.next() {
            Some(Expr::Identifier(ident)) => vec![ident],
            Some(Expr::CompoundIdentifier(parts)) => parts,
            _ => return ControlFlow::Continue(()),
        };
        *name = ObjectName::from(table);
        *version = exprs.next().map(TableVersion::ForSystemTimeAsOf);
        if let Some(alias) = alias {
            alias.explicit = true;
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{Statement, apply::canonical, parse};

    fn printed(sql: &str) -> String {
        match parse(sql).expect(sql).pop().expect("a statement").statement {
            Statement::Create(create) => canonical(&create),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_clause_is_read_before_the_name_of_the_table_and_behind_it() {
        for join in [
            "users FOR SYSTEM_TIME AS OF s.at AS u ON u.id = s.id",
            "users FOR SYSTEM_TIME AS OF s.at u ON u.id = s.id",
            "users AS u for system_time as of s.at ON u.id = s.id",
        ] {
            let text = printed(&format!("CREATE MATERIALIZED VIEW v AS SELECT s.id FROM s JOIN {join}"));
            assert!(text.contains("JOIN users AS u FOR SYSTEM_TIME AS OF s.at ON u.id = s.id"), "{text}");
            assert_eq!(printed(&text), text);
        }
        let two = "CREATE MATERIALIZED VIEW v AS SELECT s.id FROM s LEFT JOIN public.users FOR SYSTEM_TIME AS OF PROCTIME() ON true
                   JOIN a FOR SYSTEM_TIME AS OF at ON true";
        let text = printed(two);
        assert!(text.contains("public.users FOR SYSTEM_TIME AS OF PROCTIME()"), "{text}");
        assert!(text.contains("JOIN a FOR SYSTEM_TIME AS OF at"), "{text}");
        assert_eq!(printed(&text), text);
    }
}
