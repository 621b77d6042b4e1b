//! `CREATE`, `ALTER`, `DROP`, `COMMENT ON` and `SHOW` of EBAP's objects.

use datafusion::sql::sqlparser::{
    ast::{BinaryOperator, Expr},
    tokenizer::{Token, TokenWithSpan},
};
use ebap_catalog::{ObjectKind, ResumeFrom};

use super::{
    AlterAction, Body, ColumnDef, Create, OptionValue, SecretBody, ShowKind, SinkBody, SourceBody, Statement, ViewBody,
    WindowClause, WindowKind, alert, as_of, cursor::Cursor, flink, function, grant, role, types,
};
use crate::{Emit, Error, Result, SourceKind, laterals, planner::interval_us};

const KINDS: [(&[&str], ObjectKind); 8] = [
    (&["SECRET"], ObjectKind::Secret),
    (&["CONNECTION"], ObjectKind::Connection),
    (&["STREAM"], ObjectKind::Stream),
    (&["TABLE"], ObjectKind::Table),
    (&["MATERIALIZED", "VIEW"], ObjectKind::MaterializedView),
    (&["SINK"], ObjectKind::Sink),
    (&["FUNCTION"], ObjectKind::Function),
    (&["ALERT"], ObjectKind::Alert),
];

/// The kind of object named `ahead` tokens from here.
pub(super) fn kind_at(cursor: &Cursor<'_>, ahead: usize) -> Option<ObjectKind> {
    kind_and_length_at(cursor, ahead).map(|(kind, _)| kind)
}

/// With the number of its words.
pub(super) fn kind_and_length_at(cursor: &Cursor<'_>, ahead: usize) -> Option<(ObjectKind, usize)> {
    let matches =
        |words: &[&str]| words.iter().enumerate().all(|(at, word)| cursor.word(ahead + at).as_deref() == Some(*word));
    KINDS.iter().find(|(words, _)| matches(words)).map(|(words, kind)| (*kind, words.len()))
}

fn take_kind(cursor: &mut Cursor<'_>) -> Result<ObjectKind> {
    let kind = kind_at(cursor, 0).ok_or_else(|| cursor.unexpected())?;
    cursor.skip(if kind == ObjectKind::MaterializedView { 2 } else { 1 });
    Ok(kind)
}

/// `None` where the statement is not a `CREATE` of ours.
pub(super) fn create(cursor: &mut Cursor<'_>) -> Result<Option<Statement>> {
    if !cursor.at(&["CREATE"]) {
        return Ok(None);
    }
    let or_replace = cursor.at(&["CREATE", "OR", "REPLACE"]);
    let ahead = if or_replace { 3 } else { 1 };
    let Some(kind) = kind_at(cursor, ahead) else {
        let what = cursor.word(ahead).unwrap_or_default();
        let hint = "CREATE makes a STREAM, TABLE, MATERIALIZED VIEW, SINK, ALERT, FUNCTION, CONNECTION or SECRET.";
        return Err(match what.as_str() {
            "VIEW" => Error::unsupported("CREATE VIEW", "Use CREATE MATERIALIZED VIEW.").at(cursor.position()),
            "" => cursor.unexpected(),
            _ => Error::unsupported(format!("CREATE {what}"), hint).at(cursor.position()),
        });
    };
    cursor.skip(ahead);
    take_kind(cursor)?;
    let if_not_exists = cursor.take(&["IF", "NOT", "EXISTS"]);
    let name = new_name(cursor)?;
    let body = match kind {
        ObjectKind::Secret => Body::Secret(secret(cursor)?),
        ObjectKind::Connection => connection(cursor)?,
        ObjectKind::Stream => Body::Source(source(cursor, SourceKind::Stream)?),
        ObjectKind::Table => Body::Source(source(cursor, SourceKind::Table)?),
        ObjectKind::MaterializedView => Body::View(Box::new(view(cursor)?)),
        ObjectKind::Sink => Body::Sink(sink(cursor)?),
        ObjectKind::Function => Body::Function(Box::new(function::function(cursor)?)),
        ObjectKind::Alert => Body::Alert(Box::new(alert::alert(cursor)?)),
    };
    cursor.end()?;
    Ok(Some(Statement::Create(Box::new(Create { name, if_not_exists, or_replace, body }))))
}

