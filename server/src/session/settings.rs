//! The settings of a session: which there are, what they may be, and what the client is told of them.
//!
//! # Invariants
//! A value is checked where it is set, so that whoever reads one finds one that fits. What a client has
//! been told (`ParameterStatus`) is remembered, so that every way to change a setting, a rollback too,
//! is told once and in one place: `untold`.

use std::{collections::BTreeMap, time::Duration};

use ebap_catalog::{Catalog, PUBLIC, RoleId};
use ebap_sql::Actor;
use ebap_values::time::Zone;
use parking_lot::Mutex;

use crate::{pgwire::sqlstate::SqlError, system::SERVER_VERSION};

type Result<T, E = SqlError> = std::result::Result<T, E>;

/// Settings of the client's own, at the most.
const OWN_MAX: usize = 1_000;
/// Bytes of a value, at the most.
const VALUE_BYTES_MAX: usize = 1 << 20;

/// What a setting may be.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Text,
    Boolean,
    /// With a unit, milliseconds without one.
    Time,
    Number,
    Encoding,
    /// Only `ISO` output is there.
    DateStyle,
    TimeZone,
    OneOf(&'static [&'static str]),
    /// Cannot be set.
    Fixed,
}

struct Definition {
    name: &'static str,
    default: &'static str,
    kind: Kind,
    /// Clients are told of every change.
    told: bool,
}

const fn setting(name: &'static str, default: &'static str, kind: Kind) -> Definition {
    Definition { name, default, kind, told: false }
}

const fn told(name: &'static str, default: &'static str, kind: Kind) -> Definition {
    Definition { name, default, kind, told: true }
}

const ISOLATION: Kind =
    Kind::OneOf(&["serializable", "repeatable read", "read committed", "read uncommitted", "default"]);

/// Sorted as `SHOW ALL` lists them.
const DEFINITIONS: [Definition; 31] = [
    told("application_name", "", Kind::Text),
    setting("bytea_output", "hex", Kind::OneOf(&["hex"])),
    told("client_encoding", "UTF8", Kind::Encoding),
    setting("client_min_messages", "notice", Kind::Text),
    told("DateStyle", "ISO, MDY", Kind::DateStyle),
    setting("default_transaction_isolation", "read committed", ISOLATION),
    told("default_transaction_read_only", "off", Kind::Boolean),
    setting("extra_float_digits", "1", Kind::Number),
    setting("idle_in_transaction_session_timeout", "0", Kind::Time),
    told("in_hot_standby", "off", Kind::Fixed),
    told("integer_datetimes", "on", Kind::Fixed),
    told("IntervalStyle", "postgres", Kind::OneOf(&["postgres"])),
    told("is_superuser", "on", Kind::Fixed),
    setting("jit", "off", Kind::Boolean),
    setting("lock_timeout", "0", Kind::Time),
    setting("max_identifier_length", "63", Kind::Fixed),
    setting("password_encryption", "scram-sha-256", Kind::OneOf(&["scram-sha-256"])),
    setting("role", "none", Kind::Text),
    setting("row_security", "on", Kind::Boolean),
    setting("search_path", "\"$user\", public", Kind::Text),
    told("server_encoding", "UTF8", Kind::Fixed),
    told("server_version", SERVER_VERSION, Kind::Fixed),
    setting("server_version_num", "150000", Kind::Fixed),
    told("session_authorization", "ebap", Kind::Fixed),
    told("standard_conforming_strings", "on", Kind::OneOf(&["on"])),
    setting("statement_timeout", "0", Kind::Time),
    setting("synchronous_commit", "on", Kind::Text),
    told("TimeZone", "UTC", Kind::TimeZone),
    setting("transaction_isolation", "read committed", ISOLATION),
    setting("transaction_read_only", "off", Kind::Boolean),
    setting("xmloption", "content", Kind::Text),
];

