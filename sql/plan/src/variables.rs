//! `${NAME}` and `${NAME:-default}` in migration files.

use crate::{Error, Result};

/// Puts in the values. A default may hold quotes and, in balance, braces.
///
/// # Errors
/// 42704 for a variable without value and default, with its position; 42601 where `${` is not closed.
pub fn substitute_variables(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        out.push_str(&rest[..at]);
        let position = text.len() - rest.len() + at;
        let position = text[..position].chars().count() + 1;
        let body = &rest[at + 2..];
        let end = closing(body).ok_or_else(|| Error::syntax("variable is not closed with \"}\"").at(position))?;
        let (name, default) = match body[..end].split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (&body[..end], None),
        };
        match (lookup(name).filter(|value| default.is_none() || !value.is_empty()), default) {
            (Some(value), _) => out.push_str(&value),
            (None, Some(default)) => {
                out.push_str(&substitute_variables(default, &lookup as &dyn Fn(&str) -> Option<String>)?)
            }
            (None, None) => {
                let error = Error::new("42704", format!("variable \"{name}\" is not set")).at(position);
                return Err(error.hint(format!("Set the environment variable {name}, or write ${{{name}:-default}}.")));
            }
        }
        rest = &body[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

fn closing(body: &str) -> Option<usize> {
    let mut open = 0;
    for (at, c) in body.char_indices() {
        match c {
            '{' => open += 1,
            '}' if open == 0 => return Some(at),
            '}' => open -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        (name == "TOPIC").then(|| "raw".to_owned())
    }

    #[test]
    fn values_and_defaults_are_put_in() {
        let text = "topic = '${TOPIC}', x = ${RATE:-'10', y = '${TOPIC}'}";
        assert_eq!(substitute_variables(text, lookup).expect("set"), "topic = 'raw', x = '10', y = 'raw'");
    }

    #[test]
    fn a_missing_variable_is_named_with_its_position() {
        let error = substitute_variables("ab ${NOPE}", lookup).expect_err("missing");
        assert_eq!(
            (error.sqlstate, error.message.as_str(), error.position),
            ("42704", "variable \"NOPE\" is not set", Some(4))
        );
        assert_eq!(substitute_variables("${OPEN", lookup).expect_err("open").sqlstate, "42601");
    }
}