/// The name of what is made. What a stream brings with it ends with a `$` and a word.
///
/// # Errors
/// 42939 for a name that would hide it.
pub(super) fn new_name(cursor: &mut Cursor<'_>) -> Result<String> {
    const RESERVED: [&str; 3] = ["$dlq", "$late", "$errors"];
    let position = cursor.position();
    let name = cursor.object_name()?;
    match RESERVED.iter().find(|end| name.ends_with(*end)) {
        Some(end) => Err(Error::new("42939", format!("name \"{name}\" is reserved"))
            .hint(format!("Names that end with {end} are those of the rows that a stream did not take."))
            .at(position)),
        None => Ok(name),
    }
}

fn secret(cursor: &mut Cursor<'_>) -> Result<SecretBody> {
    cursor.expect(&["AS"])?;
    if cursor.take(&["ENV"]) {
        Ok(SecretBody::Env(cursor.string()?))
    } else if cursor.take(&["FILE"]) {
        Ok(SecretBody::File(cursor.string()?))
    } else {
        Ok(SecretBody::Literal(cursor.string()?))
    }
}

fn connection(cursor: &mut Cursor<'_>) -> Result<Body> {
    cursor.expect(&["TO"])?;
    let kind = cursor.identifier()?;
    Ok(Body::Connection { kind, options: options(cursor)? })
}

/// `( name = value, … )`
pub(super) fn options(cursor: &mut Cursor<'_>) -> Result<Vec<OptionValue>> {
    let inside = cursor.group()?;
    let mut list = cursor.inside(inside);
    let mut found: Vec<OptionValue> = Vec::new();
    while !list.finished() {
        let position = list.position();
        let mut name = list.identifier()?;
        while list.take_token(&Token::Period) {
            name.push('.');
            name.push_str(&list.identifier()?);
        }
        list.expect_token(&Token::Eq)?;
        let secret = list.take(&["SECRET"]);
        let value = value(&mut list)?;
        if found.iter().any(|other| other.name == name) {
            return Err(Error::new("42701", format!("option \"{name}\" specified more than once")).at(position));
        }
        found.push(OptionValue { name, value, secret });
        if !list.take_token(&Token::Comma) {
            break;
        }
    }
    list.end()?;
    Ok(found)
}

fn value(list: &mut Cursor<'_>) -> Result<String> {
    let unexpected = list.unexpected();
    let minus = list.take_token(&Token::Minus);
    Ok(match list.next()? {
        Token::Number(text, _) if minus => format!("-{text}"),
        Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) if !minus => text,
        Token::Number(text, _) => text,
        Token::Word(word) if !minus && word.value.eq_ignore_ascii_case("interval") && word.quote_style.is_none() => {
            list.string()?
        }
        Token::Word(word) if !minus => {
            if word.quote_style.is_some() {
                word.value
            } else {
                word.value.to_lowercase()
            }
        }
        _ => return Err(unexpected),
    })
}

fn source(cursor: &mut Cursor<'_>, kind: SourceKind) -> Result<SourceBody> {
    let mut body = SourceBody {
        kind,
        inferred: !cursor.is(&Token::LParen),
        columns: Vec::new(),
        checks: Vec::new(),
        primary_key: Vec::new(),
        watermark: None,
        options: Vec::new(),
    };
    if !body.inferred {
        let inside = cursor.group()?;
        let mut list = cursor.inside(inside);
        while !list.finished() {
            element(&mut list, &mut body)?;
            if !list.take_token(&Token::Comma) {
                break;
            }
        }
        list.end()?;
    }
    cursor.expect(&["WITH"])?;
    body.options = options(cursor)?;
    Ok(body)
}