fn definition(name: &str) -> Option<&'static Definition> {
    DEFINITIONS.iter().find(|one| one.name.eq_ignore_ascii_case(name))
}

fn unknown(name: &str) -> SqlError {
    SqlError::new("42704", format!("unrecognized configuration parameter \"{name}\""))
}

fn invalid(name: &str, value: &str) -> SqlError {
    SqlError::new("22023", format!("invalid value for parameter \"{name}\": \"{value}\""))
}

/// Names with a dot are the client's own, as in PostgreSQL, and may hold anything.
fn is_own(name: &str) -> bool {
    name.contains('.')
}

/// Values that differ from the defaults, by lower-case name.
type Values = BTreeMap<String, String>;

/// All settings at one moment of a transaction block.
#[derive(Clone, Debug, Default)]
pub(crate) struct Point {
    values: Values,
    /// Without those of `SET LOCAL`: what stays after `COMMIT`.
    lasting: Values,
}

#[derive(Debug, Default)]
struct State {
    now: Point,
    /// The values a transaction block began with; `None` outside of one.
    block: Option<Values>,
    /// What the client asked for as it connected: what `RESET` goes back to.
    initial: Values,
    told: BTreeMap<&'static str, String>,
    /// The role that has logged in.
    role: Option<RoleId>,
}

impl State {
    fn get(&self, name: &str) -> Option<String> {
        let own = self.now.values.get(&name.to_lowercase()).cloned();
        own.or_else(|| definition(name).map(|one| one.default.to_owned()))
    }

