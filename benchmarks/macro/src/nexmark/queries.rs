//! The queries of Nexmark, as they stand in `benchmarks/nexmark`. q6 is not there, as the public suite has none that
//! runs; q10 writes files and q13 joins a file, which measures something else.

/// `CREATE STREAM nexmark`, with `${BOOTSTRAP}` and `${TOPIC}`.
const STREAM: &str = include_str!("../../../nexmark/stream.sql");

#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) name: &'static str,
    /// `CREATE MATERIALIZED VIEW` of that name.
    pub(crate) view: &'static str,
    /// Where the view's own query is not one that plain DataFusion runs.
    batch: Option<&'static str>,
    pub(crate) ties: Option<Ties>,
}

/// Of a view whose order does not tell all rows apart: any of those that tie is right.
#[derive(Debug)]
pub(crate) struct Ties {
    /// Columns in which the view is the batch answer.
    pub(crate) decided: &'static str,
    /// A query that gives every row which may be there.
    pub(crate) rows: &'static str,
}

macro_rules! text {
    ($name:literal) => {
        include_str!(concat!("../../../nexmark/", $name, ".sql"))
    };
}

macro_rules! query {
    ($name:literal) => {
        Query { name: $name, view: text!($name), batch: None, ties: None }
    };
    ($name:literal, batch $batch:literal) => {
        Query { name: $name, view: text!($name), batch: Some(text!($batch)), ties: None }
    };
    ($name:literal, ties $rows:literal, $decided:literal) => {
        Query {
            name: $name,
            view: text!($name),
            batch: None,
            ties: Some(Ties { decided: $decided, rows: text!($rows) }),
        }
    };
}

pub(crate) const QUERIES: [Query; 20] = [
    query!("q0"),
    query!("q1"),
    query!("q2"),
    query!("q3"),
    query!("q4"),
    query!("q5", batch "q5.batch"),
    query!("q7", batch "q7.batch"),
    query!("q8", batch "q8.batch"),
    query!("q9", ties "q9.ties", "id price bid_dateTime"),
    query!("q11", batch "q11.batch"),
    query!("q12"),
    query!("q14"),
    query!("q15"),
    query!("q16"),
    query!("q17"),
    query!("q18", ties "q18.ties", "auction bidder dateTime"),
    query!("q19", ties "q19.ties", "auction price rank_number"),
    query!("q20"),
    query!("q21"),
    query!("q22"),
];

pub(crate) fn stream(bootstrap: &str, topic: &str) -> String {
    STREAM.replace("${BOOTSTRAP}", bootstrap).replace("${TOPIC}", topic)
}

impl Query {
    /// A query with the same answer over a table that is all there.
    pub(crate) fn batch(&self) -> String {
        let own = || {
            let (_, query) = self.view.split_once("\nWITH ").unwrap_or_default();
            // DataFusion's patterns of time are those of C.
            let query = query.replace("YYYY-MM-DD", "%Y-%m-%d").replace("HH24:MI", "%H:%M");
            format!("WITH {query}")
        };
        self.batch.map_or_else(own, str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_query_is_one_that_a_view_may_have() {
        let mut files = vec![("stream.sql".to_owned(), stream("127.0.0.1:9092", "nexmark"))];
        files.extend(QUERIES.iter().map(|query| (format!("{}.sql", query.name), query.view.to_owned())));
        let (statements, errors) = ebap_sql::check(&files, |_, statement| Ok(statement));
        let errors: Vec<_> = errors.iter().map(|found| format!("{}: {}", found.file, found.error)).collect();
        assert_eq!((statements, errors), (QUERIES.len() + 1, Vec::new()));
    }
}