fn element(list: &mut Cursor<'_>, body: &mut SourceBody) -> Result<()> {
    if !body.inferred && list.take_token(&Token::Mul) {
        body.inferred = true;
        return Ok(());
    }
    if list.at(&["WATERMARK", "FOR"]) {
        let position = list.position();
        list.skip(2);
        let column = list.identifier()?;
        list.expect(&["AS"])?;
        let expr = list.expr()?;
        let delay = watermark_delay(&column, &expr).map_err(|error| error.at(position))?;
        if body.watermark.replace((column, delay)).is_some() {
            return Err(Error::syntax("a stream has one watermark").at(position));
        }
        return Ok(());
    }
    let name = if list.take(&["CONSTRAINT"]) { Some(list.identifier()?) } else { None };
    if list.at(&["CHECK"]) {
        list.skip(1);
        body.checks.push((name, parenthesised(list)?));
        return Ok(());
    }
    if list.take(&["PRIMARY", "KEY"]) {
        let inside = list.group()?;
        let mut columns = list.inside(inside);
        loop {
            body.primary_key.push(columns.identifier()?);
            if !columns.take_token(&Token::Comma) {
                break;
            }
        }
        return columns.end();
    }
    if name.is_some() {
        return Err(list.unexpected().detail("Expected CHECK or PRIMARY KEY."));
    }
    body.columns.push(column(list)?);
    Ok(())
}

fn parenthesised(list: &mut Cursor<'_>) -> Result<Expr> {
    let inside = list.group()?;
    let mut expr = list.inside(inside);
    let found = expr.expr()?;
    expr.end()?;
    Ok(found)
}

fn column(list: &mut Cursor<'_>) -> Result<ColumnDef> {
    let name = list.identifier()?;
    let column_type = types::column_type(list)?;
    let mut column = ColumnDef {
        name,
        column_type,
        not_null: false,
        pii: None,
        checks: Vec::new(),
        computed: None,
        primary_key: false,
    };
    loop {
        if list.take(&["NOT", "NULL"]) {
            column.not_null = true;
        } else if list.take(&["NULL"]) {
        } else if list.take(&["PRIMARY", "KEY"]) {
            column.primary_key = true;
        } else if list.at(&["PII"]) {
            column.pii = types::pii(list)?;
        } else if list.take(&["AS"]) {
            column.computed = Some(parenthesised(list)?);
        } else if list.at(&["CHECK"]) || list.at(&["CONSTRAINT"]) {
            let name = if list.take(&["CONSTRAINT"]) { Some(list.identifier()?) } else { None };
            list.expect(&["CHECK"])?;
            column.checks.push((name, parenthesised(list)?));
        } else {
            return Ok(column);
        }
    }
}

/// `column` or `column - INTERVAL '…'`.
fn watermark_delay(column: &str, expr: &Expr) -> Result<i64> {
    let wrong = || {
        Error::unsupported(
            format!("a watermark of the form {expr}"),
            format!("Write {column} - INTERVAL '10 minutes', or {column}."),
        )
    };
    let is_column =
        |expr: &Expr| matches!(expr, Expr::Identifier(ident) if ident.value.to_lowercase() == column.to_lowercase());
    match expr {
        expr if is_column(expr) => Ok(0),
        Expr::BinaryOp { left, op: BinaryOperator::Minus, right } if is_column(left) => {
            interval_us(right).map(|(us, _)| us).filter(|us| *us >= 0).ok_or_else(wrong)
        }
        _ => Err(wrong()),
    }
}

fn view(cursor: &mut Cursor<'_>) -> Result<ViewBody> {
    let mut list = Vec::new();
    if cursor.take(&["WITH"]) {
        list = options(cursor)?;
    }
    cursor.expect(&["AS"])?;
    let emit = take_emit(cursor)?;
    let window = take_window(cursor)?;
    cursor.replace(flink::plain_windows);
    cursor.replace(as_of::as_function);
    let mut query = cursor.query()?;
    as_of::as_version(&mut query);
    laterals::named(query.as_mut());
    Ok(ViewBody { options: list, query, window, emit })
}

