//! Checking SQL files without a server: parse, plan, and keep going.

use ebap_catalog::Catalog;

use crate::{Error, Result, Statement, apply, parse, planner::plan_query};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckError {
    pub file: String,
    /// From 1.
    pub line: usize,
    pub column: usize,
    pub error: Error,
}

/// Applies the files in order to an empty catalog. Gives the number of statements, and every error: a
/// file that does not parse is left out whole, a statement that fails alone. `complete` gives a statement the columns that a
/// registry knows, where it has to.
pub fn check(
    files: &[(String, String)],
    mut complete: impl FnMut(&Catalog, Statement) -> Result<Statement>,
) -> (usize, Vec<CheckError>) {
    let (mut catalog, mut statements, mut errors) = (Catalog::default(), 0, Vec::new());
    for (file, text) in files {
        let parsed = match parse(text) {
            Ok(parsed) => parsed,
            Err(error) => {
                errors.push(located(file, text, 0, error));
                continue;
            }
        };
        for one in parsed {
            statements += 1;
            let outcome = match &one.statement {
                Statement::Create(_)
                | Statement::Alter { .. }
                | Statement::Drop { .. }
                | Statement::Comment { .. }
                | Statement::Role(_) => {
                    let complete = complete(&catalog, one.statement.clone());
                    let applied = complete.and_then(|statement| apply(&catalog, &statement, &one.text, 0));
                    applied.map(|applied| catalog = applied.catalog)
                }
                Statement::Query(query) => plan_query(&catalog, query, &one.text),
                Statement::Copy(copy) => plan_query(&catalog, &copy.query, copy.text.as_ref().unwrap_or(&one.text)),
                Statement::Declare(declare) => plan_query(&catalog, &declare.query, &one.text),
                Statement::Show(_)
                | Statement::ShowCreate { .. }
                | Statement::Describe { .. }
                | Statement::Flush
                | Statement::Explain { .. }
                | Statement::ExplainView { .. }
                | Statement::ExplainAlert { .. }
                | Statement::Fetch { .. }
                | Statement::Close { .. }
                | Statement::Prepare(_)
                | Statement::Execute { .. } => Ok(()),
            };
            if let Err(error) = outcome {
                errors.push(located(file, text, one.start, error));
            }
        }
    }
    (statements, errors)
}

fn located(file: &str, text: &str, start: usize, error: Error) -> CheckError {
    let before = text[..start].chars().count();
    let characters = before + error.position.map_or(0, |position| position - 1);
    let upto: String = text.chars().take(characters).collect();
    let line = upto.matches('\n').count() + 1;
    let column = upto.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    CheckError { file: file.to_owned(), line, column, error }
}
