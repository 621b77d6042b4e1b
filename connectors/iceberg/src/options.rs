//! The options of an Iceberg sink, parsed once; and the catalog they lead to.

use std::{collections::HashMap, sync::Arc, time::Duration};

use ebap_connector::{Error, Options, Result};
use iceberg::{CatalogBuilder, ErrorKind, TableIdent};
use iceberg_catalog_rest::{REST_CATALOG_PROP_URI, REST_CATALOG_PROP_WAREHOUSE, RestCatalog, RestCatalogBuilder};
use iceberg_storage_opendal::OpenDalResolvingStorageFactory;

const KNOWN_OPTIONS: &[&str] =
    &["connector", "connection", "table", "catalog_uri", "warehouse", "commit_interval", "target_file_size"];
/// Handed to the catalog's client as they are.
const PASSED_OPTIONS: &[&str] = &["token", "credential", "scope", "oauth2-server-uri"];
const PASSED_PREFIXES: &[&str] = &["s3.", "header."];
const COMMIT_INTERVAL_DEFAULT: Duration = Duration::from_secs(60);
const TARGET_FILE_BYTES_DEFAULT: u64 = 128 << 20;
const TARGET_FILE_BYTES_MIN: u64 = 1 << 10;
const MESSAGE_CHARS_MAX: usize = 1_000;

#[derive(Clone)]
pub(crate) struct IcebergOptions {
    pub(crate) table: TableIdent,
    pub(crate) commit_interval: Duration,
    pub(crate) target_file_bytes: usize,
    /// How errors name the other side; holds no secret.
    pub(crate) system: String,
    catalog_properties: HashMap<String, String>,
}

impl IcebergOptions {
    pub(crate) fn parse(options: &Options) -> Result<Self> {
        let known: Vec<_> = KNOWN_OPTIONS.iter().chain(PASSED_OPTIONS).copied().collect();
        options.only(&known, PASSED_PREFIXES)?;
        let uri = options.required("catalog_uri")?.trim_end_matches('/');
        if !uri.starts_with("http://") && !uri.starts_with("https://") {
            return Err(Error::option("catalog_uri", "must start with http:// or https://"));
        }
        let mut catalog_properties = HashMap::from([(REST_CATALOG_PROP_URI.to_owned(), uri.to_owned())]);
        if let Some(warehouse) = options.get("warehouse") {
            catalog_properties.insert(REST_CATALOG_PROP_WAREHOUSE.to_owned(), warehouse.to_owned());
        }
        for (name, value) in &options.0 {
            let passed = PASSED_OPTIONS.contains(&name.as_str())
                || PASSED_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
            if passed {
                catalog_properties.insert(name.clone(), value.clone());
            }
        }
        let target_file_bytes = options.size_bytes("target_file_size")?.unwrap_or(TARGET_FILE_BYTES_DEFAULT);
        if target_file_bytes < TARGET_FILE_BYTES_MIN {
            return Err(Error::option("target_file_size", "must be at least 1 kB"));
        }
        Ok(Self {
            table: table_ident(options.required("table")?)?,
            commit_interval: options.duration("commit_interval")?.unwrap_or(COMMIT_INTERVAL_DEFAULT),
            target_file_bytes: usize::try_from(target_file_bytes)
                .map_err(|_| Error::option("target_file_size", "is too large"))?,
            system: format!("iceberg catalog {}", without_login(uri)),
            catalog_properties,
        })
    }

    /// Contacts nothing yet.
    pub(crate) async fn catalog(&self) -> Result<RestCatalog> {
        RestCatalogBuilder::default()
            .with_storage_factory(Arc::new(OpenDalResolvingStorageFactory::new()))
            .load("ebap", self.catalog_properties.clone())
            .await
            .map_err(|error| self.failed(&error))
    }

    /// What trying again does not change is a refusal; all else may pass.
    pub(crate) fn failed(&self, error: &iceberg::Error) -> Error {
        let text = error.to_string();
        let refused_by_status =
            ["400", "401", "403", "405", "406"].iter().any(|status| text.contains(&format!("status: {status} ")));
        // Some catalogs answer with a page of HTML.
        let text = match text.char_indices().nth(MESSAGE_CHARS_MAX) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        };
        let refused = matches!(error.kind(), ErrorKind::DataInvalid | ErrorKind::FeatureUnsupported);
        if refused || refused_by_status {
            Error::refused(&self.system, text)
        } else {
            Error::unreachable(&self.system, text)
        }
    }
}

fn table_ident(name: &str) -> Result<TableIdent> {
    let parts: Vec<&str> = name.split('.').collect();
    if parts.len() < 2 || parts.iter().any(|part| part.trim().is_empty()) {
        return Err(Error::option("table", format!("\"{name}\" is not of the form 'namespace.table'")));
    }
    TableIdent::from_strs(parts).map_err(|error| Error::option("table", error.to_string()))
}

/// `http://user:secret@host/x` without what must not be printed.
fn without_login(uri: &str) -> String {
    match uri.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_once('/').map_or((rest, String::new()), |(a, p)| (a, format!("/{p}")));
            let host = authority.rsplit('@').next().unwrap_or(authority);
            format!("{scheme}://{host}{}", path.split('?').next().unwrap_or_default())
        }
        None => uri.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Options {
        let mut options = Options::default();
        options.set("table", "lake.raw.events");
        options.set("catalog_uri", "http://me:secret@catalog:8181/api/?x=secret");
        for (name, value) in pairs {
            options.set(*name, *value);
        }
        options
    }

    #[test]
    fn the_catalog_is_named_without_its_login() {
        let parsed = IcebergOptions::parse(&options(&[])).expect("options are fine");
        assert_eq!(parsed.system, "iceberg catalog http://catalog:8181/api/");
        assert_eq!(parsed.table.name(), "events");
        assert_eq!(parsed.commit_interval, Duration::from_secs(60));
        assert_eq!(parsed.target_file_bytes, 128 << 20);
    }

    #[test]
    fn mistakes_are_named() {
        let message = |name: &str, value: &str| {
            IcebergOptions::parse(&options(&[(name, value)])).err().expect("must be refused").to_string()
        };
        assert_eq!(message("table", "events"), "option \"table\": \"events\" is not of the form 'namespace.table'");
        assert_eq!(message("catalog_uri", "catalog"), "option \"catalog_uri\": must start with http:// or https://");
        assert_eq!(message("target_file_size", "1"), "option \"target_file_size\": must be at least 1 kB");
        assert_eq!(
            message("comit_interval", "1m"),
            "option \"comit_interval\": is not known here; did you mean \"commit_interval\"?"
        );
    }
}