/// Takes `EMIT …` off the end.
fn take_emit(cursor: &mut Cursor<'_>) -> Result<Emit> {
    let Some(at) = top_level(cursor.rest(), &["EMIT"]) else { return Ok(Emit::Update) };
    let end = cursor.rest().len();
    let tokens = cursor.cut(at, end);
    let mut clause = cursor.inside(tokens);
    clause.skip(1);
    let emit = if clause.take(&["ON", "WINDOW", "CLOSE"]) || clause.take(&["FINAL"]) {
        Emit::WindowClose
    } else if clause.take(&["ON", "UPDATE"]) || clause.take(&["CHANGES"]) {
        Emit::Update
    } else {
        return Err(clause.unexpected().detail("Expected ON UPDATE or ON WINDOW CLOSE."));
    };
    clause.end()?;
    Ok(emit)
}

/// Takes `WINDOW TUMBLE (time, size, …)`, `HOP` or `SESSION` out of the query.
fn take_window(cursor: &mut Cursor<'_>) -> Result<Option<WindowClause>> {
    let found = [WindowKind::Tumble, WindowKind::Hop, WindowKind::Session]
        .into_iter()
        .find_map(|kind| top_level(cursor.rest(), &["WINDOW", kind.name()]).map(|at| (kind, at)));
    let Some((kind, at)) = found else { return Ok(None) };
    let mut behind = cursor.inside(cursor.rest()[at + 2..].to_vec());
    let length = behind.rest().len();
    let inside = behind.group()?;
    let used = length - behind.rest().len();
    cursor.cut(at, at + 2 + used);
    let mut list = cursor.inside(inside);
    let time = list.expr()?;
    let mut args = Vec::new();
    while list.take_token(&Token::Comma) {
        args.push(list.expr()?);
    }
    list.end()?;
    let (least, example) = match kind {
        WindowKind::Tumble => (1, "WINDOW TUMBLE (timestamp, INTERVAL '1 minute')"),
        WindowKind::Hop => {
            (2, "WINDOW HOP (timestamp, INTERVAL '1 minute', INTERVAL '1 hour'), the slide before the size")
        }
        WindowKind::Session => (1, "WINDOW SESSION (timestamp, INTERVAL '30 minutes')"),
    };
    if args.len() < least {
        let needs = match kind {
            WindowKind::Tumble => "a time column and at least one size",
            WindowKind::Hop => "a time column, a slide and a size",
            WindowKind::Session => "a time column and a gap",
        };
        return Err(Error::syntax(format!("WINDOW {} needs {needs}", kind.name())).hint(format!("Write {example}.")));
    }
    Ok(Some(WindowClause { kind, time, args }))
}

/// Where these words stand outside of all parentheses, last.
fn top_level(tokens: &[TokenWithSpan], words: &[&str]) -> Option<usize> {
    let mut depth = 0;
    let mut found = None;
    for (at, token) in tokens.iter().enumerate() {
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            Token::Word(_) if depth == 0 => {
                let matches = words.iter().enumerate().all(|(ahead, word)| {
                    match tokens.get(at + ahead).map(|token| &token.token) {
                        Some(Token::Word(found)) => {
                            found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word)
                        }
                        _ => false,
                    }
                });
                if matches {
                    found = Some(at);
                }
            }
            _ => {}
        }
    }
    found
}

