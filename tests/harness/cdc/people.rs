//! The table `people` of PostgreSQL, and changes of it that never end.

use std::collections::BTreeMap;

const TIERS: [&str; 4] = ["free", "silver", "gold", "black"];
/// One change in two is of one of so many, so that rows change often while events meet them.
const HOT: usize = 500;

/// What is known of somebody. `version` rises with each change of any row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub version: i64,
    pub name: String,
    pub tier: String,
    /// As PostgreSQL prints it.
    pub balance: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Insert {
        id: i64,
        row: Row,
    },
    Update {
        id: i64,
        row: Row,
    },
    Delete {
        id: i64,
    },
    /// The primary key itself changes.
    Move {
        from: i64,
        to: i64,
        row: Row,
    },
}

/// Everybody, as the table has them behind the changes that were drawn so far.
#[derive(Debug)]
pub struct People {
    state: u64,
    version: i64,
    rows: BTreeMap<i64, Row>,
    /// Those who are there and those who are not, to draw one in a step.
    there: Vec<i64>,
    away: Vec<i64>,
}

impl Row {
    /// A row of its first version, from which what fills the table has the same.
    pub fn new(id: i64, version: i64) -> Self {
        let mut row = Self { version, name: format!("p{id}.{version}"), tier: String::new(), balance: String::new() };
        row.set(version);
        row
    }

    /// What an update changes: not the name.
    fn set(&mut self, version: i64) {
        self.version = version;
        TIERS[version.rem_euclid(4) as usize].clone_into(&mut self.tier);
        self.balance = format!("{}.{:02}", version / 100, version % 100);
    }
}

impl Change {
    pub fn sql(&self) -> String {
        let set = |row: &Row| format!("version = {}, tier = '{}', balance = {}", row.version, row.tier, row.balance);
        match self {
            Self::Insert { id, row: Row { version, name, tier, balance } } => {
                format!("INSERT INTO people VALUES ({id}, {version}, '{name}', '{tier}', {balance})")
            }
            Self::Update { id, row } => format!("UPDATE people SET {} WHERE user_id = {id}", set(row)),
            Self::Delete { id } => format!("DELETE FROM people WHERE user_id = {id}"),
            Self::Move { from, to, row } => {
                format!("UPDATE people SET user_id = {to}, {} WHERE user_id = {from}", set(row))
            }
        }
    }

    /// Whose rows it changes.
    pub fn ids(&self) -> Vec<i64> {
        match self {
            Self::Insert { id, .. } | Self::Update { id, .. } | Self::Delete { id } => vec![*id],
            Self::Move { from, to, .. } => vec![*from, *to],
        }
    }

    /// That of the row which it leaves.
    pub fn version(&self) -> Option<i64> {
        match self {
            Self::Insert { row, .. } | Self::Update { row, .. } | Self::Move { row, .. } => Some(row.version),
            Self::Delete { .. } => None,
        }
    }
}

impl People {
    /// Ids from 1: the first are there, the spare ones are not yet.
    pub fn new(seed: u64, there: i64, spare: i64) -> Self {
        Self {
            state: seed,
            version: there,
            rows: (1..=there).map(|id| (id, Row::new(id, id))).collect(),
            there: (1..=there).collect(),
            away: (there + 1..=there + spare).collect(),
        }
    }

    /// Makes the table with whom there is at first.
    pub fn create_sql(&self) -> String {
        let count = self.rows.len();
        format!(
            "CREATE TABLE people (user_id BIGINT PRIMARY KEY, version BIGINT NOT NULL, name TEXT NOT NULL,
                 tier TEXT NOT NULL, balance NUMERIC(12, 2) NOT NULL);
             INSERT INTO people SELECT n, n, 'p' || n || '.' || n,
                 (ARRAY['{}'])[n % 4 + 1], n / 100.0 FROM generate_series(1, {count}) AS n",
            TIERS.join("','")
        )
    }

    /// Columns of a table of EBAP that follows it.
    pub fn columns() -> &'static str {
        "user_id BIGINT PRIMARY KEY, version BIGINT NOT NULL, name TEXT NOT NULL, tier TEXT NOT NULL,
         balance NUMERIC(12, 2) NOT NULL"
    }

    pub fn row(&self, id: i64) -> Option<&Row> {
        self.rows.get(&id)
    }

    /// All ids that there are, were or may be.
    pub fn ids(&self) -> std::ops::RangeInclusive<i64> {
        1..=(self.there.len() + self.away.len()) as i64
    }

    /// The next change: of a hundred 70 updates, 12 inserts, 12 deletes and 6 of the key, as far as there is somebody for it.
    pub fn change(&mut self) -> Change {
        self.version += 1;
        let version = self.version;
        let kind = self.below(100);
        if (kind < 70 || self.away.is_empty()) && !self.there.is_empty() {
            let at = self.pick(self.there.len());
            let id = self.there[at];
            let mut row = self.rows.get(&id).cloned().unwrap_or_else(|| Row::new(id, version));
            row.set(version);
            self.rows.insert(id, row.clone());
            return Change::Update { id, row };
        }
        if kind < 82 || self.there.is_empty() {
            let at = self.pick(self.away.len());
            let id = self.away.swap_remove(at);
            let row = Row::new(id, version);
            self.there.push(id);
            self.rows.insert(id, row.clone());
            return Change::Insert { id, row };
        }
        let at = self.pick(self.there.len());
        let id = self.there.swap_remove(at);
        let old = self.rows.remove(&id);
        if kind < 94 {
            self.away.push(id);
            return Change::Delete { id };
        }
        let place = self.pick(self.away.len());
        let to = std::mem::replace(&mut self.away[place], id);
        let mut row = old.unwrap_or_else(|| Row::new(id, version));
        row.set(version);
        self.there.push(to);
        self.rows.insert(to, row.clone());
        Change::Move { from: id, to, row }
    }

    /// One of so many places, half of the time one of the first.
    fn pick(&mut self, count: usize) -> usize {
        let narrow = self.below(2) == 0;
        let count = if narrow { count.min(HOT) } else { count };
        self.below(count as u64) as usize
    }

    /// SplitMix64: good enough to choose by, and the same everywhere.
    fn below(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % bound.max(1)
    }
}
