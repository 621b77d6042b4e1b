//! What a change event of a database says about the rows of its table, whatever it is written in.

/// What becomes of the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// `after` is the row of its key now.
    Put,
    /// There is no row of the key any more.
    Take,
    /// It is not about rows.
    Nothing,
}

impl Change {
    /// By Debezium's letter for it.
    ///
    /// # Errors
    /// The reason why the record is rejected.
    pub(crate) fn of(op: &str) -> Result<Self, String> {
        match op {
            // Read by a snapshot, created, updated.
            "r" | "c" | "u" => Ok(Self::Put),
            "d" => Ok(Self::Take),
            // A message that an application has written into the log of the database.
            "m" => Ok(Self::Nothing),
            // It names no key, and is in one partition alone: what other partitions held before it, and what they
            // get behind it, cannot be told apart.
            "t" => Err("TRUNCATE is not followed; DELETE the rows, or create the table again".to_owned()),
            other => Err(format!("the change has op \"{other}\", which is none of r, c, u, d, m, t")),
        }
    }
}