fn sink(cursor: &mut Cursor<'_>) -> Result<SinkBody> {
    cursor.expect(&["FROM"])?;
    let from = cursor.object_name()?;
    let mut partitions = Vec::new();
    if cursor.take(&["PARTITIONED", "BY"]) {
        let inside = cursor.group()?;
        let mut list = cursor.inside(inside);
        loop {
            let position = list.position();
            let first = list.identifier()?;
            if list.is(&Token::LParen) {
                if !["day", "hour", "month", "year"].contains(&first.as_str()) {
                    return Err(Error::unsupported(
                        format!("partition transform {first}"),
                        "Use day, hour, month, year or a column.",
                    )
                    .at(position));
                }
                let argument = list.group()?;
                let mut argument = list.inside(argument);
                partitions.push((argument.identifier()?, first));
                argument.end()?;
            } else {
                partitions.push((first, "identity".to_owned()));
            }
            if !list.take_token(&Token::Comma) {
                break;
            }
        }
        list.end()?;
    }
    cursor.expect(&["WITH"])?;
    Ok(SinkBody { from, partitions, options: options(cursor)? })
}

pub(super) fn drop(cursor: &mut Cursor<'_>, kind: ObjectKind) -> Result<Statement> {
    cursor.skip(1);
    take_kind(cursor)?;
    let if_exists = cursor.take(&["IF", "EXISTS"]);
    let names = if kind == ObjectKind::Function {
        grant::functions_named(cursor)?
    } else {
        let mut names = vec![cursor.object_name()?];
        while cursor.take_token(&Token::Comma) {
            names.push(cursor.object_name()?);
        }
        names
    };
    let cascade = cursor.take(&["CASCADE"]);
    if !cascade {
        cursor.take(&["RESTRICT"]);
    }
    cursor.end()?;
    Ok(Statement::Drop { kind, names, if_exists, cascade })
}

pub(super) fn alter(cursor: &mut Cursor<'_>, kind: ObjectKind) -> Result<Statement> {
    cursor.skip(1);
    let what = cursor.position();
    take_kind(cursor)?;
    if let Some(statement) = owner(cursor, kind)? {
        return Ok(statement);
    }
    let instead = match kind {
        ObjectKind::Secret | ObjectKind::Connection => Some("Drop it and create it again."),
        ObjectKind::Function => Some("Use CREATE OR REPLACE FUNCTION."),
        ObjectKind::Stream
        | ObjectKind::Table
        | ObjectKind::MaterializedView
        | ObjectKind::Sink
        | ObjectKind::Alert => None,
    };
    if let Some(instead) = instead {
        let construct = format!("ALTER {}", kind.to_string().to_uppercase());
        return Err(Error::unsupported(construct, instead).at(what));
    }
    let if_exists = cursor.take(&["IF", "EXISTS"]);
    let name = cursor.object_name()?;
    let position = cursor.position();
    let action = if cursor.take(&["PAUSE"]) {
        AlterAction::Pause
    } else if matches!(kind, ObjectKind::Stream | ObjectKind::Table) && cursor.take(&["RESUME", "FROM", "EARLIEST"]) {
        AlterAction::ResumeFrom(ResumeFrom::Earliest)
    } else if matches!(kind, ObjectKind::Stream | ObjectKind::Table) && cursor.take(&["RESUME", "FROM", "LATEST"]) {
        AlterAction::ResumeFrom(ResumeFrom::Latest)
    } else if cursor.take(&["RESUME"]) {
        AlterAction::Resume
    } else if cursor.take(&["REBUILD"]) {
        if kind != ObjectKind::Sink {
            let construct = format!("REBUILD of a {kind}");
            return Err(Error::unsupported(construct, "Sinks on views can be rebuilt.").at(position));
        }
        AlterAction::Rebuild
    } else if cursor.take(&["SWAP"]) {
        cursor.expect(&["WITH"])?;
        let other = cursor.object_name()?;
        if kind != ObjectKind::MaterializedView {
            let construct = format!("SWAP WITH of a {kind}");
            return Err(Error::unsupported(construct, "Materialized views can be swapped.").at(position));
        }
        AlterAction::SwapWith(other)
    } else if kind == ObjectKind::Alert && cursor.take(&["SILENCE", "OFF"]) {
        AlterAction::Silence(None)
    } else if kind == ObjectKind::Alert && cursor.take(&["SILENCE", "FOR"]) {
        AlterAction::Silence(Some(alert::duration(cursor)?.1))
    } else {
        let Some(word) = cursor.word(0) else { return Err(cursor.unexpected()) };
        let construct = format!("ALTER {} ... {word}", kind.to_string().to_uppercase());
        let forms = match kind {
            ObjectKind::Alert => "ALTER ALERT has PAUSE, RESUME, SILENCE FOR INTERVAL '1 hour' and SILENCE OFF.",
            _ => "ALTER has PAUSE and RESUME, SWAP WITH for materialized views, and REBUILD for sinks.",
        };
        return Err(Error::unsupported(construct, forms).at(position));
    };
    cursor.end()?;
    Ok(Statement::Alter { kind, name, if_exists, action })
}

