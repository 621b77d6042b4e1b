//! Which name of a record a declared column or field is read from.
//!
//! A name without quotes has no capital letters in SQL, and producers write `userId`. So a column takes what stands at
//! exactly its name, and where nothing does, what stands at a name that differs in capital letters alone. A name with
//! capitals was in quotes, and is taken exactly.

use arrow::datatypes::Fields;

/// The place in `names` of what is read for the field `name` of `declared`; none where nothing is. The last of two
/// equal names counts.
///
/// # Errors
/// The reason why it cannot be told: two names differ from it, and from each other, in capital letters alone. `path`
/// names the column.
pub(crate) fn place<'a>(
    names: impl DoubleEndedIterator<Item = &'a str> + ExactSizeIterator + Clone,
    declared: &Fields,
    name: &str,
    path: &str,
) -> Result<Option<usize>, String> {
    if let Some(at) = names.clone().rposition(|other| other == name) {
        return Ok(Some(at));
    }
    let mut found: Option<(usize, &str)> = None;
    for (at, other) in names.enumerate().filter(|(_, other)| folds_to(other, name)) {
        if declared.find(other).is_some() {
            continue;
        }
        match found {
            Some((_, first)) if first != other => {
                return Err(format!(
                    "column \"{path}\" may be \"{first}\" or \"{other}\" of the record; declare it in quotes, as it is there"
                ));
            }
            Some(_) | None => found = Some((at, other)),
        }
    }
    Ok(found.map(|(at, _)| at))
}

/// The one of the declared names that a name of a record is read for.
pub(crate) fn declared<'a>(mut names: impl Iterator<Item = &'a str> + Clone, key: &str) -> Option<usize> {
    names.clone().position(|name| name == key).or_else(|| names.position(|name| folds_to(key, name)))
}

/// Whether `name` is what SQL makes of `key` without quotes, and not `key` itself.
fn folds_to(key: &str, name: &str) -> bool {
    if key.is_ascii() {
        key.len() == name.len() && key != name && key.bytes().map(|byte| byte.to_ascii_lowercase()).eq(name.bytes())
    } else {
        key != name && key.to_lowercase() == name
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};

    use super::*;

    fn found(declared: &[&str], names: &[&str], name: &str) -> Result<Option<usize>, String> {
        let fields: Fields = declared.iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect();
        place(names.iter().copied(), &fields, name, name)
    }

    #[test]
    fn capital_letters_count_only_where_they_were_declared() {
        assert_eq!(found(&["userid"], &["userId", "x"], "userid"), Ok(Some(0)));
        assert_eq!(found(&["größe"], &["GRÖSSE", "GRÖßE"], "größe"), Ok(Some(1)));
        assert_eq!(found(&["userId"], &["userid", "USERID"], "userId"), Ok(None));
        assert_eq!(found(&["user_id"], &["userId"], "user_id"), Ok(None));
    }

    #[test]
    fn the_exact_name_goes_first_and_the_last_of_two_counts() {
        assert_eq!(found(&["userid"], &["userid", "userId"], "userid"), Ok(Some(0)));
        assert_eq!(found(&["userid"], &["userid", "userid", "userId"], "userid"), Ok(Some(1)));
        assert_eq!(found(&["userid"], &["userId", "userId"], "userid"), Ok(Some(1)));
    }

    #[test]
    fn a_name_belongs_to_the_column_that_has_it_exactly() {
        let declared = ["userid", "userId"];
        assert_eq!(found(&declared, &["userId"], "userid"), Ok(None));
        assert_eq!(found(&declared, &["userId", "UserId"], "userid"), Ok(Some(1)));
        assert_eq!(super::declared(declared.into_iter(), "userId"), Some(1));
        assert_eq!(super::declared(declared.into_iter(), "USERID"), Some(0));
        assert_eq!(super::declared(declared.into_iter(), "user"), None);
    }

    #[test]
    fn two_spellings_of_one_name_are_no_guess() {
        let reason = found(&["userid"], &["userId", "userID"], "userid").expect_err("ambiguous");
        assert!(reason.contains("\"userId\" or \"userID\""), "{reason}");
    }
}