    fn put(&mut self, name: String, value: Option<String>, local: bool) {
        let points = [Some(&mut self.now.values), (!local).then_some(&mut self.now.lasting)];
        for values in points.into_iter().flatten() {
            match &value {
                Some(value) => values.insert(name.clone(), value.clone()),
                None => values.remove(&name),
            };
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Settings(Mutex<State>);

impl Settings {
    /// # Errors
    /// 42704 where there is no such setting.
    pub(crate) fn get(&self, name: &str) -> Result<String> {
        self.0.lock().get(name).ok_or_else(|| unknown(name))
    }

    /// Sets it, for this transaction block alone where `local`; gives the value as it is kept.
    ///
    /// # Errors
    /// 42704, 22023 for a value that does not fit, 55P02 for a setting that cannot be changed.
    pub(crate) fn set(&self, name: &str, value: &str, local: bool) -> Result<String> {
        if value.len() > VALUE_BYTES_MAX {
            return Err(SqlError::new("22023", format!("the value of parameter \"{name}\" is too long")));
        }
        let value = match definition(name) {
            Some(one) => fitting(one, value)?,
            None if is_own(name) => value.to_owned(),
            None => return Err(unknown(name)),
        };
        let mut state = self.0.lock();
        let is_new = !state.now.values.contains_key(&name.to_lowercase());
        if is_new && state.now.values.len() >= OWN_MAX {
            return Err(SqlError::new("53400", "too many parameters in this session").hint("Use RESET ALL."));
        }
        // Without a block there is nothing it could be local to.
        if !local || state.block.is_some() {
            state.put(name.to_lowercase(), Some(value.clone()), local);
        }
        Ok(value)
    }

    /// A parameter of the startup message. Clients send what servers of other versions know.
    pub(crate) fn start(&self, name: &str, value: &str) -> Result<()> {
        if definition(name).is_none_or(|one| matches!(one.kind, Kind::Fixed)) && !is_own(name) {
            return Ok(());
        }
        let value = self.set(name, value, false)?;
        self.0.lock().initial.insert(name.to_lowercase(), value);
        Ok(())
    }

    /// The role a client connected as, and the name by which it did.
    pub(crate) fn authorize(&self, user: &str, role: RoleId, is_superuser: bool) {
        let mut state = self.0.lock();
        state.role = Some(role);
        for (name, value) in [("session_authorization", user), ("is_superuser", on_or_off(is_superuser))] {
            state.put(name.to_owned(), Some(value.to_owned()), false);
            state.initial.insert(name.to_owned(), value.to_owned());
        }
    }

    /// `SET ROLE`. Whether the session may is what `actor` looks at.
    pub(crate) fn set_role(&self, role: &str, is_superuser: bool, local: bool) -> Result<()> {
        self.set("role", role, local)?;
        let mut state = self.0.lock();
        if !local || state.block.is_some() {
            state.put("is_superuser".to_owned(), Some(on_or_off(is_superuser).to_owned()), local);
        }
        Ok(())
    }

    /// On whose behalf statements run. Before anybody has logged in, and as a role that is gone or that the session may
    /// not be, they have the rights that everybody has.
    pub(crate) fn actor(&self, catalog: &Catalog) -> Actor {
        let state = self.0.lock();
        let session = state.role.unwrap_or(PUBLIC);
        let current = match state.get("role").filter(|name| name != "none") {
            Some(name) => {
                let found = catalog.roles.find(&name).map(|role| role.id);
                found.filter(|role| catalog.roles.may_become(session, *role)).unwrap_or(PUBLIC)
            }
            None => session,
        };
        Actor { current, session }
    }

    /// `current_user`
    pub(crate) fn current_user(&self) -> String {
        let state = self.0.lock();
        let role = state.get("role").filter(|name| name != "none");
        role.or_else(|| state.get("session_authorization")).unwrap_or_default()
    }

    pub(crate) fn reset(&self, name: &str) -> Result<()> {
        if definition(name).is_none() && !is_own(name) {
            return Err(unknown(name));
        }
        let mut state = self.0.lock();
        let first = state.initial.get(&name.to_lowercase()).cloned();
        state.put(name.to_lowercase(), first, false);
        Ok(())
    }

    pub(crate) fn reset_all(&self) {
        let mut state = self.0.lock();
        state.now = Point { values: state.initial.clone(), lasting: state.initial.clone() };
    }

    /// Begins a transaction block.
    pub(crate) fn begin(&self) {
        let mut state = self.0.lock();
        state.block = Some(state.now.values.clone());
    }

    /// Ends it: what was local to it is gone.
    pub(crate) fn commit(&self) {
        let mut state = self.0.lock();
        state.block = None;
        state.now.values = state.now.lasting.clone();
    }

    /// Ends it: all is as it was at its begin.
    pub(crate) fn roll_back(&self) {
        let mut state = self.0.lock();
        if let Some(values) = state.block.take() {
            state.now = Point { lasting: values.clone(), values };
        }
    }

    pub(crate) fn point(&self) -> Point {
        self.0.lock().now.clone()
    }

    pub(crate) fn back_to(&self, point: &Point) {
        self.0.lock().now = point.clone();
    }

    /// Its name as PostgreSQL writes it.
    pub(crate) fn canonical(name: &str) -> String {
        definition(name).map_or_else(|| name.to_lowercase(), |one| one.name.to_owned())
    }

    /// Every setting with its value.
    pub(crate) fn all(&self) -> Vec<(&'static str, String)> {
        DEFINITIONS.iter().filter_map(|one| Some((one.name, self.get(one.name).ok()?))).collect()
    }

    /// What the client has to be told and has not been: everything the first time.
    pub(crate) fn untold(&self) -> Vec<(&'static str, String)> {
        let mut state = self.0.lock();
        let now = DEFINITIONS.iter().filter(|one| one.told).filter_map(|one| Some((one.name, state.get(one.name)?)));
        let news: Vec<_> = now.filter(|(name, value)| state.told.get(name) != Some(value)).collect();
        state.told.extend(news.iter().cloned());
        news
    }

    pub(crate) fn statement_timeout(&self) -> Option<Duration> {
        let ms = milliseconds(&self.get("statement_timeout").ok()?)?;
        (ms > 0).then(|| Duration::from_millis(ms))
    }

    /// The zone in which times are shown and read.
    pub(crate) fn zone(&self) -> Zone {
        let name = self.get("TimeZone");
        name.ok().and_then(|name| Zone::parse_setting(&name).ok()).unwrap_or_else(Zone::utc)
    }

    /// Schemas in which names without one are looked for, in order. `"$user"` is passed over: nobody has
    /// a schema of his own, and the schema `ebap` is not that of the user `ebap`.
    pub(crate) fn search_path(&self) -> Vec<String> {
        let text = self.get("search_path").unwrap_or_default();
        identifiers(&text).into_iter().filter(|name| name != "$user").collect()
    }
}

fn on_or_off(is: bool) -> &'static str {
    if is { "on" } else { "off" }
}

/// The value as it is kept, or why it cannot be.
fn fitting(one: &Definition, value: &str) -> Result<String> {
    let value = value.trim();
    let lower = value.to_lowercase();
    Ok(match one.kind {
        Kind::Text => value.to_owned(),
        Kind::Fixed => return Err(SqlError::new("55P02", format!("parameter \"{}\" cannot be changed", one.name))),
        Kind::Boolean => match lower.as_str() {
            "on" | "true" | "yes" | "1" => "on".to_owned(),
            "off" | "false" | "no" | "0" => "off".to_owned(),
            _ => {
                return Err(SqlError::new("22023", format!("parameter \"{}\" requires a Boolean value", one.name)));
            }
        },
        Kind::Number => match value.parse::<i64>() {
            Ok(number) => number.to_string(),
            Err(_) => return Err(invalid(one.name, value)),
        },
        Kind::Time => match milliseconds(value) {
            Some(ms) => shown(ms),
            None => {
                return Err(invalid(one.name, value)
                    .hint("Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\"."));
            }
        },
        // Some clients quote it within the value.
        Kind::Encoding => match lower.trim_matches('\'').replace(['-', '_'], "").as_str() {
            "utf8" | "unicode" | "sqlascii" => "UTF8".to_owned(),
            _ => return Err(invalid(one.name, value).hint("The encoding is UTF8.")),
        },
        Kind::DateStyle => {
            let parts: Vec<&str> = lower.split(',').map(str::trim).collect();
            if parts.iter().any(|part| !["iso", "mdy", "dmy", "ymd", "us", "european"].contains(part)) {
                return Err(invalid(one.name, value).hint("The style is ISO."));
            }
            let order = ["dmy", "ymd"].into_iter().find(|order| parts.contains(order)).unwrap_or("mdy");
            format!("ISO, {}", order.to_uppercase())
        }
        Kind::TimeZone => match Zone::parse_setting(value) {
            Ok(zone) => zone.name().to_owned(),
            Err(error) => return Err(error.into()),
        },
        Kind::OneOf(all) if all.contains(&lower.as_str()) => lower,
        Kind::OneOf(all) => {
            return Err(invalid(one.name, value).hint(format!("Available values: {}.", all.join(", "))));
        }
    })
}

/// Milliseconds of `5s`, `50 ms` or, without a unit, `50`.
fn milliseconds(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let factor = match text[digits..].trim() {
        "" | "ms" => 1,
        "us" => return Some(number.div_ceil(1_000)),
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// With the largest unit that leaves no rest, as PostgreSQL shows times.
fn shown(ms: u64) -> String {
    if ms == 0 {
        return "0".to_owned();
    }
    let units = [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)];
    let fits = units.into_iter().find(|(_, factor)| ms.is_multiple_of(*factor));
    fits.map_or_else(|| ms.to_string(), |(unit, factor)| format!("{}{unit}", ms / factor))
}

/// The names of a list such as `"$user", public`: lower case where they are not quoted.
fn identifiers(list: &str) -> Vec<String> {
    let mut names = Vec::new();
    let (mut name, mut quoted, mut any) = (String::new(), false, false);
    for c in list.chars() {
        match c {
            '"' => (quoted, any) = (!quoted, true),
            ',' if !quoted => names.push(std::mem::take(&mut name)),
            c if quoted => name.push(c),
            c if c.is_whitespace() => {}
            c => name.extend(c.to_lowercase()),
        }
        any |= !name.is_empty();
    }
    if any {
        names.push(name);
    }
    names.retain(|name| !name.is_empty());
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_and_are_shown_with_the_largest_that_fits() {
        for (given, kept) in [("5000", "5s"), ("50ms", "50ms"), ("2 min", "2min"), ("90s", "90s"), ("24h", "1d")] {
            assert_eq!(Settings::default().set("statement_timeout", given, false), Ok(kept.to_owned()), "{given}");
        }
        let error = Settings::default().set("statement_timeout", "soon", false).expect_err("not a time");
        assert_eq!(
            (error.code, error.message.as_str()),
            ("22023", "invalid value for parameter \"statement_timeout\": \"soon\"")
        );
    }

    #[test]
    fn a_client_is_told_each_change_once_and_a_reset_too() {
        let settings = Settings::default();
        assert!(settings.untold().contains(&("TimeZone", "UTC".to_owned())));
        assert_eq!(settings.untold(), []);
        settings.set("timezone", "Europe/Berlin", false).expect("any zone");
        settings.set("statement_timeout", "1s", false).expect("a time");
        assert_eq!(settings.untold(), [("TimeZone", "Europe/Berlin".to_owned())]);
        settings.reset_all();
        assert_eq!(settings.untold(), [("TimeZone", "UTC".to_owned())]);
    }

    #[test]
    fn reset_goes_back_to_what_the_client_connected_with() {
        let settings = Settings::default();
        settings.start("application_name", "psql").expect("a name");
        settings.start("no_such_setting", "x").expect("ignored at the start");
        settings.set("application_name", "other", false).expect("a name");
        settings.reset("application_name").expect("known");
        assert_eq!(settings.get("application_name"), Ok("psql".to_owned()));
        assert_eq!(settings.get("no_such_setting").expect_err("unknown").code, "42704");
    }

    #[test]
    fn settings_go_the_way_of_the_transaction_block() {
        let settings = Settings::default();
        let shown = || settings.get("application_name").expect("known");
        settings.begin();
        settings.set("application_name", "lost", false).expect("a name");
        settings.roll_back();
        assert_eq!(shown(), "");

        settings.begin();
        settings.set("application_name", "kept", false).expect("a name");
        let point = settings.point();
        settings.set("application_name", "taken back", false).expect("a name");
        settings.back_to(&point);
        settings.set("application_name", "for the block", true).expect("a name");
        assert_eq!(shown(), "for the block");
        settings.commit();
        assert_eq!(shown(), "kept");
        settings.set("application_name", "without a block", true).expect("a name");
        assert_eq!(shown(), "kept");
    }

    #[test]
    fn the_search_path_is_a_list_of_names() {
        let settings = Settings::default();
        assert_eq!(settings.search_path(), ["public"]);
        settings.set("search_path", "Ebap, \"Own, Name\",public", false).expect("a list");
        assert_eq!(settings.search_path(), ["ebap", "Own, Name", "public"]);
    }

    #[test]
    fn values_that_cannot_be_kept_are_refused() {
        let settings = Settings::default();
        for (name, value, code) in [
            ("client_encoding", "LATIN1", "22023"),
            ("DateStyle", "German", "22023"),
            ("IntervalStyle", "iso_8601", "22023"),
            ("standard_conforming_strings", "off", "22023"),
            ("server_version", "99", "55P02"),
            ("nonsense", "1", "42704"),
        ] {
            assert_eq!(settings.set(name, value, false).expect_err(name).code, code, "{name}");
        }
        assert_eq!(settings.set("client_encoding", "'utf-8'", false), Ok("UTF8".to_owned()));
        assert_eq!(settings.set("app.tenant", "7", false), Ok("7".to_owned()));
    }
}