/// `[IF EXISTS] name OWNER TO role`, of any kind. Moves only where it is that.
fn owner(cursor: &mut Cursor<'_>, kind: ObjectKind) -> Result<Option<Statement>> {
    let is_owner = (0..cursor.rest().len())
        .any(|ahead| cursor.word(ahead).as_deref() == Some("OWNER") && cursor.word(ahead + 1).as_deref() == Some("TO"));
    if !is_owner {
        return Ok(None);
    }
    let if_exists = cursor.take(&["IF", "EXISTS"]);
    let name = cursor.object_name()?;
    if kind == ObjectKind::Function && cursor.is(&Token::LParen) {
        cursor.group()?;
    }
    cursor.expect(&["OWNER", "TO"])?;
    let role = role::role_name(cursor)?;
    cursor.end()?;
    Ok(Some(Statement::Alter { kind, name, if_exists, action: AlterAction::OwnerTo(role) }))
}

pub(super) fn comment(cursor: &mut Cursor<'_>) -> Result<Statement> {
    cursor.skip(2);
    let (kind, name, column) = if cursor.take(&["COLUMN"]) {
        let first = cursor.identifier()?;
        cursor.expect_token(&Token::Period)?;
        let second = cursor.identifier()?;
        match cursor.take_token(&Token::Period) {
            true => (ObjectKind::Stream, second, Some(cursor.identifier()?)),
            false => (ObjectKind::Stream, first, Some(second)),
        }
    } else {
        (take_kind(cursor)?, cursor.object_name()?, None)
    };
    cursor.expect(&["IS"])?;
    let text = if cursor.take(&["NULL"]) { None } else { Some(cursor.string()?) };
    cursor.end()?;
    Ok(Statement::Comment { kind, name, column, text })
}

/// `None` where it is a setting, which the server shows.
pub(super) fn show(cursor: &mut Cursor<'_>) -> Result<Option<Statement>> {
    if cursor.at(&["SHOW", "CREATE"]) {
        cursor.skip(2);
        let kind = if kind_at(cursor, 0).is_some() { Some(take_kind(cursor)?) } else { None };
        let name = cursor.object_name()?;
        cursor.end()?;
        return Ok(Some(Statement::ShowCreate { kind, name }));
    }
    let plurals: [(&[&str], ShowKind); 9] = [
        (&["SECRETS"], ShowKind::Objects(ObjectKind::Secret)),
        (&["CONNECTIONS"], ShowKind::Objects(ObjectKind::Connection)),
        (&["STREAMS"], ShowKind::Objects(ObjectKind::Stream)),
        (&["TABLES"], ShowKind::Objects(ObjectKind::Table)),
        (&["MATERIALIZED", "VIEWS"], ShowKind::Objects(ObjectKind::MaterializedView)),
        (&["SINKS"], ShowKind::Objects(ObjectKind::Sink)),
        (&["FUNCTIONS"], ShowKind::Objects(ObjectKind::Function)),
        (&["JOBS"], ShowKind::Jobs),
        (&["ALERTS"], ShowKind::Alerts),
    ];
    for (words, show) in plurals {
        if words.iter().enumerate().all(|(at, word)| cursor.word(1 + at).as_deref() == Some(*word)) {
            cursor.skip(1 + words.len());
            cursor.end()?;
            return Ok(Some(Statement::Show(show)));
        }
    }
    Ok(None)
}
