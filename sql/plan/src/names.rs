//! Names: quoting them, and finding the one that was meant.

/// The nearest of the candidates, where one is near.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = (name.chars().count() / 3).clamp(1, 3);
    candidates
        .map(|other| (distance(name, other), other))
        .filter(|(far, _)| *far > 0 && *far <= most)
        .min()
        .map(|(_, other)| other)
}

fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let next = (diagonal + usize::from(x != *y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = row[j + 1];
            row[j + 1] = next;
        }
    }
    row[b.len()]
}

/// As SQL writes it: quoted only where it must be.
pub fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '$';
    let starts = name.chars().next().is_some_and(|c| c.is_ascii_lowercase() || c == '_');
    if starts && name.chars().all(plain) && !RESERVED.contains(&name) {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Words that cannot stand as a column's name without quotes.
const RESERVED: [&str; 24] = [
    "all",
    "and",
    "as",
    "case",
    "cast",
    "check",
    "constraint",
    "create",
    "else",
    "end",
    "from",
    "group",
    "having",
    "in",
    "limit",
    "not",
    "null",
    "or",
    "order",
    "primary",
    "select",
    "then",
    "when",
    "where",
];
