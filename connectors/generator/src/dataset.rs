//! The data sets: which fields a record has and what stands in them.

mod any;
mod events;
mod metrics;
mod regions;
mod users;

use ebap_connector::Result;

use crate::{BadKind, Dataset, GeneratorOptions, draw::Draw, text};

pub(crate) const REGIONS: [&str; 8] = [
    "us-east-1",
    "us-west-2",
    "eu-west-1",
    "eu-central-1",
    "ap-south-1",
    "ap-northeast-1",
    "sa-east-1",
    "ca-central-1",
];
/// The regions' names for people, in their order. Some users say where they are by these.
pub(crate) const TITLES: [&str; 8] = [
    "Eastern United States",
    "Western United States",
    "Western Europe",
    "Central Europe",
    "South Asia",
    "Northeast Asia",
    "South America",
    "Canada",
];
/// Latitude and longitude of the regions, in their order.
pub(crate) const LOCATIONS: [&str; 8] = [
    "38.95,-77.45",
    "45.84,-119.70",
    "53.35,-6.26",
    "50.11,8.68",
    "19.08,72.88",
    "35.68,139.77",
    "-23.55,-46.63",
    "45.50,-73.57",
];
pub(crate) const PLATFORMS: [&str; 3] = ["ios", "android", "web"];
/// As often as they happen: half are views, a tenth are purchases.
pub(crate) const ACTIONS: [&str; 10] =
    ["view", "view", "view", "view", "view", "cart", "cart", "login", "login", "purchase"];
pub(crate) const SERVICES: [&str; 6] = ["checkout", "payment", "catalog", "search", "login", "gateway"];
pub(crate) const TIERS: [&str; 3] = ["free", "silver", "gold"];
pub(crate) const COUNTRIES: [&str; 8] = ["US", "CA", "IE", "DE", "IN", "JP", "BR", "FR"];
pub(crate) const ITEMS: u64 = 5_000;
pub(crate) const HOSTS: u64 = 16;

/// Sets what belongs to a user apart from what belongs to a row of the same number.
const USER_SALT: u64 = 0x75_73_65_72;

/// What a row is before any of its fields is drawn.
pub(crate) struct RowShape {
    pub(crate) row: u64,
    pub(crate) seed: u64,
    pub(crate) users: u64,
    pub(crate) event_time_us: i64,
    pub(crate) bad: Option<BadKind>,
}

impl RowShape {
    fn is_bad(&self, kind: BadKind) -> bool {
        self.bad == Some(kind)
    }

    /// Low numbers come more often, as some users do more than others.
    fn draw_user(&self, draw: &mut Draw) -> u64 {
        let at = draw.unit();
        (at * at * self.users as f64) as u64
    }

    /// What stays the same for a user over all rows.
    fn of_user(&self, user: u64) -> Draw {
        Draw::new(self.seed ^ USER_SALT, user)
    }
}

#[derive(Debug)]
pub(crate) enum Shape {
    Events,
    Metrics,
    Users,
    UserChanges,
    Regions,
    Any(any::Columns),
}

impl Shape {
    pub(crate) fn new(options: &GeneratorOptions) -> Result<Self> {
        Ok(match &options.dataset {
            Dataset::Events => Self::Events,
            Dataset::Metrics => Self::Metrics,
            Dataset::Users => Self::Users,
            Dataset::UserChanges => Self::UserChanges,
            Dataset::Regions => Self::Regions,
            Dataset::Any(schema) => Self::Any(any::Columns::new(schema)?),
        })
    }

    /// The ways in which a record of this shape can be bad; never empty.
    pub(crate) fn bad_kinds(&self) -> &[BadKind] {
        match self {
            Self::Events => &events::BAD_KINDS,
            Self::Metrics => &metrics::BAD_KINDS,
            Self::Users | Self::UserChanges => &users::BAD_KINDS,
            Self::Regions => &regions::BAD_KINDS,
            Self::Any(columns) => columns.bad_kinds(),
        }
    }

    pub(crate) fn write(&self, row: &RowShape, draw: &mut Draw, key: &mut Vec<u8>, value: &mut Vec<u8>) {
        match self {
            Self::Events => events::write(row, draw, key, value),
            Self::Metrics => metrics::write(row, draw, key, value),
            Self::Users => users::write(row, draw, key, value),
            Self::UserChanges => users::write_change(row, draw, key, value),
            Self::Regions => regions::write(row, key, value),
            Self::Any(columns) => columns.write(row, draw, value),
        }
    }
}

fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// `uN`: the user of the number N in a profile.
fn put_user_id(out: &mut Vec<u8>, user: u64) {
    out.push(b'u');
    text::integer(out, user);
}

/// `user-N`.
fn put_user(out: &mut Vec<u8>, user: u64) {
    put(out, "user-");
    text::integer(out, user);
}

fn put_time(out: &mut Vec<u8>, time_us: i64) {
    text::timestamp(out, time_us);
    out.push(b'Z');
}
